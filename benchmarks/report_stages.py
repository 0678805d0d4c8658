"""`python -m benchmarks.report_stages`: where a conversion's time goes, and the machine's bound.

Each stage of `ngcore.convert` is timed where it is called, on every thread: the time that passed,
and the processor time. Threads wait while there is nothing for them to do. What no stage claims is
Python between stages.
Beside it stands what no program can beat: writing files of the same bytes to the page cache, and
decompressing the same source with ISA-L.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report_convert import SCALES, write_sources
from isal import igzip_lib

import ngcore
from ngcore.codecs import gzip
from ngcore.conversion import region, walk
from ngcore.precomputed.encodings.compressed_segmentation import CompressedSegmentationEncoding
from ngcore.precomputed.encodings.raw import RawEncoding
from ngcore.sources.volumes.gzip_stream import GzipSource
from ngcore.sources.volumes.raw import RawSource
from ngcore.storage import LocalStore
from ngcore.volume.seal import ScaleDigest
from ngcore.work.threads import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STAGES: list[tuple[str, list[tuple[Any, str]]]] = [
    ("reading", [(RawSource, "_read"), (GzipSource, "_read")]),
    ("downsampling", [(walk, "downsample")]),
    ("copying chunks", [(region, "copy_chunk")]),
    ("encoding", [(RawEncoding, "encode"), (CompressedSegmentationEncoding, "encode")]),
    ("digesting", [(ScaleDigest, "add")]),
    ("compressing", [(gzip, "compress")]),
    ("writing", [(LocalStore, "put_parts")]),
    ("waiting for work", [(ThreadPool, "_wait_for_work")]),
]
"""Names of stages, and the functions that are theirs."""

CASES = {
    "uint8 .nii to raw, unsharded": ("image.nii", {"sharding": False}),
    "uint8 .nii to raw, sharded, gzip": ("image.nii", {}),
    "uint64 labels to compressed_segmentation, unsharded": (
        "labels.npy",
        {"sharding": False, "type": "segmentation"},
    ),
    "the same, sharded, gzip": ("labels.npy", {"type": "segmentation"}),
    "uint8 .nii.gz to raw, gzip chunks": (
        "image.nii.gz",
        {"sharding": False, "layout": "nested", "gzip": True},
    ),
}


class Clock:
    """Adds up time per stage, from any thread."""

    def __init__(self) -> None:
        self.wall: defaultdict[str, float] = defaultdict(float)
        self.processor: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and is counted to a stage."""

        @wraps(function)
        def wrapper(*args: Any, **options: Any) -> Any:
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **options)
            finally:
                wall, processor = time.perf_counter() - wall, time.thread_time() - processor
                with self._lock:
                    self.wall[stage] += wall
                    self.processor[stage] += processor

        return wrapper


@contextmanager
def stages_timed() -> Iterator[Clock]:
    """Time every stage while the context lasts."""
    clock = Clock()
    kept = [(owner, name, getattr(owner, name)) for _, places in STAGES for owner, name in places]
    try:
        for stage, places in STAGES:
            for owner, name in places:
                setattr(owner, name, clock.timed(stage, getattr(owner, name)))
        yield clock
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)


def report(title: str, source: Path, options: dict[str, Any], folder: Path) -> None:
    """Convert once and print the stages; then write the same files again, as plainly as can be."""
    out = folder / "out"
    threads = os.cpu_count() or 1
    with stages_timed() as clock:
        start, used = time.perf_counter(), time.process_time()
        ngcore.convert(
            source,
            out,
            resolution=(8, 8, 8),
            chunk_size=64,
            max_scales=SCALES,
            fsync=False,
            workers=threads,
            **options,
        )
        wall, used = time.perf_counter() - start, time.process_time() - used
    print(f"\n{title}: {wall:.2f} s, {used:.2f} s of processor time, without start-up\n")
    print("| stage | passed on all threads, s | processor time, s |")
    print("|---|---|---|")
    for stage, _ in STAGES:
        if clock.wall[stage]:
            print(f"| {stage} | {clock.wall[stage]:.2f} | {clock.processor[stage]:.2f} |")
    rest = used - sum(clock.processor.values())
    print(f"| Python between stages | | {rest:.2f} |")
    print(f"| *bound: page-cache write of the same files* | {written_again(out, folder):.2f} | |")
    if source.suffix == ".gz":
        print(f"| *bound: gunzip alone* | {gunzipped(source):.2f} | |")


def written_again(volume: Path, folder: Path) -> float:
    """Return the wall time of writing a volume's files anew, without a sync."""
    files = [
        (path.relative_to(volume), path.read_bytes())
        for path in volume.rglob("*")
        if path.is_file()
    ]
    copy = folder / "copy"
    for parent in {(copy / name).parent for name, _ in files}:
        parent.mkdir(parents=True, exist_ok=True)
    names = [str(copy / name) for name, _ in files]
    start = time.perf_counter()
    for name, (_, data) in zip(names, files, strict=True):
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, data)
        os.close(descriptor)
    return time.perf_counter() - start


def gunzipped(path: Path) -> float:
    """Return the wall time of decompressing a file, block by block."""
    stream = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
    start = time.perf_counter()
    with path.open("rb") as file:
        while not stream.eof:
            stream.decompress(file.read(1 << 17) if stream.needs_input else b"", 1 << 18)
    return time.perf_counter() - start


def main() -> None:
    """Print the profile of every case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--sources", type=Path, help="folder to keep the sources in")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sources = write_sources(asked.sources or Path(name, "sources"), asked.side)
        for index, (title, (source, options)) in enumerate(CASES.items()):
            if asked.only in title:
                outputs = Path(name, str(index))  # nothing is removed before all is measured
                outputs.mkdir()
                report(title, sources / source, options, outputs)


if __name__ == "__main__":
    main()
