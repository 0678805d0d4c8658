"""`python -m benchmarks.report_read [--side N] [--rounds N]`: reading beside tensorstore.

Whole scales, random cutouts and plane after plane, from local volumes, with as many threads as
there are cores on both sides. tensorstore's cache is off, as it is by default. Both sides read in
turn; a ratio is that of a round's two times, and the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore
from benchmarks import workloads

import ngcore

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = os.cpu_count() or 1


def volumes(folder: Path, side: int) -> dict[str, Path]:
    """Convert what is read: an image and labels, sharded and not."""
    image = workloads.smooth_image(side)
    labels = workloads.tiled_supervoxels(side, "uint64")
    made = {}
    for name, voxels, options in [
        ("image, raw files", image, {"sharding": False}),
        ("image, gzip shards", image, {}),
        ("labels, gzip shards", labels, {"type": "segmentation"}),
        ("labels, files", labels, {"type": "segmentation", "sharding": False}),
    ]:
        made[name] = folder / name.replace(", ", "-").replace(" ", "_")
        ngcore.convert(
            voxels, made[name], resolution=(8, 8, 8), max_scales=1, fsync=False, **options
        )
    return made


def open_with_tensorstore(path: Path) -> Any:
    """Open scale 0 without a cache, on `THREADS` threads."""
    return tensorstore.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": str(path)},
            "context": {
                "cache_pool": {"total_bytes_limit": 0},
                "data_copy_concurrency": {"limit": THREADS},
                "file_io_concurrency": {"limit": THREADS},
            },
        },
        read=True,
    ).result()


def jobs(path: Path, side: int) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return what is timed: a call of ours and one of tensorstore for each job."""
    ours = ngcore.open(path).scales[0]
    theirs = open_with_tensorstore(path)
    random = np.random.default_rng(0)

    def cutouts(edge: int) -> list[tuple[slice, ...]]:
        starts = random.integers(0, side - edge, (100, 3), endpoint=True)
        return [tuple(slice(int(a), int(a) + edge) for a in start) for start in starts]

    timed: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "whole scale": (lambda: ours[...], lambda: theirs.read().result())
    }
    for edge in (32, 64):
        boxes = cutouts(edge)
        fresh = ngcore.open(path, cache_bytes=0).scales[0]
        timed[f"100 cutouts of {edge}^3"] = (
            lambda boxes=boxes, fresh=fresh: [fresh[box] for box in boxes],
            lambda boxes=boxes: [theirs[box].read().result() for box in boxes],
        )
    for axis, name in enumerate("xyz"):
        planes = [
            (*[slice(None)] * axis, number, *[slice(None)] * (2 - axis)) for number in range(side)
        ]
        # Beside the whole scale, which holds the same voxels.
        timed[f"planes along {name}"] = (
            lambda planes=planes: [ngcore_plane(path, planes)],
            lambda: ngcore.open(path).scales[0][...],
        )
    return timed


def ngcore_plane(path: Path, planes: list[tuple[Any, ...]]) -> None:
    """Read plane after plane of a volume that was just opened."""
    scale = ngcore.open(path).scales[0]
    for plane in planes:
        scale[plane]


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"{THREADS} threads, {asked.side}^3; times in ms, ratio: the other's time over ours")
    with tempfile.TemporaryDirectory() as name:
        for title, path in volumes(Path(name), asked.side).items():
            for job, (ours, theirs) in jobs(path, asked.side).items():
                pairs = [(seconds(ours), seconds(theirs)) for _ in range(asked.rounds)]
                ratio = statistics.median(b / a for a, b in pairs)
                a, b = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
                other = "whole scale" if job.startswith("planes") else "tensorstore"
                print(f"{title:20} {job:20} {a:8.1f} {b:8.1f} {other:12} {ratio:5.2f}x")


if __name__ == "__main__":
    main()
