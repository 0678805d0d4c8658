"""`python -m benchmarks.report_validate [--side N] [--rounds N]`: validate beside convert.

Validate and repair are processes of their own, as is convert, on the same volume, in one run; a
speed is that of the conversion, in wall and in processor time, and the median of the rounds is
printed. Peak memory is what the system says of the process.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.report_convert import NGCORE_OPTIONS, environment, write_sources
from benchmarks.side_by_side import Ratio, Seconds, ratio_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BAR = 2
KINDS = {
    "uint8 image": ("image.nii", []),
    "uint64 labels": ("labels.npy", ["--type", "segmentation"]),
}


SCRIPT = """
import re, sys
from ngcore.cli import run
status = run(sys.argv[1:])
print("peak", re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
sys.exit(status)
"""


class Measured(NamedTuple):
    """Seconds of a process, those of the processors in it, and its peak memory in MiB."""

    wall: float
    processor: float
    peak: float


def measure(*arguments: str | Path) -> Measured:
    """Run a command of ngcore."""
    start = time.perf_counter()
    words = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = re.search(r"peak (\d+)", printed)
    if process.returncode or peak is None:
        raise SystemExit(f"{arguments} ended with {process.returncode}:\n{printed[-2000:]}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, int(peak[1]) / 1024)


def rounds_of(
    folder: Path, sources: Path, only: str, rounds: int
) -> Iterator[tuple[str, dict[str, list[Measured]]]]:
    """Yield each kind of volume, and what each command on it took in each round."""
    for kind, (source, type_options) in KINDS.items():
        for layout in ("--sharding", "--no-sharding"):
            name = f"{kind}, {layout}"
            if only not in name:
                continue
            found: dict[str, list[Measured]] = {"convert": [], "validate": [], "repair": []}
            for number in range(rounds):
                made = folder / f"{kind} {layout} {number}".replace(" ", "_")
                repaired = made.with_name(f"{made.name}_repaired")
                options = [*type_options, layout, "--no-fsync", *NGCORE_OPTIONS]
                found["convert"].append(measure("convert", sources / source, made, *options))
                found["validate"].append(measure("validate", made))
                found["repair"].append(measure("repair", made, repaired, "--no-fsync"))
            yield name, found


def rows(folder: Path, sources: Path, rounds: int) -> Iterator[Ratio]:
    """Measure, and yield a row for each kind of volume: validate beside convert."""
    for name, found in rounds_of(folder, sources, "", rounds):
        pairs = [
            (Seconds(*ours[:2]), Seconds(*theirs[:2]))
            for ours, theirs in zip(found["validate"], found["convert"], strict=True)
        ]
        yield ratio_of(f"validate: {name}", "its convert", BAR, pairs)


def report(folder: Path, sources: Path, only: str, rounds: int) -> None:
    """Print a row for each command on each kind of volume."""
    for name, found in rounds_of(folder, sources, only, rounds):
        for command, times in found.items():
            wall, processor, peak = (
                statistics.median(column) for column in zip(*times, strict=True)
            )
            speeds = [
                statistics.median(
                    whole[column] / each[column]
                    for whole, each in zip(found["convert"], times, strict=True)
                )
                for column in (0, 1)
            ]
            bar = BAR if command == "validate" else ""
            print(
                f"| {name} | {command} | {wall:.2f} | {processor:.2f} | {peak:.0f} "
                f"| {speeds[0]:.2f} | {speeds[1]:.2f} | {bar} |",
                flush=True,
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sources", type=Path, help="folder to keep the sources in")
    parser.add_argument("--only", default="", help="volumes whose name holds this text")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = write_sources(asked.sources or folder / "sources", asked.side)
        print(f"{asked.side}^3 voxels, {os.cpu_count()} cores.\n")
        print(
            "| volume | command | wall, s | processor, s | peak, MiB | speed, of convert's ",
            end="",
        )
        print("| by processor time | asked |\n|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
        report(folder, sources, asked.only, asked.rounds)


if __name__ == "__main__":
    main()
