"""`python -m benchmarks.report_http [--side N] [--milliseconds 5] [--rounds N]`: over http.

A server process on this machine lets every answer wait (`slow_server.py`). Whole scales, random
cutouts and planes are read from it by ngcore and by tensorstore in turn, with as many requests on
their way at once and a cache of as many bytes on both sides; each round opens the volume anew. A
ratio is that of a round's two times, and the median of the rounds is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore
from benchmarks.report_read import seconds, volumes

import ngcore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def processor_seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall time of a call, and that of the processors in this process."""
    before = time.process_time()
    wall = seconds(work)
    return wall, time.process_time() - before


def report(side: int, milliseconds: float, rounds: int, only: str) -> None:
    """Print a row for each volume and job."""
    with tempfile.TemporaryDirectory() as name, served(Path(name), milliseconds) as url:
        for title, path in volumes(Path(name), side).items():
            for job, (cache_bytes, indices) in jobs(side).items():
                if only not in f"{title} {job}":
                    continue
                arguments = f"{url}/{path.name}", cache_bytes, indices
                pairs = [
                    (
                        processor_seconds(lambda: read_with_ngcore(*arguments)),  # noqa: B023
                        processor_seconds(lambda: read_with_tensorstore(*arguments)),  # noqa: B023
                    )
                    for _ in range(rounds)
                ]
                ratio = statistics.median(theirs[0] / ours[0] for ours, theirs in pairs)
                columns = [
                    statistics.median(pair[which][kind] for pair in pairs) * 1e3
                    for kind in (0, 1)
                    for which in (0, 1)
                ]
                print(
                    f"{title:20} {job:28} wall {columns[0]:8.1f} {columns[1]:8.1f} "
                    f"processor {columns[2]:8.1f} {columns[3]:8.1f} {ratio:5.2f}x",
                    flush=True,
                )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--milliseconds", type=float, default=5, help="before each answer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose volume and job hold this text")
    asked = parser.parse_args()
    print(
        f"{asked.side}^3, answers {asked.milliseconds:g} ms late, {REQUESTS} requests at once; "
        "times in ms, ours and tensorstore's; ratio of wall times"
    )
    report(asked.side, asked.milliseconds, asked.rounds, asked.only)


if __name__ == "__main__":
    main()
