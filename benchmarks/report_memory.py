"""`python -m benchmarks.report_memory`: peak memory and time per voxel as sources grow.

Sources of 1024 x 1024 x n voxels of uint16 are converted with `--memory 512M`, each in a process
of its own, whose peak resident memory the system reports. Processor time stands beside wall time,
since other work on the machine changes it less.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import nibabel
import numpy as np
from benchmarks.report_convert import BIN, environment
from isal import igzip
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIDE = 1024
BLOCK = 16
"""Planes that are made anew; the source repeats them, so that it is quickly written."""
MEMORY = "512M"
MEBIBYTE = 1 << 20


class Measured(NamedTuple):
    """One conversion: peak memory in bytes, wall and processor time in seconds."""

    peak: int
    wall: float
    processor: float


def block() -> np.ndarray:
    """Return BLOCK planes of smooth noise, shape (x, y, z), Fortran order."""
    random = np.random.default_rng(0)
    ramp = np.linspace(0, 20_000, SIDE)
    planes = np.empty((SIDE, SIDE, BLOCK), np.uint16, order="F")
    for z in range(BLOCK):
        planes[:, :, z] = ramp[:, None] / 2 + ramp / 2 + random.normal(400, 60, (SIDE, SIDE))
    return planes


def nifti_header(planes: int) -> bytes:
    """Return all that comes before the voxels in a `.nii` file."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint16)
    header.set_data_shape((SIDE, SIDE, planes))
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4)


def write_nii(path: Path, planes: int) -> None:
    """Write a NIfTI file."""
    with path.open("wb") as file:
        file.write(nifti_header(planes))
        for _ in range(planes // BLOCK):
            file.write(block_bytes())


def write_nii_gz(path: Path, planes: int) -> None:
    """Write a gzipped NIfTI file, of many members: as `cat` of gzip files makes them."""
    member = igzip.compress(block_bytes(), 1)
    with path.open("wb") as file:
        file.write(igzip.compress(nifti_header(planes)))
        for _ in range(planes // BLOCK):
            file.write(member)


def write_npy(path: Path, planes: int) -> None:
    """Write a `.npy` file in Fortran order."""
    header = {"descr": "<u2", "fortran_order": True, "shape": (SIDE, SIDE, planes)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(planes // BLOCK):
            file.write(block_bytes())


def write_c_npy(path: Path, planes: int) -> None:
    """Write a `.npy` file in C order: x is the slowest axis, and as long as z is elsewhere."""
    header = {"descr": "<u2", "fortran_order": False, "shape": (planes, SIDE, SIDE)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(planes // BLOCK):
            file.write(block_bytes())


def write_slices(path: Path, planes: int) -> None:
    """Write a folder of PNG files."""
    path.mkdir()
    pictures = list(encoded_slices())
    for z in range(planes):
        (path / f"{z:05}.png").write_bytes(pictures[z % BLOCK])


def encoded_slices() -> Iterator[bytes]:
    """Yield the planes of a block as PNG."""
    planes = block()
    for z in range(BLOCK):
        file = io.BytesIO()
        Image.fromarray(planes[:, :, z].T).save(file, "PNG", compress_level=1)
        yield file.getvalue()


@lru_cache
def block_bytes() -> bytes:
    """Return a block as files hold it."""
    return block().tobytes("F")


SOURCES: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    ".nii": ("a.nii", write_nii),
    ".nii.gz": ("a.nii.gz", write_nii_gz),
    "PNG slices": ("a", write_slices),
    ".npy": ("a.npy", write_npy),
    ".npy, C order": ("a.npy", write_c_npy),
}


def measure(source: Path, out: Path) -> Measured:
    """Convert a source in a process of its own."""
    words = [str(BIN / "ngcore"), "convert", str(source), str(out), "--resolution", "8,8,8"]
    words += ["--type", "image", "--memory", MEMORY, "--no-fsync"]
    start = time.perf_counter()
    process = subprocess.Popen(words, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed with status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(usage.ru_maxrss * unit, wall, usage.ru_utime + usage.ru_stime)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=float, default=0.5, metavar="GIB")
    parser.add_argument("--large", type=float, default=8, metavar="GIB")
    parser.add_argument("--only", default="", help="the kind of source of this name alone")
    parser.add_argument("--tmp", type=Path, help="where the sources and volumes go")
    asked = parser.parse_args()
    print(f"{SIDE} x {SIDE} x n voxels of uint16, --memory {MEMORY}, {os.cpu_count()} cores.\n")
    print(
        f"| source | peak at {asked.small:g} GiB, MiB | peak at {asked.large:g} GiB | grows by | "
        "wall time per voxel grows | processor time per voxel grows |"
    )
    print("|---|---|---|---|---|---|")
    for title, (name, write) in SOURCES.items():
        if asked.only not in ("", title):
            continue
        found = []
        for gibibytes in (asked.small, asked.large):
            with tempfile.TemporaryDirectory(dir=asked.tmp) as folder:
                source = Path(folder, name)
                write(source, int(gibibytes * 512) // BLOCK * BLOCK)
                found.append(measure(source, Path(folder, "out")))
                shutil.rmtree(Path(folder, "out"))
        print(row(title, *found, times=asked.large / asked.small), flush=True)


def row(title: str, small: Measured, large: Measured, *, times: float) -> str:
    """Return a row of the table."""
    return (
        f"| {title} | {small.peak / MEBIBYTE:.0f} | {large.peak / MEBIBYTE:.0f} | "
        f"{large.peak / small.peak - 1:+.0%} | {large.wall / small.wall / times:.2f}x | "
        f"{large.processor / small.processor / times:.2f}x |"
    )


if __name__ == "__main__":
    main()
