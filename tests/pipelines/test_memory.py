"""Resident memory stays within `--memory`, whatever the size of the volume."""

import gzip
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import tifffile

import peak_memory
from thorough import amount

MEASURED = (
    peak_memory.SCRIPT
    + """
import sys
from ngcore.cli import run
print(run(sys.argv[1:]), peak_bytes())
"""
)

PLANES = amount(128, 2048)
SHAPE = (1024, 1024, PLANES)


def write_npy(path):
    """Write voxels of uint16 as a sparse file: zeros take as much memory as any others."""
    header = {"descr": "<u2", "fortran_order": True, "shape": SHAPE}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2 * 1024 * 1024 * PLANES)


def write_nii_gz(path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint16)
    header.set_data_shape(SHAPE)
    header["magic"], header["vox_offset"] = b"n+1", 352
    plane = bytes(2 * 1024 * 1024)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(PLANES):
            file.write(plane)


def write_tiff_slices(folder):
    """Write a folder of slices, all of one file."""
    folder.mkdir()
    plane = np.random.default_rng(0).integers(0, 99, SHAPE[:2]).astype(np.uint16)
    tifffile.imwrite(folder / "slice0.tif", plane, compression="zlib")
    for index in range(1, PLANES):
        (folder / f"slice{index}.tif").hardlink_to(folder / "slice0.tif")


SOURCES = [("a.npy", write_npy), ("a.nii.gz", write_nii_gz), ("slices", write_tiff_slices)]


@pytest.mark.parametrize("options", [[], ["--no-sharding"]][: amount(1, 2)])
@pytest.mark.parametrize(("name", "write"), SOURCES[: amount(2, 3)])
@pytest.mark.parametrize("megabytes", [256, 512][: amount(1, 2)])
def test_conversion_stays_within_its_memory(tmp_path, name, write, megabytes, options):
    write(tmp_path / name)
    arguments = ["convert", str(tmp_path / name), str(tmp_path / "out"), "--workers", "2"]
    arguments += ["--resolution", "8,8,8", "--memory", f"{megabytes}M", "--no-fsync", *options]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True
    )
    status, peak = (int(number) for number in done.stdout.split())
    assert status == 0, done.stderr
    assert peak <= megabytes << 20


def test_dry_run_of_a_petavoxel_takes_little_memory():
    arguments = ["convert", "--dry-run", "--shape", "100000,100000,100000", "--json"]
    arguments += ["--resolution", "8,8,8", "--data-type", "uint16"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments], capture_output=True, text=True, check=True
    )
    status, peak = (int(number) for number in done.stdout.splitlines()[-1].split())
    assert status == 0, done.stderr
    assert peak <= 150 << 20
