"""`python -m benchmarks.report_sources`: memory and speed of Zarr, HDF5, NRRD and DICOM sources.

Sources of 1024 x 1024 x n voxels of uint16 are converted with `--memory 512M`; beside that, their
voxels are read by ngcore and by the library of the format alone, in the same boxes: planes as
deep as the chunks, each with all rows and columns.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from benchmarks.report_memory import BLOCK, MEBIBYTE, MEMORY, SIDE, block, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 64


def write_zarr(path: Path, planes: int) -> None:
    """Write Zarr 2 of chunks of 64 x 64 x 64, all hard links to a few."""
    import zarr

    shape = (planes, SIDE, SIDE)
    array = zarr.create_array(path, shape=shape, chunks=(CHUNK,) * 3, dtype="u2", zarr_format=2)
    values = np.tile(block(), (1, 1, CHUNK // BLOCK)).transpose(2, 1, 0)
    array[:CHUNK] = values
    for name in np.ndindex(*(length // CHUNK for length in shape)):
        if name[0]:
            os.link(path / f"0.{name[1]}.{name[2]}", path / ".".join(map(str, name)))


def write_hdf5(path: Path, planes: int) -> None:
    """Write HDF5 of gzipped chunks; a row of them is compressed once."""
    import h5py

    with h5py.File(path, "w") as file:
        shape = (planes, SIDE, SIDE)
        data = file.create_dataset("a", shape, "u2", chunks=(CHUNK,) * 3, compression="gzip")
        values = np.tile(block(), (1, 1, CHUNK // BLOCK)).transpose(2, 1, 0)
        for y in range(0, SIDE, CHUNK):
            for x in range(0, SIDE, CHUNK):
                chunk = np.ascontiguousarray(values[:, y : y + CHUNK, x : x + CHUNK])
                packed = zlib.compress(chunk, 1)
                for z in range(0, planes, CHUNK):
                    data.id.write_direct_chunk((z, y, x), packed)


def write_nrrd(path: Path, planes: int) -> None:
    """Write gzipped NRRD."""
    header = f"NRRD0004\ntype: uint16\ndimension: 3\nsizes: {SIDE} {SIDE} {planes}\n"
    header += "spacings: 1 1 1\nendian: little\nencoding: gzip\n\n"
    packer = zlib.compressobj(1, wbits=31)
    data = block().tobytes("F")
    with path.open("wb") as file:
        file.write(header.encode())
        for _ in range(planes // BLOCK):
            file.write(packer.compress(data))
        file.write(packer.flush())


def write_dicom(path: Path, planes: int) -> None:
    """Write a series of a slice a file."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    path.mkdir()
    values = block()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    for z in range(planes):
        image = Dataset()
        image.file_meta = meta
        meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = f"1.2.3.{z + 1}"
        image.SOPClassUID, image.SeriesInstanceUID = meta.MediaStorageSOPClassUID, "1.2"
        image.Rows = image.Columns = SIDE
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 0
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, z]
        image.PixelSpacing, image.SliceThickness, image.InstanceNumber = [1, 1], 1, z + 1
        image.PixelData = values[:, :, z % BLOCK].tobytes("F")
        image.save_as(path / f"{z:05}", enforce_file_format=True)


def zarr_boxes(path: Path) -> Iterator[np.ndarray]:
    """Read with zarr, a row of chunks at a time."""
    import zarr

    array = zarr.open_array(path, mode="r")
    for z in range(0, array.shape[0], CHUNK):
        yield array[z : z + CHUNK]


def hdf5_boxes(path: Path) -> Iterator[np.ndarray]:
    """Read with h5py, a row of chunks at a time."""
    import h5py

    with h5py.File(path) as file:
        for z in range(0, file["a"].shape[0], CHUNK):
            yield file["a"][z : z + CHUNK]


def nrrd_boxes(path: Path) -> Iterator[np.ndarray]:
    """Read with pynrrd, which reads all at once."""
    import nrrd

    yield nrrd.read(str(path))[0]


def dicom_boxes(path: Path) -> Iterator[np.ndarray]:
    """Read with pydicom, a slice at a time."""
    import pydicom

    for one in sorted(path.iterdir()):
        yield pydicom.dcmread(one).pixel_array


class Kind(NamedTuple):
    """Name of the file, how it is made, and how its library reads it."""

    name: str
    write: Callable[[Path, int], None]
    boxes: Callable[[Path], Iterator[np.ndarray]]


KINDS = {
    "Zarr": Kind("a.zarr", write_zarr, zarr_boxes),
    "HDF5": Kind("a.h5", write_hdf5, hdf5_boxes),
    "NRRD": Kind("a.nrrd", write_nrrd, nrrd_boxes),
    "DICOM": Kind("a", write_dicom, dicom_boxes),
}


def seconds_of_library(kind: Kind, path: Path) -> float:
    """Return how long its library takes to read all."""
    start = time.perf_counter()
    for box in kind.boxes(path):
        assert box[0].any()
    return time.perf_counter() - start


def seconds_of_ngcore(path: Path) -> float:
    """Return how long ngcore takes to read the same boxes, once it has read the headers."""
    from ngcore.sources import open_source

    with open_source(path, resolution=(8, 8, 8)) as source:
        start = time.perf_counter()
        lengths = list(source.shape)
        lengths[source.stream_axis] = CHUNK
        out = np.empty(lengths, source.dtype, order=source.memory_order)
        bounds, axis = source.header.bounds, source.stream_axis
        for first in range(bounds.start[axis], bounds.stop[axis], CHUNK):
            source.read(bounds.cut(axis, first, first + CHUNK), out)
            assert out[0].any()
        return time.perf_counter() - start


def elsewhere(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own: a converting child starts with our peak."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(function, *arguments).result()


def seconds_of_both(title: str, path: Path, rounds: int) -> tuple[float, float]:
    """Return the least time of the library and of ngcore, which take turns."""
    seconds_of_library(KINDS[title], path), seconds_of_ngcore(path)  # imports, page cache
    pairs = [
        (seconds_of_library(KINDS[title], path), seconds_of_ngcore(path)) for _ in range(rounds)
    ]
    library, ours = (min(column) for column in zip(*pairs, strict=True))
    return library, ours


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=4, metavar="GIB", help="to convert; 0: none")
    parser.add_argument("--read", type=float, default=0.5, metavar="GIB", help="to read; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="the kind of this name alone")
    parser.add_argument("--tmp", type=Path, help="where the sources and volumes go")
    asked = parser.parse_args()
    print(f"{SIDE} x {SIDE} x n voxels of uint16, {os.cpu_count()} cores, --memory {MEMORY}.\n")
    print(
        f"| source | peak while {asked.size:g} GiB are converted | wall time | "
        f"{asked.read:g} GiB read by its library | by ngcore | ngcore's speed |"
    )
    print("|---|---|---|---|---|---|")
    for title, kind in KINDS.items():
        if asked.only not in ("", title):
            continue
        cells = [title, "", "", "", "", ""]
        with tempfile.TemporaryDirectory(dir=asked.tmp) as folder:
            if asked.read:
                source = Path(folder, "small", kind.name)
                source.parent.mkdir()
                elsewhere(kind.write, source, int(asked.read * 512) // CHUNK * CHUNK)
                library, ours = elsewhere(seconds_of_both, title, source, asked.rounds)
                cells[3:] = [f"{library:.2f} s", f"{ours:.2f} s", f"{library / ours:.2f}x"]
            if asked.size:
                source = Path(folder, kind.name)
                elsewhere(kind.write, source, int(asked.size * 512) // CHUNK * CHUNK)
                measured = measure(source, Path(folder, "out"))
                cells[1:3] = [f"{measured.peak / MEBIBYTE:.0f} MiB", f"{measured.wall:.0f} s"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
