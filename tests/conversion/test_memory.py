"""Resident memory stays within `--memory`, whatever the size of the volume."""

import gzip
import json
import subprocess
import sys

import nibabel
import numpy as np
import peak_memory
import pytest
import tifffile
from PIL import Image
from thorough import amount

import ngcore
from ngcore.conversion.estimate import estimate
from ngcore.conversion.memory import processes_here
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import open_for, prepare
from ngcore.conversion.spread_plan import spread_plan

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
    """Write voxels of uint16: more noise than waits for shards in memory, then sparse zeros."""
    noise = np.random.default_rng(0).integers(0, 1 << 16, SHAPE[:2], np.uint16).tobytes()
    header = {"descr": "<u2", "fortran_order": True, "shape": SHAPE}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        for _ in range(PLANES // 4):
            file.write(noise)
        file.truncate(start + 2 * 1024 * 1024 * PLANES)


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


def write_wide_volume(folder):
    """Write a volume of 50000 x 50000 x 200 voxels, all of them absent zeros."""
    scale = {"key": "8_8_8", "size": [50000, 50000, 200], "resolution": [8, 8, 8]}
    scale |= {"voxel_offset": [0, 0, 0], "chunk_sizes": [[64, 64, 64]], "encoding": "raw"}
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    (folder / "8_8_8").mkdir(parents=True)
    (folder / "info").write_text(json.dumps(info))


@pytest.mark.parametrize("executor", [None, "local"])
@pytest.mark.parametrize("data_type", [None, "uint16"])
def test_chunked_source_with_a_wide_plane_is_read_in_bands(tmp_path, data_type, executor):
    write_wide_volume(tmp_path / "wide")
    # A row of its chunks, the whole plane wide, takes 160 GB.
    planned = estimate(
        tmp_path / "wide", data_type=data_type, workers=2, memory="1G", executor=executor
    )
    assert planned.memory_bytes <= 1 << 30


@pytest.mark.parametrize("memory", ["256M", "1G"])
def test_of_many_processors_no_more_are_used_than_memory_holds(monkeypatch, tmp_path, memory):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(256))
    (tmp_path / "slices").mkdir()
    Image.new("L", (4000, 3000)).save(tmp_path / "slices/0.png")
    Image.new("L", (4000, 3000)).save(tmp_path / "slices/1.png")
    np.save(tmp_path / "labels.npy", np.zeros((100, 90, 80), np.uint64))
    for name, data_type in (("slices", "uint8"), ("labels.npy", "uint64")):
        given = {"data_type": data_type, "resolution": (8, 8, 8), "memory": memory}
        options = ConvertOptions(**given)
        assert options.thread_count == 256
        with open_for(tmp_path / name, options) as source:
            plan = prepare(source, options).plan
            assert 1 < plan.threads < 256
            assert plan.memory_bytes <= options.memory_bytes
            if memory == "1G":
                grids = spread_plan(plan.info, plan.factors, plan.stream_axis)
                found = processes_here(grids, source, options)
                assert found.number * found.threads < 256
        asked = ConvertOptions(workers=256, **given)
        with open_for(tmp_path / name, asked) as source:
            conversion = prepare(source, asked)
        assert conversion.plan.threads < 256
        assert conversion.plan.memory_bytes <= options.memory_bytes
        said = f"so {conversion.plan.threads} are used"
        assert any(said in warning for warning in conversion.warnings)


def test_a_small_volume_fits_in_the_least_memory_with_several_threads(tmp_path):
    voxels = np.zeros((70, 65, 33), np.uint8)
    ngcore.convert(voxels, tmp_path / "out", resolution=(1, 1, 1), memory="128M", workers=4)
