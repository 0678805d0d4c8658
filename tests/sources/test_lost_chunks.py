"""Nobody is given the fill value, unwarned, for what an array's files should hold and don't."""

import json
import shutil

import numpy as np
import pytest

import ngcore
from ngcore.errors import FormatError, InputNotFoundError, StorageError

h5py = pytest.importorskip("h5py")
tensorstore = pytest.importorskip("tensorstore")
zarr = pytest.importorskip("zarr")

VALUES = np.arange(1, 211, dtype="u2").reshape(7, 6, 5)
OPTIONS = {"resolution": (8, 8, 8), "axes": "zyx", "fsync": False}


def zarr_of(path, version, separator):
    name = {2: "v2", 3: "default"}[version]
    zarr.create_array(
        path,
        data=VALUES,
        chunks=(3, 3, 3),
        zarr_format=version,
        chunk_key_encoding={"name": name, "separator": separator},
    )


def change_zarr_2(path, **members):
    file = path / ".zarray"
    kept = {**json.loads(file.read_text()), **members}
    file.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))


@pytest.mark.parametrize(
    ("stored", "said", "example"), [("/", None, "0.0.0"), ("/", ".", "0.0.0"), (".", "/", "0/0/0")]
)
def test_chunks_of_zarr_2_by_other_names_than_the_metadata_say_are_refused(
    tmp_path, stored, said, example
):
    zarr_of(tmp_path / "a.zarr", 2, stored)
    change_zarr_2(tmp_path / "a.zarr", dimension_separator=said)
    with pytest.raises(FormatError, match=f"names such as '{example}'.*correct the separator"):
        ngcore.convert(tmp_path / "a.zarr", tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()


def test_chunks_of_zarr_3_by_other_names_than_the_metadata_say_are_refused(tmp_path):
    zarr_of(tmp_path / "a.zarr", 3, "/")
    file = tmp_path / "a.zarr" / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["chunk_key_encoding"]["configuration"]["separator"] = "."
    file.write_text(json.dumps(metadata))
    with pytest.raises(FormatError, match=r"names such as 'c\.0\.0\.0'"):
        ngcore.convert(file.parent, tmp_path / "out", **OPTIONS)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("separator", [".", "/"])
def test_names_as_the_metadata_say_are_read_without_a_word(tmp_path, version, separator):
    zarr_of(tmp_path / "a.zarr", version, separator)
    volume = ngcore.convert(tmp_path / "a.zarr", tmp_path / "out", **OPTIONS)
    np.testing.assert_array_equal(volume.scales[0][..., 0], VALUES.transpose(2, 1, 0))


def test_a_chunk_of_zarr_that_has_another_name_is_warned_of(tmp_path):
    zarr_of(tmp_path / "a.zarr", 2, ".")
    (tmp_path / "a.zarr" / "1.0.0").rename(tmp_path / "a.zarr" / "1.0.0.part")
    with pytest.warns(ngcore.NgcoreWarning, match=r"the file '1\.0\.0\.part' is not named like a"):
        ngcore.convert(tmp_path / "a.zarr", tmp_path / "out", **OPTIONS)


@pytest.mark.parametrize("kind", ["Zarr", "N5"])
def test_an_array_without_any_chunk_says_so(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "Zarr":
        zarr.create_array(path, shape=(9, 9, 9), dtype="u2", chunks=(3, 3, 3), fill_value=7)
    else:
        n5_of(path, VALUES)
        shutil.rmtree(path / "0")
        shutil.rmtree(path / "1")
        shutil.rmtree(path / "2")
    fill = 7 if kind == "Zarr" else 0
    with pytest.warns(ngcore.NgcoreWarning, match=f"it has no chunks: .* fill value, {fill}"):
        ngcore.convert(path, tmp_path / "out", **OPTIONS)


def n5_of(path, values):
    metadata = {"dimensions": values.shape, "blockSize": [3, 3, 3], "dataType": values.dtype.name}
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/"}}
    spec["metadata"] = {**metadata, "compression": {"type": "gzip"}}
    tensorstore.open(spec, create=True).result().write(values).result()


def nested_of(path, kind):
    """Write an array whose chunks lie in folders; return the folder of these."""
    if kind == "N5":
        n5_of(path, VALUES)
        return path
    zarr_of(path, int(kind[-1]), "/")
    return path if kind == "Zarr 2" else path / "c"


@pytest.mark.parametrize("kind", ["Zarr 2", "Zarr 3", "N5"])
def test_a_folder_of_chunks_that_is_a_link_to_nothing_is_refused(tmp_path, kind):
    folder = nested_of(tmp_path / "a", kind)
    shutil.rmtree(folder / "1")
    (folder / "1").symlink_to("/nonexistent/1")
    with pytest.raises(InputNotFoundError, match=r"symbolic link to '/nonexistent/1'"):
        ngcore.convert(tmp_path / "a", tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["Zarr 2", "Zarr 3", "N5"])
def test_a_folder_in_the_place_of_a_chunk_is_refused(tmp_path, kind):
    folder = nested_of(tmp_path / "a", kind)
    (folder / "1/0/0").unlink()
    (folder / "1/0/0").mkdir()
    with pytest.raises(FormatError, match=r"1/0/0' is a folder, where a chunk should be"):
        ngcore.convert(tmp_path / "a", tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out" / "info").exists()


@pytest.mark.parametrize("kind", ["Zarr 2", "Zarr 3", "N5"])
def test_a_file_in_the_place_of_a_folder_of_chunks_is_refused(tmp_path, kind):
    folder = nested_of(tmp_path / "a", kind)
    shutil.rmtree(folder / "1")
    (folder / "1").touch()
    with pytest.raises(FormatError, match=r"1' is a file, where a folder of chunks should be"):
        ngcore.convert(tmp_path / "a", tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out" / "info").exists()


def test_what_was_left_of_an_upload_to_an_empty_array_is_warned_of(tmp_path):
    path = tmp_path / "a"
    zarr.create_array(path, shape=(9, 9, 9), dtype="u2", chunks=(3, 3, 3), zarr_format=2)
    (path / "0.0.0.3f2a.partial").touch()
    with pytest.warns(ngcore.NgcoreWarning, match=r"no file is named like a chunk.*partial'"):
        volume = ngcore.convert(path, tmp_path / "out", **OPTIONS)
    assert not volume.scales[0][...].any()


@pytest.mark.parametrize("kind", ["Zarr 2", "Zarr 3", "N5", "precomputed"])
def test_a_chunk_that_is_a_link_to_nothing_is_no_fill_value(tmp_path, kind):
    path = tmp_path / "a"
    if kind == "N5":
        n5_of(path, VALUES)
        chunk = path / "0/0/0"
    elif kind == "precomputed":
        options = {**OPTIONS, "chunk_size": 4, "sharding": False}
        np.save(tmp_path / "a.npy", VALUES)
        ngcore.convert(tmp_path / "a.npy", path, **options)
        (path / "provenance").unlink()
        chunk = path / "8_8_8/0-4_0-4_0-4"
    else:
        zarr_of(path, int(kind[-1]), "/")
        chunk = path / ("0/0/0" if kind == "Zarr 2" else "c/0/0/0")
    chunk.unlink()
    chunk.symlink_to("../.git/annex/objects/nothing")
    options = {"fsync": False} if kind == "precomputed" else OPTIONS
    with pytest.raises((InputNotFoundError, StorageError), match=r"git annex get|datalad get"):
        ngcore.convert(path, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "info").exists()


def test_a_virtual_data_set_whose_file_is_gone_is_refused(tmp_path):
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["d"] = VALUES
    layout = h5py.VirtualLayout(VALUES.shape, VALUES.dtype)
    layout[:] = h5py.VirtualSource("part.h5", "d", shape=VALUES.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    volume = ngcore.convert(tmp_path / "a.h5", tmp_path / "there", **OPTIONS)
    np.testing.assert_array_equal(volume.scales[0][..., 0], VALUES.transpose(2, 1, 0))
    with h5py.File(tmp_path / "part.h5", "a") as file:
        file.move("d", "e")
    with pytest.raises(InputNotFoundError, match=r"'d' in 'part\.h5', which does not exist"):
        ngcore.convert(tmp_path / "a.h5", tmp_path / "out", **OPTIONS)
    (tmp_path / "part.h5").unlink()
    with pytest.raises(InputNotFoundError, match=r"'part\.h5', which does not exist; keep both"):
        ngcore.convert(tmp_path / "a.h5", tmp_path / "out", **OPTIONS)


def test_an_external_file_that_is_too_short_is_refused(tmp_path):
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        external = [(str(tmp_path / "a.raw"), 0, VALUES.nbytes)]
        file.create_dataset("v", VALUES.shape, VALUES.dtype, external=external)
    volume = ngcore.convert(tmp_path / "a.h5", tmp_path / "there", **OPTIONS)
    np.testing.assert_array_equal(volume.scales[0][..., 0], VALUES.transpose(2, 1, 0))
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes()[:-10])
    with pytest.raises(FormatError, match=r"truncated: the external file .* 410 bytes, but 420"):
        ngcore.convert(tmp_path / "a.h5", tmp_path / "out", **OPTIONS)


@pytest.mark.parametrize("kind", ["Zarr", "HDF5"])
def test_attributes_that_scale_values_are_warned_of_and_not_followed(tmp_path, kind):
    path = tmp_path / "a"
    attributes = {"scale_factor": 0.1, "add_offset": 0.0}
    if kind == "Zarr":
        zarr.create_array(path, data=VALUES).attrs.update(attributes)
    else:
        path = tmp_path / "a.h5"
        with h5py.File(path, "w") as file:
            file.create_dataset("v", data=VALUES).attrs.update(attributes)
    with pytest.warns(ngcore.NgcoreWarning, match=r"scale_factor 0\.1, which are not applied"):
        volume = ngcore.convert(path, tmp_path / "out", **OPTIONS)
    np.testing.assert_array_equal(volume.scales[0][..., 0], VALUES.transpose(2, 1, 0))


def test_a_second_image_of_ome_zarr_is_warned_of(tmp_path):
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    scale = {"type": "scale", "scale": [8, 8, 8]}
    image = {"version": "0.4", "axes": axes}
    image["datasets"] = [{"path": "0", "coordinateTransformations": [scale]}]
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.create_array("0", data=VALUES)
    group.attrs.update({"multiscales": [image, image]})
    with pytest.warns(ngcore.NgcoreWarning, match=r"2 images \(multiscales\); the first is used"):
        ngcore.convert(tmp_path / "a.zarr", tmp_path / "out", fsync=False)
