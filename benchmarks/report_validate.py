"""`python -m benchmarks.report_validate [--side N]`: validate and repair beside convert.

Each is a process of its own, on the same volume, in one run; a speed is the ratio of the time that
the conversion took. Peak memory is what the system says of the process (Linux).
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report_convert import NGCORE_OPTIONS, write_sources

BAR = 0.5
SCRIPT = """
import re, sys
from ngcore.cli import run
status = run(sys.argv[1:])
print("peak", re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
sys.exit(status)
"""


def measure(*arguments: str | Path) -> tuple[float, float]:
    """Run a command of ngcore; return seconds, and MiB of memory at most."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{arguments} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    peak = re.search(r"peak (\d+)", done.stdout)
    assert peak is not None
    return seconds, int(peak[1]) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--sources", type=Path, help="folder to keep the source in")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = write_sources(asked.sources or folder / "sources", asked.side) / "image.nii"
        print(f"uint8 .nii, {asked.side}^3 voxels, {os.cpu_count()} cores.\n")
        print("| volume | command | s | peak, MiB | speed, of convert's | asked |")
        print("|---|---|---|---|---|---|", flush=True)
        for layout in ("--sharding", "--no-sharding"):
            made, repaired = folder / f"made{layout}", folder / f"repaired{layout}"
            options = [layout, "--no-fsync", *NGCORE_OPTIONS]
            whole, peak = measure("convert", image, made, *options)
            print(f"| {layout} | convert | {whole:.1f} | {peak:.0f} | 1 | |", flush=True)
            for command in (["validate", made], ["repair", made, repaired, "--no-fsync"]):
                seconds, peak = measure(*command)
                bar = BAR if command[0] == "validate" else ""
                row = f"| {layout} | {command[0]} | {seconds:.1f} | {peak:.0f} |"
                print(f"{row} {whole / seconds:.2f} | {bar} |", flush=True)


if __name__ == "__main__":
    main()
