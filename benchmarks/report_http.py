"""`python -m benchmarks.report_http [--side N] [--milliseconds 5] [--rounds N]`: over http.

A server process on this machine lets every answer wait (`slow_server.py`). Whole scales, random
cutouts and planes are read from it by ngcore and by tensorstore in turn, with as many requests on
their way at once and a cache of as many bytes on both sides; each round opens the volume anew. A
ratio is that of a round's two times, and the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore
from benchmarks.report_read import volumes
from benchmarks.side_by_side import HEADER, Ratio, compared

import ngcore

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUESTS = 16
"""On their way at once, on both sides."""
CACHE_BYTES = 128 << 20
BAR = 1.0
ROOT = Path(__file__).parents[1]


@contextmanager
def served(folder: Path, milliseconds: float) -> Iterator[str]:
    """Yield the URL under which a process of its own serves a folder."""
    words = ["-m", "benchmarks.slow_server", str(folder), "--milliseconds", str(milliseconds)]
    server = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()  # type: ignore[union-attr]


def open_with_tensorstore(url: str, cache_bytes: int) -> Any:
    """Open scale 0; what is in its cache is taken to be true, as ngcore does."""
    return tensorstore.open(
        {
            "driver": "neuroglancer_precomputed",
            "kvstore": url,
            "recheck_cached_data": "open",
            "context": {
                "cache_pool": {"total_bytes_limit": cache_bytes},
                "data_copy_concurrency": {"limit": os.cpu_count() or 1},
                "http_request_concurrency": {"limit": REQUESTS},
            },
        },
        read=True,
    ).result()


def jobs(side: int) -> dict[str, tuple[int, list[tuple[Any, ...]]]]:
    """Return what is read: bytes of cache, and indices one after the other."""
    random = np.random.default_rng(0)
    everything: list[tuple[Any, ...]] = [(slice(None),) * 3]
    asked: dict[str, tuple[int, list[tuple[Any, ...]]]] = {"whole scale": (0, everything)}
    for edge in (32, 64):
        starts = random.integers(0, side - edge, (100, 3), endpoint=True)
        boxes = [tuple(slice(int(a), int(a) + edge) for a in start) for start in starts]
        asked[f"100 cutouts of {edge}^3, no cache"] = (0, boxes)
        asked[f"100 cutouts of {edge}^3"] = (CACHE_BYTES, boxes)
    for axis, name in enumerate("xyz"):
        planes = [(*[slice(None)] * axis, number) for number in range(side)]
        asked[f"planes along {name}"] = (CACHE_BYTES, planes)
    return asked


def read_with_ngcore(url: str, cache_bytes: int, indices: list[tuple[Any, ...]]) -> None:
    """Open a volume and read parts of it, one after the other."""
    scale = ngcore.open(url, workers=REQUESTS, cache_bytes=cache_bytes).scales[0]
    for index in indices:
        scale[index]


def read_with_tensorstore(url: str, cache_bytes: int, indices: list[tuple[Any, ...]]) -> None:
    """Do the same with tensorstore."""
    scale = open_with_tensorstore(url, cache_bytes)
    for index in indices:
        scale[index].read().result()


def rows(side: int, rounds: int, milliseconds: float = 5, only: str = "") -> Iterator[Ratio]:
    """Measure, and yield a row for each volume and job."""
    with tempfile.TemporaryDirectory() as name, served(Path(name), milliseconds) as url:
        for title, path in volumes(Path(name), side).items():
            for job, (cache_bytes, indices) in jobs(side).items():
                what = f"{title}, http: {job}"
                if only not in what:
                    continue
                arguments = f"{url}/{path.name}", cache_bytes, indices
                ours = partial(read_with_ngcore, *arguments)
                theirs = partial(read_with_tensorstore, *arguments)
                yield compared(what, "tensorstore", BAR, ours, theirs, rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--milliseconds", type=float, default=5, help="before each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose volume and job hold this text")
    asked = parser.parse_args()
    print(
        f"{asked.side}^3 voxels, answers {asked.milliseconds:g} ms late, {REQUESTS} requests at "
        f"once\n\n{HEADER}"
    )
    for ratio in rows(asked.side, asked.rounds, asked.milliseconds, asked.only):
        print(ratio.row(), flush=True)


if __name__ == "__main__":
    main()
