"""Reading and writing in a bucket beside the store library itself, and beside a disk.

Starts moto's server on loopback: run ``python -m benchmarks.bucket_rates``. The server shares the
processors, so ratios count, not rates.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import ngcore
from ngcore.storage import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from bucket_servers import VARIABLES, s3_client, s3_server

_CASES = {"585 objects of 256 KiB": (585, 256 << 10), "16 shards of 16 MiB": (16, 16 << 20)}
_IN_FLIGHT = 16
_ROUNDS = 3


def seconds(work: Callable[[], Any]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rates(endpoint: str) -> None:
    """Print how long our store and obstore's own take to read the same objects, alternately."""
    import obstore
    from obstore.store import S3Store

    own = S3Store(
        "bench",
        config={"endpoint": endpoint, "region": "us-east-1"},
        client_options={"allow_http": True},
    )
    store = open_store("s3://bench")
    for name, (count, size) in _CASES.items():
        names = [f"{size}/{number}" for number in range(count)]
        for name_of_object in names:
            obstore.put(own, name_of_object, os.urandom(size))

        async def theirs(names: list[str] = names) -> None:
            room = asyncio.Semaphore(_IN_FLIGHT)

            async def get(key: str) -> None:
                async with room:
                    found = await obstore.get_async(own, key)
                    await found.bytes_async()

            await asyncio.gather(*map(get, names))

        def ours(names: list[str] = names) -> None:
            with ThreadPoolExecutor(_IN_FLIGHT) as pool:
                list(pool.map(store.get, names))

        pairs = [(seconds(ours), seconds(lambda: asyncio.run(theirs()))) for _ in range(_ROUNDS)]
        mine, other = (min(times) for times in zip(*pairs, strict=True))
        print(f"{name}: {mine:.2f} s, obstore alone {other:.2f} s, {mine / other:.2f}x (bar 1.2)")


def conversions(folder: Path) -> None:
    """Print how long a conversion to the bucket takes, and the same one to a disk."""
    voxels = np.random.default_rng(0).integers(0, 99, (256, 256, 256)).astype(np.uint8)

    def convert(dest: str | Path) -> None:
        ngcore.convert(voxels, dest, resolution=(8, 8, 8))

    for number in range(_ROUNDS):
        there = seconds(partial(convert, f"s3://bench/v{number}"))
        here = seconds(partial(convert, folder / f"v{number}"))
        print(f"convert 256^3: bucket {there:.2f} s, disk {here:.2f} s, {there / here:.2f}x (1.5)")


def packing(folder: Path) -> None:
    """Print how long `pack` takes, and `cp` of what it wrote."""
    voxels = np.random.default_rng(0).integers(0, 255, (1024, 1024, 1024), np.uint8)
    volume, out = folder / "big", folder / "big.zip"
    ngcore.convert(voxels, volume, resolution=(8, 8, 8), gzip=False, max_scales=1)
    for _ in range(_ROUNDS):
        packed = seconds(lambda: ngcore.pack(volume, out, overwrite=True))
        copied = seconds(lambda: subprocess.run(["cp", out, folder / "copy"], check=True))
        print(f"pack 1 GiB: {packed:.2f} s, cp {copied:.2f} s, {packed / copied:.2f}x (bar 1.3)")


def main() -> None:
    """Print all of it."""
    folder = Path(tempfile.mkdtemp(prefix="ngcore-bench-"))
    try:
        with s3_server() as endpoint:
            os.environ.update(VARIABLES, AWS_ENDPOINT_URL=endpoint)
            s3_client(endpoint).create_bucket(Bucket="bench")
            rates(endpoint)
            conversions(folder)
            shape = ["--shape", "100000,100000,100000", "--data-type", "uint8"]
            dry = [sys.executable, "-m", "ngcore", "convert", "--dry-run", *shape]
            dry += ["--resolution", "8,8,8", "s3://bench/peta"]
            took = seconds(lambda: subprocess.run(dry, check=True, stdout=subprocess.DEVNULL))
            print(f"dry run of a petavoxel to s3://: {took:.2f} s (bar 1)")
        packing(folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
