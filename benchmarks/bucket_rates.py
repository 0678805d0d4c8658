"""Reading and writing in a bucket beside the store library itself, and beside a disk.

Starts moto's server on loopback: run ``python -m benchmarks.bucket_rates``. The server shares the
processors, so ratios count, not rates; its own time is no part of the processor time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ngcore
from ngcore.storage import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from bucket_servers import VARIABLES, s3_client, s3_server

_CASES = {"585 objects of 256 KiB": (585, 256 << 10), "16 shards of 16 MiB": (16, 16 << 20)}
_IN_FLIGHT = 16
_ROUNDS = 5
_PART = 8 << 20


class Took(NamedTuple):
    """How long something takes: on the wall, and of the processors for this process."""

    wall: float
    processor: float


def took(work: Callable[[], Any]) -> Took:
    """Return how long something takes; what programs that it starts take counts too."""
    start, before = time.perf_counter(), sum(os.times()[:4])
    work()
    return Took(time.perf_counter() - start, sum(os.times()[:4]) - before)


def compare(name: str, ours: Callable[[], Any], theirs: dict[str, Callable[[], Any]]) -> None:
    """Print medians of several rounds, ours and each of theirs alternately, with ratios."""
    every = {"ours": ours, **theirs}
    rounds = [{key: took(work) for key, work in every.items()} for _ in range(_ROUNDS)]
    found = {
        key: Took(
            statistics.median(done[key].wall for done in rounds),
            statistics.median(done[key].processor for done in rounds),
        )
        for key in every
    }
    mine = found["ours"]
    print(f"{name}: {mine.wall:.2f} s, processor {mine.processor:.2f} s")
    for key in theirs:
        other = found[key]
        print(
            f"  {key}: {other.wall:.2f} s ({mine.wall / other.wall:.2f}x), processor "
            f"{other.processor:.2f} s ({mine.processor / other.processor:.2f}x)"
        )


def at_once(work: Callable[[str], Any], names: list[str]) -> None:
    """Do something for each name, some of them at once."""
    with ThreadPoolExecutor(_IN_FLIGHT) as pool:
        list(pool.map(work, names))


def rates(own: Any) -> None:
    """Print how long our store and obstore's own take to write and read the same objects."""
    import obstore

    store = open_store("s3://bench")
    for name, (count, size) in _CASES.items():
        names = [f"{size}/{number}" for number in range(count)]
        data = os.urandom(size)

        def their_put(key: str, data: bytes = data) -> None:
            is_large = len(data) > _PART
            obstore.put(
                own, key, data, use_multipart=is_large, chunk_size=_PART, max_concurrency=4
            )

        async def all_of_theirs(names: list[str] = names) -> None:
            room = asyncio.Semaphore(_IN_FLIGHT)

            async def get(key: str) -> None:
                async with room:
                    found = await obstore.get_async(own, key)
                    await found.bytes_async()

            await asyncio.gather(*map(get, names))

        compare(
            f"write {name}",
            partial(at_once, lambda key, data=data: store.put(key, data), names),
            {"obstore alone": partial(at_once, their_put, names)},
        )
        compare(
            f"read {name}",
            partial(at_once, store.get_buffer, names),
            {"obstore alone": lambda work=all_of_theirs: asyncio.run(work())},
        )


def conversions(own: Any, folder: Path) -> None:
    """Print how long a conversion to the bucket takes, one to a disk, and that with a copy."""
    import obstore

    voxels = np.random.default_rng(0).integers(0, 99, (256, 256, 256)).astype(np.uint8)
    number = itertools.count()

    def convert(there: str | Path) -> str | Path:
        dest = f"{there}/v{next(number)}"
        ngcore.convert(voxels, dest, resolution=(8, 8, 8))
        return dest

    def convert_and_copy() -> None:
        files = [path for path in Path(convert(folder)).rglob("*") if path.is_file()]
        at_once(
            lambda path: obstore.put(own, path, Path(path).read_bytes()), list(map(str, files))
        )

    here = {"to a disk": partial(convert, folder), "to a disk, then copied": convert_and_copy}
    compare("convert 256^3 to the bucket", partial(convert, "s3://bench"), here)


def packing(folder: Path) -> None:
    """Print how long `pack` takes, and `cp` of what it wrote, with and without a sync."""
    voxels = np.random.default_rng(0).integers(0, 255, (1024, 1024, 1024), np.uint8)
    volume, out, copy = folder / "big", folder / "big.zip", folder / "copy"
    ngcore.convert(voxels, volume, resolution=(8, 8, 8), gzip=False, max_scales=1)

    def pack() -> None:
        out.unlink(missing_ok=True)
        ngcore.pack(volume, out)

    def cp(*, sync: bool) -> None:
        copy.unlink(missing_ok=True)
        subprocess.run(["cp", out, copy], check=True)
        if sync:
            subprocess.run(["sync", copy], check=True)

    copies = {"cp": partial(cp, sync=False), "cp, sync": partial(cp, sync=True)}
    compare("pack 1 GiB", pack, copies)


def main() -> None:
    """Print all of it."""
    from obstore.store import S3Store

    folder = Path(tempfile.mkdtemp(prefix="ngcore-bench-"))
    try:
        with s3_server() as endpoint:
            os.environ.update(VARIABLES, AWS_ENDPOINT_URL=endpoint)
            s3_client(endpoint).create_bucket(Bucket="bench")
            own = S3Store(
                "bench",
                config={"endpoint": endpoint, "region": "us-east-1"},
                client_options={"allow_http": True},
            )
            rates(own)
            conversions(own, folder)
            shape = ["--shape", "100000,100000,100000", "--data-type", "uint8"]
            dry = [sys.executable, "-m", "ngcore", "convert", "--dry-run", *shape]
            dry += ["--resolution", "8,8,8", "s3://bench/peta"]
            dry_run = took(lambda: subprocess.run(dry, check=True, stdout=subprocess.DEVNULL))
            print(f"dry run of a petavoxel to s3://: {dry_run.wall:.2f} s")
        packing(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
