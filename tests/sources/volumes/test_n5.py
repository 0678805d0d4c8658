"""N5, written by tensorstore."""

import json

import numpy as np
import pytest
import tensorstore
from source_contract import SourceContract, bad_input_exits_2
from volume_files import read_all, voxels

from ngcore.errors import FormatError, InputError
from ngcore.sources import open_source


def write_n5(path, values, compression=None, **attributes):
    spec = {
        "driver": "n5",
        "kvstore": {"driver": "file", "path": str(path)},
        "metadata": {
            "dimensions": values.shape,
            "blockSize": [4, 3, 2, 1][: values.ndim],
            "dataType": values.dtype.name,
            "compression": compression or {"type": "gzip"},
        },
    }
    tensorstore.open(spec, create=True).result().write(values).result()
    add(path, **attributes)


def add(path, **attributes):
    file = path / "attributes.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    path.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**known, **attributes}))


class TestN5(SourceContract):
    format_name = "N5"
    file_name = "a.n5"
    keeps_sizes = True
    keeps_origin = True

    def write(self, path, values, affine):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        offset = affine[:3, 3]
        write_n5(path, values, resolution=[*sizes], units=["mm"] * 3, offset=[*offset])


def test_attributes_of_bigstitcher_and_levels(tmp_path):
    values = voxels((8, 6, 4), "u1")
    setup = tmp_path / "a.n5/setup0/timepoint0"
    write_n5(setup / "s0", values)
    write_n5(setup / "s1", values[::2, ::2], downsamplingFactors=[2, 2, 1])
    add(setup, pixelResolution={"dimensions": [0.5, 0.5, 2], "unit": "um"}, multiScale=True)
    add(tmp_path / "a.n5", n5="2.5.0")
    with open_source(tmp_path / "a.n5") as source:
        assert source.header.resolution_nm == pytest.approx((500, 500, 2000))
        np.testing.assert_array_equal(read_all(source)[..., 0], values)
    for path, options in [("a.n5", {"level": 1}), ("a.n5:/setup0/timepoint0/s1", {})]:
        with open_source(f"{tmp_path}/{path}", **options) as source:
            assert source.header.resolution_nm == pytest.approx((1000, 1000, 2000))
            np.testing.assert_array_equal(read_all(source)[..., 0], values[::2, ::2])
    with pytest.raises(InputError, match="no level 's2'; it has s0, s1"):
        open_source(tmp_path / "a.n5", level=2)


def test_attributes_of_paintera(tmp_path):
    group = tmp_path / "a.n5/volumes/labels"
    write_n5(group / "data/s0", voxels((8, 6, 4), "u8"))
    add(group, painteraData={"type": "label"})
    add(group / "data", resolution=[4, 4, 40], offset=[0, 8, 400], multiScale=True)
    add(tmp_path / "a.n5", n5="2.5.0")
    with open_source(tmp_path / "a.n5") as source:
        assert source.header.resolution_nm == pytest.approx((4, 4, 40))
        np.testing.assert_allclose(source.header.affine_voxel_to_mm[:3, 3], [0, 8e-6, 4e-4])
        assert "nanometres are assumed" in source.header.notes[0]


def test_axes_that_are_named_count(tmp_path):
    values = voxels((4, 5, 6), "u1")
    write_n5(
        tmp_path / "a.n5", values, axes=["z", "y", "x"], resolution=[40, 8, 4], units=["nm"] * 3
    )
    with open_source(tmp_path / "a.n5") as source:
        assert source.header.resolution_nm == pytest.approx((4, 8, 40))
        np.testing.assert_array_equal(read_all(source)[..., 0], values.transpose(2, 1, 0))
    source = open_source(tmp_path / "a.n5", axes="yxz")
    np.testing.assert_array_equal(read_all(source)[..., 0], values.transpose(1, 0, 2))


def test_several_data_sets_are_named(tmp_path):
    for name in ("raw", "gt"):
        write_n5(tmp_path / "a.n5" / name, voxels((4, 5, 6), "u1"))
    add(tmp_path / "a.n5", n5="2.5.0")
    with pytest.raises(InputError, match="several data sets: 'gt', 'raw'; pass one"):
        open_source(tmp_path / "a.n5")


def test_bad_input_is_one_line(tmp_path):
    path = tmp_path / "a.n5"
    write_n5(path, voxels((4, 5, 6), "u1"))
    sound = (path / "attributes.json").read_text()
    block = next(file for file in path.rglob("[0-9]*") if file.is_file())
    content = block.read_bytes()
    block.write_bytes(content[:-4])
    asked = ("--resolution", "1,1,1")
    assert "can't be decoded" in bad_input_exits_2(path, tmp_path / "out", *asked)
    block.write_bytes(content)
    for changes in (
        {"compression": {"type": "mystery"}},
        {"dataType": "complex"},
        {"dimensions": [1 << 20] * 3},
        {"dimensions": [4, 5]},
        {"resolution": [0, 1, 1], "units": ["nm"] * 3},
    ):
        (path / "attributes.json").write_text(json.dumps({**json.loads(sound), **changes}))
        with pytest.raises((FormatError, InputError)):
            open_source(path)
    (path / "attributes.json").write_text("{")
    with pytest.raises((FormatError, InputError)):
        open_source(path)
