from typing import ClassVar

import numpy as np
import pytest
from source_contract import SourceContract
from volume_files import read_all, voxels

from ngcore.errors import FormatError, InputError
from ngcore.sources import open_source

SHAPE = (13, 11, 7, 2)


class TestNpy(SourceContract):
    format_name = "NumPy's .npy"
    file_name = "a.npy"
    options: ClassVar = {"resolution": (1e6, 1e6, 1e6)}

    def write(self, path, values, affine):
        del affine
        np.save(path, values)


@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("shape", [SHAPE[:2], SHAPE[:3], SHAPE])
@pytest.mark.parametrize("dtype", ["i2", ">f4", "u8", "f2", "?"])
def test_every_order_shape_and_type_is_read(tmp_path, order, shape, dtype):
    values = np.asarray(voxels(shape, "u1").astype(dtype), order=order)
    np.save(tmp_path / "a.npy", values)
    source = open_source(tmp_path / "a.npy", resolution=(1, 2, 3))
    assert source.cost.is_concurrent
    assert source.header.affine_voxel_to_mm is None
    if len(shape) > 2:
        assert (source.stream_axis, source.memory_order) == (
            (2, "F") if order == "F" else (0, "C")
        )
    result = read_all(source)
    np.testing.assert_array_equal(result.reshape(shape), values.astype(result.dtype))


@pytest.mark.parametrize("order", ["F", "C"])
def test_structured_colours_become_channels(tmp_path, order):
    flat = voxels((5, 6, 7, 3), "u1")
    values = np.asarray(flat.view([(color, "u1") for color in "RGB"])[..., 0], order=order)
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "a.npy")), flat)


def test_the_name_tells_labels(tmp_path):
    np.save(tmp_path / "sub-1_dseg.npy", voxels(SHAPE[:3]))
    with open_source(tmp_path / "sub-1_dseg.npy") as source:
        assert source.header.suggested_type.type == "segmentation"


def test_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(InputError, match="objects"):
        open_source(tmp_path / "a.npy")


@pytest.mark.parametrize("values", [np.zeros((2, 2), "c8"), np.zeros((2, 0))])
def test_what_cannot_be_converted_is_refused(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=r"a\.npy: "):
        open_source(tmp_path / "a.npy")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format_is_read(tmp_path, version):
    values = voxels(SHAPE)
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, values, version)
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "a.npy")), values)


def test_fields_with_names_of_any_language_are_refused_as_what_they_are(tmp_path):
    values = np.zeros((2, 2), [("\N{GREEK SMALL LETTER ALPHA}", "u1")])
    with pytest.warns(UserWarning, match="format 3.0"):
        np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match="which can't be converted"):
        open_source(tmp_path / "a.npy")


def test_a_later_version_of_the_format_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", voxels(SHAPE))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:6] + b"\4" + data[7:])
    with pytest.raises((InputError, FormatError), match=r"a\.npy: .*version"):
        open_source(tmp_path / "a.npy")


@pytest.mark.parametrize("length", [0, 3, 9, 60, 128 + 10])
def test_a_truncated_file_is_refused_before_reading(tmp_path, length):
    path = tmp_path / "a.npy"
    np.save(path, voxels(SHAPE))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FormatError, match=r"a\.npy: (not a valid|truncated)"):
        open_source(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<i2', 'fortran_order': False, 'shape': (1152921504606846976, 4)}",
        b"{'descr': '<i2', 'fortran_order': False, 'shape': (-4, 4)}",
        b"{'descr': '<i2', 'fortran_order': False}",
        b"{'descr': '<zz', 'fortran_order': False, 'shape': (4, 4)}",
        b"{'descr': '<i2', 'fortran_order': 3, 'shape': (4, 4)}",
        b"[" * 500,
        b"__import__('os')",
        b"\xff\xfe",
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header):
    path = tmp_path / "a.npy"
    header = header.ljust(1014) + b"\n"
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 64
    )
    with pytest.raises((FormatError, InputError), match=r"a\.npy: "):
        open_source(path)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axes", ["zyx", "xzy", "tzyx", "zyxc", "ctzyx"])
def test_axes_say_what_each_dimension_is(tmp_path, axes, order):
    lengths = [
        1 if letter == "t" and "c" in axes else 3 + "xyzct".index(letter) for letter in axes
    ]
    values = voxels(tuple(lengths))
    np.save(tmp_path / "a.npy", np.asarray(values, order=order))
    source = open_source(tmp_path / "a.npy", axes=axes)
    found = read_all(source)
    if axes == "ctzyx":
        values, axes = values[:, 0], "czyx"
    places = [axes.index(letter) for letter in "xyz"]
    last = [i for i in range(values.ndim) if i not in places]
    np.testing.assert_array_equal(found, values.transpose(*places, *last).reshape(source.shape))
