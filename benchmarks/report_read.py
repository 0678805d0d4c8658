"""`python -m benchmarks.report_read [--side N] [--rounds N]`: reading beside tensorstore.

Whole scales, random cutouts and plane after plane, from local volumes, with as many threads as
there are cores on both sides. tensorstore's cache is off, as it is by default, and so is ours for
cutouts. Both sides read in turn; a ratio is that of a round's two times, and the median of the
rounds is printed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore
from benchmarks import workloads
from benchmarks.side_by_side import HEADER, Ratio, compared

import ngcore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Work = Callable[[], object]

THREADS = os.cpu_count() or 1
PEER = "tensorstore"


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


def rows(side: int, rounds: int, only: str = "") -> Iterator[Ratio]:
    """Measure, and yield a row for each volume and job."""
    with tempfile.TemporaryDirectory() as name:
        for title, path in volumes(Path(name), side).items():
            for job, against, asked, ours, theirs in jobs(path, side):
                what = f"{title}: {job}"
                if only in what:
                    yield compared(what, against, asked, ours, theirs, rounds)


def jobs(path: Path, side: int) -> Iterator[tuple[str, str, float, Work, Work]]:
    """Yield what is timed: name, peer, the ratio that is asked, a call of ours and of theirs."""
    ours = ngcore.open(path).scales[0]
    theirs = open_with_tensorstore(path)
    yield "whole scale", PEER, 1.5, lambda: ours[...], lambda: theirs.read().result()
    random = np.random.default_rng(0)
    for edge in (32, 64):
        starts = random.integers(0, side - edge, (100, 3), endpoint=True)
        boxes = [tuple(slice(int(a), int(a) + edge) for a in start) for start in starts]
        fresh = ngcore.open(path, cache_bytes=0).scales[0]
        yield (
            f"100 cutouts of {edge}^3",
            PEER,
            2,
            lambda boxes=boxes, fresh=fresh: [fresh[box] for box in boxes],
            lambda boxes=boxes: [theirs[box].read().result() for box in boxes],
        )
    for axis, name in enumerate("xyz"):
        planes = [(*[slice(None)] * axis, number) for number in range(side)]
        # Beside the whole scale, which holds the same voxels.
        yield (
            f"planes along {name}",
            "the whole scale",
            1 / 1.5,
            lambda planes=planes: read_planes(path, planes),
            lambda: ngcore.open(path).scales[0][...],
        )


def read_planes(path: Path, planes: list[tuple[Any, ...]]) -> None:
    """Read plane after plane of a volume that was just opened."""
    scale = ngcore.open(path).scales[0]
    for plane in planes:
        scale[plane]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    asked = parser.parse_args()
    print(f"{THREADS} threads, {asked.side}^3 voxels\n\n{HEADER}")
    for ratio in rows(asked.side, asked.rounds, asked.only):
        print(ratio.row(), flush=True)


if __name__ == "__main__":
    main()
