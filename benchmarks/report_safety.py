"""`python -m benchmarks.report_safety [--side N] [--rounds N]`: what safety costs a conversion.

The conversions of `report_convert`, as whole processes: with and without the journal and the
digests (which this program takes out, as no option does), and with and without syncing, beside one
sync of as many bytes that were copied. They run alternately; figures are medians.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report_convert import Seconds, cases, seconds, write_sources

IMPORTS = """
import gc, os
gc.disable()
os.environ["OPENBLAS_NUM_THREADS"] = "1"
from ngcore.formats.digest import ScaleDigest
from ngcore.pipelines.journal import Journal
"""
WITHOUT = """
ScaleDigest.add = lambda self, cell, content: None
Journal.add = lambda self, name: None
"""
RUN = """
from ngcore.cli import main
main()
"""
KINDS = ("without", "no-fsync", "fsync")


def command(ours: list[str], kind: str) -> list[str]:
    """Return the command of one conversion, of a kind."""
    program = IMPORTS + (WITHOUT if kind == "without" else "") + RUN
    words = [word for word in ours[1:] if kind != "fsync" or word != "--no-fsync"]
    return [sys.executable, "-c", program, *words]


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
    seconds([command(ours, "fsync")], outputs)  # warm up
    times: dict[str, list[Seconds]] = {kind: [] for kind in KINDS}
    syncs = []
    for index in range(rounds):
        for turn in range(len(KINDS)):
            kind = KINDS[(index + turn) % len(KINDS)]
            os.sync()
            times[kind].append(seconds([command(ours, kind)], outputs))
        newest = outputs / f"out-{sum(1 for _ in outputs.iterdir()) - 1}"
        syncs.append(sync_seconds(newest, copies / str(index)))
    wall = {kind: statistics.median(one.wall for one in found) for kind, found in times.items()}
    used = {
        kind: statistics.median(one.processor for one in found) for kind, found in times.items()
    }
    return (
        f"| {name} | {used['no-fsync'] / used['without'] - 1:+.1%} of {used['without']:.2f} s "
        f"| {wall['no-fsync'] / wall['without'] - 1:+.1%} of {wall['without']:.2f} s "
        f"| {wall['fsync'] - wall['no-fsync']:.3f} s | {statistics.median(syncs):.3f} s |"
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
            "| conversion | journal and digests: processor time | wall time | syncing "
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
