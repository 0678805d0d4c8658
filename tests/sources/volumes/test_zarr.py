"""OME-Zarr and plain Zarr, written by zarr itself."""

import json
import zipfile
from typing import ClassVar

import numpy as np
import pytest
import zarr
from serving import served
from source_contract import SourceContract, bad_input_exits_2
from volume_files import read_all, voxels

from ngcore.errors import FormatError, InputError
from ngcore.sources import open_source
from ngcore.sources.base import Segment

AXES = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]


def multiscale(affine, axes=AXES, levels=("0",)):
    scale, first = np.diag(affine)[:3][::-1], affine[:3, 3][::-1]
    lead = [1.0] * (len(axes) - 3)
    datasets = [
        {
            "path": name,
            "coordinateTransformations": [
                {"type": "scale", "scale": [*lead, *(scale * 2**number)]},
                {"type": "translation", "translation": [*(0 * np.array(lead)), *first]},
            ],
        }
        for number, name in enumerate(levels)
    ]
    return [{"version": "0.4", "axes": axes, "datasets": datasets}]


class OmeZarr(SourceContract):
    format_name = "Zarr"
    file_name = "a.ome.zarr"
    keeps_sizes = True
    keeps_origin = True
    version = 2
    options_of_array: ClassVar = {}

    def write(self, path, values, affine):
        group = zarr.create_group(path, zarr_format=self.version)
        stored = values.transpose(2, 1, 0)
        group.create_array("0", data=stored, chunks=(2, 3, 4), **self.options_of_array)
        image = multiscale(affine if np.all(np.diag(affine) > 0) else np.eye(4))
        group.attrs.update({"ome": {"multiscales": image}} if self.version == 3 else {})
        group.attrs.update({"multiscales": image} if self.version == 2 else {})


class TestOmeZarr04(OmeZarr):
    pass


class TestOmeZarr05(OmeZarr):
    version = 3


class TestSharded(OmeZarr):
    version = 3
    options_of_array: ClassVar = {"shards": (4, 6, 8)}


def save(path, values, *, names=None, **options):
    zarr.create_array(path, data=values, dimension_names=names, **options)
    return path


def test_the_finest_level_is_taken_or_the_one_that_is_asked_for(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    values = voxels((8, 6, 4), "u1")
    group["s0"] = values
    group["s1"] = values[::2, ::2, ::2]
    group.attrs["multiscales"] = multiscale(np.diag([1.0, 2, 3, 1]), levels=("s0", "s1"))
    for options, path, expected, size in [
        ({}, "a.zarr", values, 1e6),
        ({"level": 1}, "a.zarr", values[::2, ::2, ::2], 2e6),
        ({}, "a.zarr:/s1", values[::2, ::2, ::2], 2e6),
    ]:
        source = open_source(f"{tmp_path}/{path}", **options)
        assert source.header.resolution_nm[0] == size
        np.testing.assert_array_equal(read_all(source)[..., 0], expected.transpose(2, 1, 0))
    with pytest.raises(InputError, match="--level 2: it has levels 0 to 1"):
        open_source(tmp_path / "a.zarr", level=2)


def test_axes_have_any_order_and_time_its_step(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    values = voxels((2, 1, 5, 6, 7), "u1")
    group["0"] = values
    axes = [
        {"name": "t", "type": "time", "unit": "millisecond"},
        {"name": "c", "type": "channel"},
        {"name": "x", "type": "space", "unit": "nanometer"},
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "angstrom"},
    ]
    image = {
        "axes": axes,
        "datasets": [{"path": "0"}],
        "coordinateTransformations": [{"type": "scale", "scale": [500, 1, 8, 0.04, 90]}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    source = open_source(tmp_path / "a.zarr")
    assert source.header.resolution_nm == pytest.approx((8, 9, 40))
    assert source.header.facts == {"time_step": 0.5}
    np.testing.assert_array_equal(read_all(source), values[:, 0].transpose(1, 3, 2, 0))


def test_labels_are_segmentations_with_their_names_and_colours(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group["0"] = voxels((8, 6, 4), "u1")
    group.attrs["multiscales"] = multiscale(np.eye(4))
    cells = group.create_group("labels").create_group("cells")
    cells["0"] = np.ones((8, 6, 4), np.uint16)
    cells.attrs["multiscales"] = multiscale(np.eye(4))
    cells.attrs["image-label"] = {
        "colors": [{"label-value": 1, "rgba": [255, 0, 16, 255]}, {"label-value": 2}],
        "properties": [{"label-value": 1, "name": "soma"}, {"label-value": 7, "class": "axon"}],
    }
    source = open_source(f"{tmp_path}/a.zarr:/labels/cells")
    assert source.header.suggested_type.type == "segmentation"
    assert source.header.segments == (Segment(1, "soma", "#ff0010"), Segment(7, "axon"))
    assert open_source(tmp_path / "a.zarr").header.suggested_type.type == "image"


@pytest.mark.parametrize("version", [2, 3])
def test_plain_arrays_name_their_axes_or_are_told(tmp_path, version):
    values = voxels((5, 6, 7))
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, data=values, zarr_format=version)
    source = open_source(path, resolution=(1, 2, 3))
    np.testing.assert_array_equal(read_all(source)[..., 0], values.transpose(2, 1, 0))
    source = open_source(path, axes="xyz")
    np.testing.assert_array_equal(read_all(source)[..., 0], values)
    array.attrs["_ARRAY_DIMENSIONS"] = ["y", "x", "z"]
    source = open_source(path)
    np.testing.assert_array_equal(read_all(source)[..., 0], values.transpose(1, 0, 2))
    if version == 3:
        save(tmp_path / "b.zarr", values, names=("x", "z", "y"))
        source = open_source(tmp_path / "b.zarr")
        np.testing.assert_array_equal(read_all(source)[..., 0], values.transpose(0, 2, 1))
    save(tmp_path / "c.zarr", voxels((3, 5, 6, 7)))
    with pytest.raises(InputError, match=r"doesn't say which dimension is which; pass --axes"):
        open_source(tmp_path / "c.zarr")


def test_several_arrays_are_named_and_one_is_taken(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr")
    inner = group.create_group("volumes")
    inner["raw"] = voxels((5, 6, 7), "u1")
    group["table"] = np.zeros(5)
    assert open_source(tmp_path / "a.zarr").shape == (7, 6, 5, 1)
    inner["gt"] = voxels((5, 6, 8), "u1")
    with pytest.raises(InputError, match=r"several arrays: 'volumes/gt', 'volumes/raw'; pass one"):
        open_source(tmp_path / "a.zarr")
    assert open_source(f"{tmp_path}/a.zarr:/volumes/gt").shape == (8, 6, 5, 1)


def damaged(path, change):
    save(path, voxels((5, 6, 7), "u1"), zarr_format=3)
    document = json.loads((path / "zarr.json").read_text())
    change(document)
    (path / "zarr.json").write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["codecs"].append({"name": "mystery"}), "mystery"),
        (
            lambda d: d.update(data_type="complex64", fill_value=[0, 0]),
            "complex64|can't be opened",
        ),
        (lambda d: d.update(shape=[1 << 20] * 3), r"2\^53|voxels"),
        (lambda d: d.update(shape=[5, 6]), "can't be opened as Zarr"),
        (lambda d: d.pop("shape"), "can't be opened as Zarr"),
    ],
)
def test_bad_metadata_are_one_line(tmp_path, change, message):
    path = damaged(tmp_path / "a.zarr", change)
    with pytest.raises((FormatError, InputError), match=message):
        open_source(path)


def test_bad_input_leaves_nothing(tmp_path):
    path = damaged(tmp_path / "a.zarr", lambda _: None)
    asked = ("--resolution", "1,1,1")
    bad_input_exits_2(f"{path}:/nothing", tmp_path / "out", *asked)
    chunk = next(file for file in (path / "c").rglob("*") if file.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-5])
    assert "can't be decoded" in bad_input_exits_2(path, tmp_path / "out", *asked, "--axes", "zyx")
    (path / "zarr.json").write_text("{")
    bad_input_exits_2(path, tmp_path / "out", *asked)


def test_a_level_that_is_not_there_and_units_that_are_none_are_refused(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    group.attrs["multiscales"] = multiscale(np.eye(4))
    with pytest.raises(InputError, match="level '0', which its metadata list, does not exist"):
        open_source(tmp_path / "a.zarr")
    group["0"] = voxels((5, 6, 7), "u1")
    axes = [{"name": name, "type": "space", "unit": "parsec"} for name in "zyx"]
    group.attrs["multiscales"] = multiscale(np.eye(4), axes)
    with pytest.raises(InputError, match="unit 'parsec' of axis z is not a length"):
        open_source(tmp_path / "a.zarr")
    group.attrs["multiscales"] = multiscale(np.eye(4), ["z", "y", "x"])
    with open_source(tmp_path / "a.zarr") as source:
        assert source.header.resolution_nm == (1e3, 1e3, 1e3)
        assert "micrometres are assumed" in source.header.notes[0]


def test_zarr_is_read_from_a_web_server_and_from_a_zip(tmp_path):
    values = voxels((20, 18, 17), "u1")
    for version, contract in ((2, TestOmeZarr04()), (3, TestSharded())):
        path = tmp_path / f"{version}.ome.zarr"
        contract.write(path, values, np.eye(4))
        # What `ngcore serve` serves has no name that begins with a dot, as Zarr 2 has.
        with served(tmp_path) as origin:
            for url in (f"{origin}/{path.name}", f"{origin}/{path.name}:/0")[: 2 * (version == 3)]:
                with open_source(url) as source:
                    assert source.header.resolution_nm == (1e6, 1e6, 1e6)
                    np.testing.assert_array_equal(read_all(source)[..., 0], values)
            with pytest.raises(FormatError, match="can't be opened as Zarr"):
                open_source(f"{origin}/nothing.zarr")
        packed = tmp_path / f"{version}.zarr.zip"
        with zipfile.ZipFile(packed, "w") as file:
            for one in path.rglob("*"):
                if one.is_file():
                    file.write(one, one.relative_to(path))
        with open_source(packed) as source:
            np.testing.assert_array_equal(read_all(source)[..., 0], values)


def test_an_order_of_axes_that_is_assumed_is_warned_of_with_advice(tmp_path):
    save(tmp_path / "em.zarr", np.ones((5, 12, 17), np.uint8))
    with open_source(tmp_path / "em.zarr", resolution=(8, 8, 40)) as source:
        (note,) = source.header.notes
        assert "assumed to be z, y, x, slowest first; pass --axes zyx" in note
