"""Run under the shim: run every command that writes, and record every change to the disk.

record_commands.py FOLDER LOG NAME...

Prints, as JSON, for each name how long the log was before and after the command, and a digest of
all that was on the disk then.
"""

import hashlib
import json
import sys
from pathlib import Path

from faults import shim
from faults.commands import PREPARED, STEPS, make_inputs
from faults.conversions import all_bytes
from faults.power_loss import read_log
from ngcore.cli import run
from ngcore.transaction import journal


def main() -> None:
    folder, log, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    disk = folder / "disk"
    disk.mkdir()
    make_inputs(folder)
    shim.watch(disk)
    shim.record(log)
    journal._SECONDS_BETWEEN_CHECKPOINTS = 0
    told = {}
    for name in names:
        for words in PREPARED.get(name, ()):
            step = STEPS["convert"].__class__(words, "")
            assert run(step.command(folder)) == 0, words
        start = sum(1 for _ in read_log(log))
        assert run(STEPS[name].command(folder)) == 0, name
        end = sum(1 for _ in read_log(log))
        told[name] = {"start": start, "end": end, "tree": digests(disk)}
    shim.record(None)
    print(json.dumps(told))


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file below a folder, but for ngcore's own notes."""
    return {
        name: hashlib.sha256(content).hexdigest()
        for name, content in all_bytes(folder).items()
        if "/.ngcore" not in name
    }


if __name__ == "__main__":
    main()
