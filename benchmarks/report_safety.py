"""`python -m benchmarks.report_safety [--side N] [--rounds N]`: what safety costs a conversion.

The same conversion with and without the journal and the digests (which this program takes out, as
no option does), and with and without syncing, beside one sync of as many bytes that were copied.
Conversions run alternately, each in a process of its own; figures are medians.
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

import numpy as np
from benchmarks.report_convert import brain

WITHOUT = """
from ngcore.formats.digest import ScaleDigest
from ngcore.pipelines.journal import Journal
ScaleDigest.add = lambda self, cell, content: None
Journal.add = lambda self, name: None
"""
PROGRAM = """
import os, sys, tempfile, time
import numpy as np
import ngcore
with tempfile.TemporaryDirectory() as warm:  # imports, and whatever else is done once
    ngcore.convert(np.ones((9, 9, 9), np.uint8), warm, resolution=(8, 8, 8), fsync=False)
source, dest, sharding, encoding, fsync = sys.argv[1:]
{change}
start, used = time.perf_counter(), time.process_time()
ngcore.convert(source, dest, resolution=(8, 8, 8), chunk_size=64, sharding=sharding == "sharded",
               encoding=encoding, fsync=fsync == "fsync")
print(time.perf_counter() - start, time.process_time() - used)
"""
CASES = (("sharded", "raw"), ("files", "raw"), ("sharded", "png"))


def measured(change: str, *arguments: object) -> tuple[float, float]:
    """Return the seconds, on the clock and of the processors, that a conversion takes."""
    command = [sys.executable, "-c", PROGRAM.format(change=change), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    wall, used = map(float, run.stdout.split())
    return wall, used


def sync_seconds(volume: Path, copy: Path) -> float:
    """Return how long one sync of a copy of a volume's files takes."""
    os.sync()
    shutil.copytree(volume, copy)
    start = time.perf_counter()
    os.sync()
    seconds = time.perf_counter() - start
    shutil.rmtree(copy)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where to write; the disk that is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        np.save(folder / "brain.npy", brain(options.side))
        print("| case | with / without journal and digests | fsync - no-fsync | one sync |")
        print("|---|---|---|---|")
        for sharding, encoding in CASES:
            times: dict[str, list[tuple[float, float]]] = {}
            syncs = []
            for _ in range(options.rounds):
                for kind in ("without", "no-fsync", "fsync"):
                    out = folder / "out"
                    change = WITHOUT if kind == "without" else ""
                    fsync = "fsync" if kind == "fsync" else "no-fsync"
                    os.sync()
                    arguments = (folder / "brain.npy", out, sharding, encoding, fsync)
                    times.setdefault(kind, []).append(measured(change, *arguments))
                    if kind == "fsync":
                        syncs.append(sync_seconds(out, folder / "copy"))
                    shutil.rmtree(out)
            wall = {kind: statistics.median(w for w, _ in found) for kind, found in times.items()}
            used = {kind: statistics.median(u for _, u in found) for kind, found in times.items()}
            print(
                f"| {sharding} {encoding} | {used['no-fsync'] / used['without']:.3f} of the "
                f"processor's time, {wall['no-fsync'] / wall['without']:.3f} of the clock's "
                f"| {wall['fsync'] - wall['no-fsync']:.3f} s of {wall['fsync']:.3f} s "
                f"| {statistics.median(syncs):.3f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
