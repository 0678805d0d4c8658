"""Run under the shim: convert or repair, and record every change to the disk.

record_conversions.py FOLDER LOG NAME [OLD_NAME]

Converts, or repairs FOLDER/source, to FOLDER/disk/out with the options of NAME, a checkpoint after
every row of chunks. With OLD_NAME the folder holds that conversion already, which is replaced.
"""

import json
import sys
from pathlib import Path

from faults import shim
from faults.conversions import CONVERSIONS, all_bytes
from faults.repairs import REPAIRS
from ngcore.cli import run
from ngcore.transaction import journal


def main() -> None:
    folder, log, name, *old = sys.argv[1:]
    out = Path(folder, "disk", "out")
    out.parent.mkdir()
    shim.watch(out.parent)
    shim.record(Path(log))
    if old:
        assert run([*CONVERSIONS[old[0]].command(Path(folder)), str(out)]) == 0
    start = sum(1 for _ in read_lengths(Path(log)))
    journal._SECONDS_BETWEEN_CHECKPOINTS = 0
    extra = ["--overwrite"] if old else []
    job = {**CONVERSIONS, **REPAIRS}[name]
    assert run([*job.command(Path(folder)), *extra, str(out)]) == 0
    shim.record(None)
    assert all_bytes(out)
    print(json.dumps({"start": start}))


def read_lengths(log: Path) -> list[object]:
    from faults.power_loss import read_log

    return list(read_log(log))


if __name__ == "__main__":
    main()
