"""`python -m benchmarks.report_safety [--side N] [--rounds N]`: what safety costs a conversion.

The conversions of `report_convert`, as whole processes: with and without the journal and the
digests, which this program takes out, as no option does; and how long they wait for the disk,
beside one sync of as many bytes that were copied. They run alternately; figures are medians.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report_convert import Seconds, cases, seconds, write_sources

IMPORTS = """
import gc, os
gc.disable()
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from ngcore.volume.seal import ScaleDigest
from ngcore.transaction.journal import Journal
"""
WITHOUT = """
ScaleDigest.add = lambda self, cell, content: None
Journal.add = lambda self, name: None
"""
SYNC_TIMED = """
import atexit, os, time
from ngcore.storage import sync
waited = []
def timed(call):
    def wrapper(*arguments):
        start = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            waited.append(time.perf_counter() - start)
    return wrapper
os.fsync = timed(os.fsync)
syncfs = timed(sync._syncfs())
sync._syncfs = lambda: syncfs
atexit.register(lambda: print(sum(waited)))
"""
RUN = """
from ngcore.cli import main
main()
"""
KINDS = ("without", "with")


def command(ours: list[str], kind: str) -> list[str]:
    """Return the command of one conversion, of a kind."""
    return [
        sys.executable,
        "-c",
        IMPORTS + (WITHOUT if kind == "without" else "") + RUN,
        *ours[1:],
    ]


def waited_for_the_disk(ours: list[str], out: Path) -> float:
    """Return how long the system calls of a conversion took that wait for the disk."""
    words = [str(out) if word == "OUT" else word for word in ours[1:] if word != "--no-fsync"]
    program = IMPORTS + SYNC_TIMED + RUN
    run = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=True
    )
    return float(run.stdout.splitlines()[-1])


def sync_seconds(volume: Path, copy: Path) -> float:
    """Return how long one sync of a copy of a volume's files takes."""
    os.sync()
    shutil.copytree(volume, copy)
    start = time.perf_counter()
    os.sync()
    return time.perf_counter() - start


def row(name: str, ours: list[str], rounds: int, folder: Path) -> str:
    """Measure a conversion and return its row of the table."""
    outputs, copies = folder / "outputs", folder / "copies"
    outputs.mkdir()
    seconds([command(ours, "with")], outputs)  # warm up
    times: dict[str, list[Seconds]] = {kind: [] for kind in KINDS}
    ours_waited, syncs = [], []
    for index in range(rounds):
        for turn in range(len(KINDS)):
            kind = KINDS[(index + turn) % len(KINDS)]
            times[kind].append(seconds([command(ours, kind)], outputs))
        os.sync()
        out = folder / f"synced-{index}"
        ours_waited.append(waited_for_the_disk(ours, out))
        syncs.append(sync_seconds(out, copies / str(index)))
    wall = {kind: statistics.median(one.wall for one in found) for kind, found in times.items()}
    used = {
        kind: statistics.median(one.processor for one in found) for kind, found in times.items()
    }
    return (
        f"| {name} | {used['with'] / used['without'] - 1:+.1%} of {used['without']:.2f} s "
        f"| {wall['with'] / wall['without'] - 1:+.1%} of {wall['without']:.2f} s "
        f"| {statistics.median(ours_waited):.3f} s | {statistics.median(syncs):.3f} s |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--sources", type=Path, help="folder to keep the sources in")
    parser.add_argument("--folder", help="where to write; the disk that is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        sources = write_sources(options.sources or Path(name, "sources"), options.side)
        print(
            "| conversion | journal and digests: processor time | wall time | waited for the disk "
            "| one sync of the same bytes |"
        )
        print("|---|---|---|---|---|")
        conversions = [case for case in cases(sources) if case.is_conversion]
        for index, case in enumerate(conversions):
            if options.only in case.name:
                folder = Path(name, str(index))  # nothing is removed before all is measured
                folder.mkdir()
                print(row(case.name, case.ours[0], options.rounds, folder), flush=True)


if __name__ == "__main__":
    main()
