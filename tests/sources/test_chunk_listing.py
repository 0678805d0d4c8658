"""Arrays of which few chunks are stored convert in the time of those."""

import json

import numpy as np
import pytest

import ngcore
from ngcore import FormatError, InputError
from ngcore.precomputed.chunks import Box
from ngcore.sources import open_source

zarr = pytest.importorskip("zarr")
h5py = pytest.importorskip("h5py")
pytest.importorskip("tensorstore")
pytestmark = pytest.mark.filterwarnings("ignore")

SIDE = 1 << 12
OPTIONS = {"resolution": (8, 8, 8), "fsync": False}


def zarr_of(path, side=SIDE, chunk=64, **options):
    array = zarr.create_array(path, shape=(side,) * 3, chunks=(chunk,) * 3, dtype="u2", **options)
    array[side - 1, 70, 3] = 5
    return path


def hdf5_of(path, side=SIDE, chunk=64, **options):
    with h5py.File(path, "w") as file:
        data = file.create_dataset("v", (side,) * 3, "u2", chunks=(chunk,) * 3, **options)
        data[side - 1, 70, 3] = 5
    return path


def n5_of(path, side=SIDE, chunk=64):
    import tensorstore

    attributes = {"dimensions": [side] * 3, "blockSize": [chunk] * 3, "dataType": "uint16"}
    attributes["compression"] = {"type": "raw"}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}}
    array = tensorstore.open({**spec, "metadata": attributes}, create=True).result()
    array[3, 70, side - 1].write(5).result()
    return path


MAKERS = {
    "zarr 2": lambda path, **o: zarr_of(path.with_suffix(".zarr"), zarr_format=2, **o),
    "zarr 3": lambda path, **o: zarr_of(path.with_suffix(".zarr"), **o),
    "zarr 3 in shards": lambda path, **o: zarr_of(
        path.with_suffix(".zarr"), shards=(o.get("side", SIDE) // 8,) * 3, **o
    ),
    "HDF5": lambda path, **o: hdf5_of(path.with_suffix(".h5"), **o),
    "N5": lambda path, **o: n5_of(path.with_suffix(".n5"), **o),
}


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if "shards" not in kind])
def test_an_array_that_spans_much_and_holds_little_takes_the_time_of_that(tmp_path, kind):
    path = MAKERS[kind](tmp_path / "v")
    made = ngcore.convert(path, tmp_path / "out", **OPTIONS)
    assert made.scales[0].shape == (SIDE, SIDE, SIDE, 1)  # 2^36 voxels: minutes, if all are read
    assert made.scales[0][3, 70, SIDE - 1, 0] == 5
    assert not made.scales[0][:64, 64:128, :64].any()


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_passed_over_gives_the_bytes_of_what_is_walked(tmp_path, kind):
    path = MAKERS[kind](tmp_path / "v", side=128, chunk=8)
    with open_source(path, resolution=(8, 8, 8)) as source:
        assert source.sparsity() is not None
        assert source.is_empty(Box((0, 0, 0), (8, 64, 64)))
        assert not source.is_empty(Box((0, 70, 120), (8, 71, 128)))
    whole = np.zeros((128, 128, 128), np.uint16)
    whole[3, 70, 127] = 5
    ngcore.convert(whole, tmp_path / "whole", chunk_size=8, **OPTIONS)
    ngcore.convert(path, tmp_path / "sparse", chunk_size=8, **OPTIONS)
    for file in (tmp_path / "whole").rglob("*"):
        if file.is_file() and file.name not in ("provenance", "transform.json"):
            relative = file.relative_to(tmp_path / "whole")
            assert (tmp_path / "sparse" / relative).read_bytes() == file.read_bytes(), relative


@pytest.mark.parametrize("kind", ["zarr", "hdf5"])
def test_a_fill_value_is_not_passed_over(tmp_path, kind):
    maker, option = (zarr_of, "fill_value") if kind == "zarr" else (hdf5_of, "fillvalue")
    path = maker(tmp_path / f"v.{kind}", side=128, chunk=8, **{option: 9})
    made = ngcore.convert(path, tmp_path / "out", chunk_size=8, **OPTIONS)
    assert made.scales[0][0, 0, 0, 0] == 9
    assert (made.scales[0][...] == 9).sum() == 128**3 - 1
    large = maker(tmp_path / f"w.{kind}", side=1 << 17, **{option: 9})
    with pytest.raises(InputError, match="shard files"):
        ngcore.convert(large, tmp_path / "never", **OPTIONS)


def test_an_array_of_hdf5_that_was_never_written_is_known_to_be_empty(tmp_path):
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("v", (SIDE,) * 3, "u1")
    made = ngcore.convert(tmp_path / "v.h5", tmp_path / "out", **OPTIONS)
    assert not made.scales[-1][...].any()


def test_names_that_zarr_would_not_look_for_are_no_chunks(tmp_path):
    path = zarr_of(tmp_path / "v.zarr", side=128, chunk=8)
    for name in ("c/00/1/2", "c/9999/0/0", "c/0/0/0.partial", "0.0.0"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"x")
    with open_source(path, resolution=(8, 8, 8)) as source:
        assert source.sparsity().present == 1
    assert json.loads((path / "zarr.json").read_text())["node_type"] == "array"


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("unlimited", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_hdf5_that_can_grow_loses_no_chunk(tmp_path, libver, unlimited):
    shape = (150, 150, 150)
    most = tuple(None if axis in unlimited else side for axis, side in enumerate(shape))
    with h5py.File(tmp_path / "v.h5", "w", libver=libver) as file:
        data = file.create_dataset("v", shape, "u1", chunks=(16,) * 3, maxshape=most)
        data[50:60, 40:44, 70:75] = 7
        expected = data[()].T
    made = ngcore.convert(tmp_path / "v.h5", tmp_path / "out", **OPTIONS)
    assert np.array_equal(made.scales[0][..., 0], expected)


def test_hdf5_without_a_fill_value_is_read(tmp_path):
    space = h5py.h5s.create_simple((150, 150, 150))
    kind = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    kind.set_chunk((16, 16, 16))
    kind.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        h5py.h5d.create(file.id, b"v", h5py.h5t.NATIVE_UINT8, space, kind)
        file["v"][...] = 3
    made = ngcore.convert(tmp_path / "v.h5", tmp_path / "out", **OPTIONS)
    assert (made.scales[0][...] == 3).all()


def test_an_index_that_is_found_broken_when_it_is_listed_is_one_line(tmp_path):
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("v", (SIDE,) * 3, "u2", chunks=(4, 4, 4))
        for number in range(100):
            data[number * 4, 0, 0] = number
    content = path.read_bytes()
    assert content.count(b"TREE\x01\x00") > 1  # leaves of the index of chunks
    path.write_bytes(content.replace(b"TREE\x01\x00", b"TORN\x01\x00"))
    with open_source(f"{path}:/v") as source:
        for listed in (source.sparsity, lambda: source.is_empty(Box((0, 0, 0), (4, 4, 4)))):
            with pytest.raises(
                FormatError, match=r"v\.h5:/v: its chunks can't be listed: .*B-tree"
            ):
                listed()
