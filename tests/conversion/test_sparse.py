"""Sources of which few chunks are there: time goes with those, the bytes are the usual ones."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from functools import partial

import numpy as np
import peak_memory
import pytest
from thorough import amount

import ngcore
from ngcore import FormatError
from ngcore.cli import run
from ngcore.conversion import work_item
from ngcore.storage.present import PresentCells
from ngcore.work.serial import SerialExecutor

SIDE = 8
convert = partial(ngcore.convert, fsync=False)


@pytest.fixture(scope="module")
def voxels():
    found = np.zeros((140, 130, 135), np.uint8)
    rng = np.random.default_rng(0)
    found[100:110, 60:65, 30:40] = rng.integers(0, 9, (10, 5, 10))
    found[5, 5, 5] = 1
    found[-3:, -3:, -3:] = 7
    return found


def sparse_volume(folder, voxels, *, sharding, offset=(0, 0, 0)):
    """Write one scale as others do: without its zeros."""
    options = {"resolution": (8, 8, 40), "chunk_size": (SIDE,) * 3, "max_scales": 1}
    volume = convert(voxels, folder, sharding=sharding, voxel_offset=offset, **options)
    (folder / "provenance").unlink()
    scale = volume.scales[0].info
    if sharding:
        for path in (folder / scale.key).iterdir():
            if path.stat().st_size <= scale.sharding.shard_index_size:
                path.unlink()
    else:
        for cell in scale.grid.cells():
            if not voxels[scale.grid.bounds(cell).slices(offset)].any():
                (folder / scale.key / scale.grid.name(cell)).unlink()
    return folder


def claiming(folder, size, *, sharding=False):
    """Write a volume that claims a size, of which one chunk is there, at its end."""
    small = np.zeros((64, 64, 64), np.uint16)
    small[-1, -1, -1] = 5
    options = {"resolution": (8, 8, 8), "chunk_size": (64, 64, 64), "sharding": sharding}
    convert(small, folder, **options)
    (folder / "provenance").unlink()
    info = json.loads((folder / "info").read_text())
    scale = info["scales"][0]
    scale["size"] = [size] * 3
    if sharding:
        bits = 3 * ((size // 64).bit_length() - 1) - 9
        scale["sharding"] |= {"preshift_bits": 9, "shard_bits": bits}
        shard = folder / scale["key"] / "0.shard"
        shard.rename(shard.with_name(f"{0:0{-(-bits // 4)}x}.shard"))
    else:
        last = "_".join([f"{size - 64}-{size}"] * 3)
        chunk = next((folder / scale["key"]).iterdir())
        chunk.rename(chunk.with_name(last))
    (folder / "info").write_text(json.dumps(info))
    return folder


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "provenance"
    }


@pytest.mark.parametrize("offset", [(0, 0, 0), (5, -3, 7)])
@pytest.mark.parametrize("sharding", [False, True])
def test_what_is_passed_over_gives_the_bytes_of_what_is_walked(tmp_path, voxels, sharding, offset):
    source = sparse_volume(tmp_path / "source", voxels, sharding=sharding, offset=offset)
    scale = ngcore.open(source).scales[0]
    assert scale.present is not None
    assert len(scale.present) < scale.info.grid.count / 100
    options = {"chunk_size": SIDE, "resolution": (8, 8, 40), "voxel_offset": offset}
    convert(voxels, tmp_path / "whole", **options)
    convert(source, tmp_path / "sparse", chunk_size=SIDE)
    assert files_of(tmp_path / "sparse") == files_of(tmp_path / "whole")
    assert ngcore.validate(tmp_path / "sparse").is_sound


@pytest.mark.parametrize("sharding", [False, True])
def test_work_items_of_nothing_are_not_read_and_give_the_same_bytes(
    tmp_path, voxels, sharding, monkeypatch
):
    offset = (5, -3, 7)
    source = sparse_volume(tmp_path / "source", voxels, sharding=sharding, offset=offset)
    options = {"chunk_size": SIDE, "resolution": (8, 8, 40), "voxel_offset": offset}
    convert(voxels, tmp_path / "whole", **options)
    read, passed_over = [], []
    for name, places in (("carry_out_region", read), ("pass_over", passed_over)):
        before = getattr(work_item, name)
        monkeypatch.setattr(
            work_item, name, lambda *args, to=places, by=before: (to.append(args[-1]), by(*args))
        )
    convert(source, tmp_path / "items", chunk_size=SIDE, dask=SerialExecutor())
    assert files_of(tmp_path / "items") == files_of(tmp_path / "whole")
    assert len(passed_over) > len(read) > 0


def test_work_items_of_a_large_volume_take_the_time_of_what_is_there(tmp_path):
    source = claiming(tmp_path / "source", 1 << 12)
    start = time.process_time()
    made = convert(source, tmp_path / "out", dask=SerialExecutor())
    assert made.scales[0][-1, -1, -1, 0] == 5
    assert time.process_time() - start < 30  # 2^36 voxels take minutes


@pytest.mark.parametrize("command", ["convert", "convert-chunks"])
def test_claims_end_in_a_line_in_work_items_and_from_volume_to_volume(tmp_path, command, capfd):
    source = claiming(tmp_path / "source", 1 << 17)
    words = {"convert": ["--dask", "local", "--no-sharding"], "convert-chunks": ["--copy-info"]}
    assert run([command, str(source), str(tmp_path / "out"), *words[command]]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert "chunks exist" in line
    assert not (tmp_path / "out" / "info").exists()


def test_axes_that_are_reordered_are_no_different(tmp_path, voxels):
    source = sparse_volume(tmp_path / "source", voxels, sharding=False)
    options = {"chunk_size": SIDE, "orient": "LPI"}
    convert(source, tmp_path / "out", **options)
    flipped = ngcore.open(tmp_path / "out").scales[0][..., 0]
    assert np.array_equal(flipped, voxels[::-1, ::-1, ::-1])


@pytest.mark.parametrize("sharding", [False, True])
def test_a_large_volume_takes_the_time_of_what_is_there(tmp_path, sharding):
    source = claiming(tmp_path / "source", 1 << 12, sharding=sharding)
    start = time.process_time()
    made = convert(source, tmp_path / "out")
    took = time.process_time() - start
    last = -1 if not sharding else 63  # the id of the only chunk in a shard is the first one's
    assert made.scales[0].shape == (4096, 4096, 4096, 1)
    assert made.scales[0][last, last, last, 0] == 5
    assert took < 30  # a walk through 2^36 voxels takes minutes


MEASURED = (
    peak_memory.SCRIPT
    + """
import sys
from ngcore.cli import run
print(run(sys.argv[1:]), peak_bytes())
"""
)


def test_flat_chunks_of_deep_ones_stay_within_the_memory(tmp_path):
    """Of a row of the source's chunks, 256 MiB are kept for a block of 64 flat ones."""
    source, side = tmp_path / "source", 64
    voxels = np.random.default_rng(0).integers(0, 1 << 32, (side,) * 3, np.uint32)
    options = {"resolution": (8, 8, 8), "chunk_size": side, "sharding": False}
    convert(voxels, source, encoding="raw", **options)
    (source / "provenance").unlink()
    info = json.loads((source / "info").read_text())
    info["scales"][0]["size"] = [2048] * 3
    (source / "info").write_text(json.dumps(info))
    chunk = next((source / info["scales"][0]["key"]).iterdir())
    for x, y in np.ndindex(16, 16):
        edges = [f"{n * side}-{(n + 1) * side}" for n in (x, y, 8)]
        chunk.with_name("_".join(edges)).hardlink_to(chunk)
    chunk.unlink()
    command = ["convert", source, tmp_path / "out", "--chunk-size", "256,256,16", "--no-fsync"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, command), "--memory", "250M"],
        capture_output=True,
        text=True,
        check=True,
    )
    status, peak = map(int, done.stdout.split())
    assert status == 0, done.stderr
    assert peak <= 250 << 20


def test_values_that_zeros_do_not_become_are_not_passed_over(tmp_path, voxels):
    source = sparse_volume(tmp_path / "source", voxels, sharding=False)
    options = {"chunk_size": SIDE, "resolution": (8, 8, 40), "outside_value": 200}
    convert(voxels, tmp_path / "whole", **options)
    convert(source, tmp_path / "sparse", chunk_size=SIDE, outside_value=200)
    assert files_of(tmp_path / "sparse") == files_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("exponent", "options", "expected"),
    [
        (20, [], "more than 2^53"),
        (17, ["--no-sharding"], "chunk files"),
        (17, ["--chunk-size", "8"], "shard files"),
    ],
)
def test_claims_that_would_never_end_are_refused_in_a_line(
    tmp_path, capfd, exponent, options, expected
):
    source = claiming(tmp_path / "source", 1 << exponent)
    assert run(["convert", str(source), str(tmp_path / "out"), *options]) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if "error" in line]
    assert len(lines) == 1
    assert expected in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_shard_that_ngcore_wrote_and_that_is_gone_is_not_taken_for_nothing(tmp_path, voxels):
    convert(voxels, tmp_path / "a", resolution=(8, 8, 8), chunk_size=SIDE, max_scales=1)
    for path in (tmp_path / "a/8_8_8").iterdir():
        path.unlink()
    with pytest.raises(FormatError, match="if it was lost"):
        convert(tmp_path / "a", tmp_path / "b", chunk_size=SIDE)


@pytest.mark.parametrize("is_cut", [False, True])
def test_one_shard_of_many_that_is_lost_or_cut_off_is_not_taken_for_nothing(
    tmp_path, voxels, is_cut
):
    convert(voxels, tmp_path / "a", resolution=(8, 8, 8), chunk_size=SIDE, max_scales=1)
    scale = ngcore.open(tmp_path / "a").scales[0].info
    assert scale.sharding is not None
    names = sorted((tmp_path / "a/8_8_8").iterdir())
    full = [path for path in names if path.stat().st_size > scale.sharding.shard_index_size]
    assert len(names) > len(full) > 0
    if is_cut:
        os.truncate(full[-1], scale.sharding.shard_index_size)
    else:
        full[-1].unlink()
    with pytest.raises(FormatError):
        convert(tmp_path / "a", tmp_path / "b", chunk_size=SIDE)
    with pytest.raises(FormatError):
        ngcore.open(tmp_path / "a").scales[0][...]


@pytest.mark.parametrize("key", ["./8_8_8", ".hidden/8_8_8", "8_8_8/"][: amount(1, 3)])
def test_keys_that_a_zip_lists_under_other_names_are_no_sign_of_nothing(tmp_path, voxels, key):
    source = sparse_volume(tmp_path / "source", voxels, sharding=False)
    info = json.loads((source / "info").read_text())
    names = [path.name for path in (source / info["scales"][0]["key"]).iterdir()]
    with zipfile.ZipFile(tmp_path / "v.zip", "w") as file:
        for name in names:
            chunk = source / info["scales"][0]["key"] / name
            file.write(chunk, f"{key.strip('/').removeprefix('./')}/{name}")
        info["scales"][0]["key"] = key
        file.writestr("info", json.dumps(info))
    made = convert(tmp_path / "v.zip", tmp_path / "out", chunk_size=SIDE)
    assert np.array_equal(made.scales[0][..., 0], voxels)


def test_chunks_of_ngcore_that_are_gone_are_not_taken_for_nothing(tmp_path, voxels):
    folder = tmp_path / "a"
    convert(voxels, folder, resolution=(8, 8, 8), chunk_size=SIDE, max_scales=1, sharding=False)
    shutil.rmtree(folder / "8_8_8")
    (folder / "8_8_8").mkdir()
    with pytest.raises(FormatError, match="if it was lost"):
        convert(folder, tmp_path / "b", chunk_size=SIDE)
    assert not (tmp_path / "b").exists()


def test_a_plane_of_a_large_volume_is_read_from_the_chunks_that_are_there(tmp_path):
    source = claiming(tmp_path / "source", 1 << 17)
    plane = ngcore.open(source).scales[0][::128, ::128, -1, 0]  # 1,048,576 chunks
    assert plane.shape == (1024, 1024)
    assert not plane.any()
    assert ngcore.open(source).scales[0][127::128, 127::128, -1, 0].sum() == 5
    assert run(["preview", str(source), str(tmp_path / "a.png"), "--size", "64"]) == 0


def test_labels_look_at_what_is_there(tmp_path, capfd):
    small = np.zeros((64, 64, 64), np.uint32)
    small[10:50, 30:34, 30:34] = 3
    folder = tmp_path / "v"
    options = {"type": "segmentation", "resolution": (8, 8, 8), "sharding": False}
    convert(small, folder, **options)
    (folder / "provenance").unlink()
    info = json.loads((folder / "info").read_text())
    info["scales"][0]["size"] = [1 << 17] * 3
    (folder / "info").write_text(json.dumps(info))
    (tmp_path / "names.csv").write_text("id,name\n3,three\n4,four\n")
    assert run(["labels", str(folder), str(tmp_path / "names.csv")]) == 0
    assert "1 name has no voxel" in capfd.readouterr().err


@pytest.mark.parametrize("most", [1 << 22, 100])
def test_present_cells_know_what_a_set_knows(monkeypatch, most):
    monkeypatch.setattr("ngcore.storage.present.MOST_CELLS", most)
    rng = np.random.default_rng(1)
    shape = (40, 1000, 77)
    cells = rng.integers(0, shape, (500, 3))
    there = set(map(tuple, cells.tolist()))
    present = PresentCells(shape, [cells[:200], cells[200:]])
    assert there <= set(present)
    is_exact = most > 500
    assert not is_exact or there == set(present)
    for _ in range(300):
        first = rng.integers(0, shape)
        stop = np.minimum(shape, first + rng.integers(1, (9, 200, 9)))
        inside = ((cells >= first) & (cells < stop)).all(axis=1).any()
        met = present.meets(tuple(first.tolist()), tuple(stop.tolist()))
        assert met == inside if is_exact else met >= inside
    absent = present.first_absent()
    assert absent is None if not is_exact else absent not in there


def test_a_grid_of_more_cells_than_a_number_holds_is_known_in_blocks():
    present = PresentCells((1 << 50,) * 3, [np.array([[1 << 49, 3, 5]])])
    assert present.meets((1 << 49, 0, 0), (1 << 50, 9, 9))
    assert not present.meets((0, 0, 0), (1 << 40, 1 << 40, 1 << 40))
    with pytest.raises(ngcore.InputError, match="claims more than there is"):
        next(iter(present))
