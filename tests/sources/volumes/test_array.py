import itertools

import numpy as np
import pytest
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st
from volume_files import read_all, voxels

from ngcore.errors import InputError
from ngcore.sources import open_source

SHAPE = (13, 11, 7, 2)


class Sliced:
    """An array that only gives shape, dtype and slices, as files of arrays do."""

    def __init__(self, values, chunks=None):
        self._values = values
        self.shape = values.shape
        self.dtype = values.dtype
        self.asked = []
        if chunks:
            self.chunks = chunks

    def __getitem__(self, index):
        assert isinstance(index, tuple)
        assert all(isinstance(part, slice) for part in index)
        self.asked.append(index)
        return self._values[index]


@pytest.mark.parametrize("axes", list(itertools.permutations(range(4)))[::3])
def test_an_array_is_walked_along_its_slowest_axis(axes):
    values = np.ascontiguousarray(voxels(SHAPE).transpose(axes)).transpose(np.argsort(axes))
    source = open_source(values, resolution=(1, 2, 3))
    assert source.stream_axis == next(axis for axis in axes if axis < 3)
    assert source.is_random_access
    np.testing.assert_array_equal(read_all(source), values)


@pytest.mark.parametrize("order", ["F", "C"])
def test_a_window_of_an_array_is_read(order):
    values = np.asarray(voxels(SHAPE), order=order)
    source = open_source(values)
    if source.stream_axis == 2:
        out = np.empty((4, 5, 2, 2), "i2")
        source.read(3, 5, out, window=(slice(1, 5), slice(2, 7)))
        np.testing.assert_array_equal(out, values[1:5, 2:7, 3:5])
    else:
        out = np.empty((2, 4, 5, 2), "i2")
        source.read(3, 5, out, window=(slice(1, 5), slice(2, 7)))
        np.testing.assert_array_equal(out, values[3:5, 1:5, 2:7])


@pytest.mark.parametrize("wrap", [np.asarray, Sliced])
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 7), (5, 6, 7, 2), (5, 6, 7, 2, 1, 1), (1, 1, 1)])
def test_two_to_four_axes_are_taken_and_ones_beyond_dropped(wrap, shape):
    values = voxels(shape)
    source = open_source(wrap(values))
    expected = (*shape, 1, 1)[: max(4, len(shape))][:4]
    assert source.shape == expected
    np.testing.assert_array_equal(read_all(source), values.reshape(expected))


@pytest.mark.parametrize("dtype", [">i2", "<u4", ">f8", "?", "f2"])
@pytest.mark.parametrize("wrap", [np.asarray, Sliced])
def test_any_number_is_taken_in_native_order(dtype, wrap):
    values = voxels((5, 6, 7), "u1").astype(dtype)
    source = open_source(wrap(values))
    assert source.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(read_all(source)[..., 0], values.astype(source.dtype))


def test_structured_colours_become_channels():
    flat = voxels((5, 6, 7, 3), "u1")
    values = flat.view([(color, "u1") for color in "RGB"])[..., 0]
    for array in (values, np.asfortranarray(values), values[::2, :, ::-1]):
        source = open_source(array)
        expected = np.stack([array[color] for color in "RGB"], axis=-1)
        np.testing.assert_array_equal(read_all(source), expected)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.zeros((3, 3, 3), object), "objects"),
        (np.zeros((3, 3, 3), "c8"), "complex64"),
        (np.zeros((3, 3, 3), "longdouble"), "longdouble|float128"),
        (np.zeros((3, 3, 3), "U4"), "of type <U4"),
        (np.zeros((3, 3, 3), "M8[s]"), "datetime"),
        (np.zeros((3, 0, 3)), "at least one voxel along every axis"),
        (np.zeros(3), "2 to 4 axes"),
        (np.ma.masked_less(np.zeros((3, 3, 3)), 1), "masked"),
        (np.zeros((3, 3, 3, 1, 2)), "more axes than x, y, z and channel"),
        ([1, 2, 3], "shape, dtype and slicing, got list"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_volume_is_refused(values, complaint):
    with pytest.raises(InputError, match=complaint):
        open_source(values)


def test_nan_in_a_header_needs_no_affine_and_resolution_comes_from_the_caller():
    with open_source(voxels(SHAPE), resolution=(1, 2, 3), voxel_offset=(-1, 0, 5)) as source:
        assert source.affine_voxel_to_mm is None
        assert source.resolution_nm == (1, 2, 3)
        assert source.voxel_offset == (-1, 0, 5)
    with open_source(voxels(SHAPE)) as source:
        assert source.resolution_nm is None


def test_chunked_arrays_are_asked_for_whole_rows_of_chunks():
    values = voxels((20, 6, 7))
    array = Sliced(values, chunks=(8, 3, 3))
    np.testing.assert_array_equal(read_all(open_source(array), step=20)[..., 0], values)
    assert [index[0] for index in array.asked] == [slice(0, 8), slice(8, 16), slice(16, 20)]


def test_dask_like_chunks_are_understood():
    values = voxels((20, 6, 7))
    array = Sliced(values, chunks=((8, 8, 4), (6,), (7,)))
    source = open_source(array)
    assert source.column_bytes == 8 * 2
    np.testing.assert_array_equal(read_all(source, step=20)[..., 0], values)


def test_a_memory_map_is_taken_as_it_is(tmp_path):
    values = voxels(SHAPE)
    np.save(tmp_path / "a.npy", values)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    np.testing.assert_array_equal(read_all(open_source(mapped)), values)


@pytest.mark.parametrize("option", [{"form": "sform"}, {"input_orientation": "LPS"}])
def test_options_of_other_sources_are_refused(option):
    with pytest.raises(InputError, match=r"the ndarray: --"):
        open_source(voxels(SHAPE), **option)


@settings(max_examples=thorough.amount(30, 1000), deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3, st.integers(1, 3)),
    axes=st.permutations(range(4)),
    steps=st.tuples(*[st.sampled_from([1, -1, 2])] * 4),
    step=st.integers(1, 9),
)
def test_any_strides_give_the_same_voxels(shape, axes, steps, step):
    stored = np.arange(np.prod([2 * n for n in shape]), dtype="i4")
    array = stored.reshape([2 * shape[axis] for axis in axes]).transpose(np.argsort(axes))
    array = array[tuple(slice(None, None, stride) for stride in steps)]
    np.testing.assert_array_equal(read_all(open_source(array), step), array)
