"""`python -m benchmarks.report_mesh [--side N] [--rounds N]`: meshes beside igneous.

Multi-resolution meshes of every label of a volume, sharded, by whole processes on all cores. Both
simplify to within about a voxel; igneous makes two levels of detail, ngcore as many as it takes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import workloads
from benchmarks.report_convert import BIN, HEADER, Case, program, row

import ngcore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESOLUTION = 40.0
"""Nanometres: igneous simplifies to 40 at most, unless told otherwise."""


def case(volume: Path, side: int) -> Case:
    """Return the comparison, each on its own copy of a volume."""
    igneous = program("igneous")
    if igneous is None:
        raise SystemExit("igneous is neither beside this Python nor on PATH")
    cores = os.cpu_count() or 1
    copy = ["cp", "-r", str(volume), "OUT"]
    execute = f"{igneous} -p {cores} execute QUEUE --exit-on-empty -q".split()
    return Case(
        f"meshes of {side}^3 uint64 labels",
        "igneous mesh forge, merge-sharded",
        [copy, [str(BIN / "ngcore"), "mesh", "OUT"]],
        [
            copy,
            f"{igneous} mesh forge file://OUT --queue QUEUE --sharded "
            f"--shape {side},{side},{side // cores}".split(),
            execute,
            f"{igneous} mesh merge-sharded file://OUT --queue QUEUE --nlod 2 "
            f"--min-shards {cores}".split(),
            execute,
        ],
        5,
    )


def write_volume(folder: Path, labels: NDArray[np.uint64]) -> Path:
    """Convert labels, shape (x, y, z), to one scale of chunks in files; return the folder."""
    ngcore.convert(
        labels,
        folder,
        type="segmentation",
        resolution=(RESOLUTION,) * 3,
        chunk_size=64,
        sharding=False,
        max_scales=1,
    )
    return folder


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        labels = workloads.supervoxels(asked.side, "uint64", rough=False)
        volume = write_volume(Path(name) / "volume", labels)
        print(HEADER)
        print(row(case(volume, asked.side), asked.rounds, Path(name)))


if __name__ == "__main__":
    main()
