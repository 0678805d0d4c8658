import itertools

import nibabel
import numpy as np
import pytest
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st
from planes import planes_box
from volume_files import read_all, save_nifti, voxels

import ngcore
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
    assert source.cost.is_concurrent
    np.testing.assert_array_equal(read_all(source), values)


@pytest.mark.parametrize("order", ["F", "C"])
def test_a_window_of_an_array_is_read(order):
    values = np.asarray(voxels(SHAPE), order=order)
    source = open_source(values)
    if source.stream_axis == 2:
        out = np.empty((4, 5, 2, 2), "i2")
        source.read(planes_box(source, 3, 5, (slice(1, 5), slice(2, 7))), out)
        np.testing.assert_array_equal(out, values[1:5, 2:7, 3:5])
    else:
        out = np.empty((2, 4, 5, 2), "i2")
        source.read(planes_box(source, 3, 5, (slice(1, 5), slice(2, 7))), out)
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
        assert source.header.affine_voxel_to_mm is None
        assert source.header.resolution_nm == (1, 2, 3)
        assert source.header.voxel_offset == (-1, 0, 5)
    with open_source(voxels(SHAPE)) as source:
        assert source.header.resolution_nm is None


def test_chunked_arrays_are_asked_for_whole_rows_of_chunks():
    values = voxels((20, 6, 7))
    array = Sliced(values, chunks=(8, 3, 3))
    np.testing.assert_array_equal(read_all(open_source(array), step=20)[..., 0], values)
    first, *rows = [index[0] for index in array.asked]
    assert first == slice(0, 1)  # to know the type
    assert rows == [slice(0, 8), slice(8, 16), slice(16, 20)]


def test_dask_like_chunks_are_understood():
    values = voxels((20, 6, 7))
    array = Sliced(values, chunks=((8, 8, 4), (6,), (7,)))
    source = open_source(array)
    assert source.cost.column_bytes == 8 * 2
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


class Lying(Sliced):
    """An array whose slices have another type than it promises."""

    def __init__(self, values, *types):
        super().__init__(values)
        self._types = types
        self.dtype = np.dtype("u1")

    def __getitem__(self, index):
        return super().__getitem__(index).astype(self._types[min(len(self.asked), 2) - 1])


def test_values_are_those_that_slicing_gives_whatever_the_type_says():
    values = np.arange(5 * 6 * 7, dtype=np.float32).reshape(5, 6, 7) + 0.5
    source = open_source(Lying(values, "f4", "f4"))
    assert source.dtype == np.float32
    np.testing.assert_array_equal(read_all(source)[..., 0], values)
    with pytest.raises(InputError, match="slicing gave float32 here and uint8 at the first voxel"):
        read_all(open_source(Lying(values, "u1", "f4")))


def test_masked_slices_and_foreign_errors_are_refused_in_one_line():
    class Masked(Sliced):
        def __getitem__(self, index):
            return np.ma.masked_less(super().__getitem__(index), 1)

    class Broken(Sliced):
        def __getitem__(self, index):
            raise RuntimeError("no\nsuch thing")

    with pytest.raises(InputError, match="Masked: masked voxels have no value"):
        open_source(Masked(voxels(SHAPE)))
    with pytest.raises(
        InputError, match=r"slicing \[0:1, .*\] failed: RuntimeError: no such thing;"
    ):
        open_source(Broken(voxels(SHAPE)))


def test_axes_say_what_each_dimension_is():
    values = voxels((5, 6, 7))
    for wrap in (np.asarray, Sliced):
        source = open_source(wrap(values), axes="zyx")
        assert source.shape == (7, 6, 5, 1)
        np.testing.assert_array_equal(read_all(source)[..., 0], values.transpose(2, 1, 0))
    values = voxels((2, 5, 6, 7))
    source = open_source(values, axes="tzyx")
    np.testing.assert_array_equal(read_all(source), values.transpose(3, 2, 1, 0))
    for axes, message in [
        ("xy", "a letter .* for each of the 4 dimensions"),
        ("zzyx", "name z twice"),
        ("ctzx", "lack x or y"),
        ("wzyx", "a letter of x, y, z, c, t"),
    ]:
        with pytest.raises(InputError, match=message):
            open_source(values, axes=axes)
    with pytest.raises(InputError, match="several channels at several times"):
        open_source(voxels((2, 3, 5, 6, 7)), axes="tczyx")


def test_an_affine_may_be_passed():
    affine = np.array([[0, 2.0, 0, 5], [3, 0, 0, 6], [0, 0, -4, 7], [0, 0, 0, 1]])
    for passed in (affine, affine[:3], affine.ravel().tolist(), affine[:3].ravel()):
        with open_source(voxels(SHAPE), affine=passed) as source:
            np.testing.assert_array_equal(source.header.affine_voxel_to_mm, affine)
            assert source.header.resolution_nm == (3e6, 2e6, 4e6)
    for passed, message in [
        (np.eye(3), "4 x 4"),
        (np.zeros((4, 4)), "0, 0, 0, 1"),
        (np.diag([1, 0, 1, 1]), "affine"),
        ("here", "4 x 4"),
    ]:
        with pytest.raises(InputError, match=message):
            open_source(voxels(SHAPE), affine=passed)


def test_dimensions_of_xarray_count():
    xarray = pytest.importorskip("xarray")
    values = voxels((3, 5, 6, 7))
    array = xarray.DataArray(values, dims=("channel", "z", "y", "x"))
    source = open_source(array)
    np.testing.assert_array_equal(read_all(source), values.transpose(3, 2, 1, 0))
    array = xarray.DataArray(values[0], dims=("plane", "y", "x"))
    with pytest.raises(InputError, match=r"dimension 'plane' \(length 5\) is not one of x, y, z"):
        open_source(array)


@pytest.mark.parametrize("offset", [(13, 5, 7), (-13, -100, 7)])
def test_arrays_that_do_not_start_at_0_are_read_from_where_they_do(tmp_path, offset):
    tensorstore = pytest.importorskip("tensorstore")
    cloudvolume = pytest.importorskip("cloudvolume")
    values = voxels((40, 37, 20), "u1")
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": str(tmp_path / "v")},
    }
    made = {
        "multiscale_metadata": {"type": "image", "data_type": "uint8", "num_channels": 1},
        "scale_metadata": {
            "size": values.shape,
            "resolution": (8, 8, 40),
            "voxel_offset": offset,
            "chunk_size": (32, 32, 16),
            "encoding": "raw",
        },
    }
    tensorstore.open({**spec, **made}, create=True).result()[...] = values[..., None]
    volume = cloudvolume.CloudVolume(f"file://{tmp_path}/v", progress=False)
    for array in (tensorstore.open(spec).result(), volume):
        with open_source(array, resolution=(8, 8, 40)) as source:
            assert source.header.voxel_offset == offset
            np.testing.assert_array_equal(read_all(source, step=20)[..., 0], values)


@pytest.mark.parametrize("library", ["h5py", "zarr", "dask"])
def test_arrays_of_libraries_are_read_by_boxes(tmp_path, library):
    values = voxels((20, 18, 17, 2))
    chunks = (8, 5, 6, 2)
    if library == "h5py":
        h5py = pytest.importorskip("h5py")
        file = h5py.File(tmp_path / "a.h5", "w")
        array = file.create_dataset("a", data=values, chunks=chunks, compression="gzip")
    elif library == "zarr":
        zarr = pytest.importorskip("zarr")
        array = zarr.create_array(tmp_path / "a.zarr", data=values, chunks=chunks)
    else:
        array = pytest.importorskip("dask.array").from_array(values, chunks=chunks)
    with open_source(array, workers=3) as source:
        assert source.stream_axis == 0
        assert source.cost.row_planes == 8
        out = np.empty((9, 7, 12, 2), source.dtype)
        source.read(planes_box(source, 3, 12, (slice(2, 9), slice(4, 16))), out)
        np.testing.assert_array_equal(out, values[3:12, 2:9, 4:16])
        np.testing.assert_array_equal(read_all(source), values)


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "mgz"])
def test_images_of_nibabel_bring_their_affine(tmp_path, ending):
    values, affine = voxels((9, 8, 7)), np.diag([-2.0, 3, 4, 1])
    kind = nibabel.MGHImage if ending == "mgz" else nibabel.Nifti1Image
    image = kind(values, affine)
    nibabel.save(image, tmp_path / f"a.{ending}")
    for image_of in (image, nibabel.load(tmp_path / f"a.{ending}")):
        with open_source(image_of) as source:
            np.testing.assert_array_equal(source.header.affine_voxel_to_mm, affine)
            np.testing.assert_array_equal(read_all(source)[..., 0], values)


def test_scaled_images_of_nibabel_give_their_scaled_values(tmp_path):
    values = voxels((9, 8, 7))
    path = save_nifti(tmp_path / "a.nii", values, scl_slope=0.5, scl_inter=3)
    with open_source(nibabel.load(path)) as source:
        np.testing.assert_allclose(read_all(source)[..., 0], values * 0.5 + 3)


def test_names_in_zarr_and_h5py_count_and_their_lack_is_told_of(tmp_path):
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    values = voxels((5, 6, 7))
    file = h5py.File(tmp_path / "a.h5", "w")
    data = file.create_dataset("a", data=values)
    plain = zarr.create_array(tmp_path / "a.zarr", data=values)
    for array in (data, plain):
        with open_source(array) as source:
            assert source.shape == (5, 6, 7, 1)
            assert "pass axes='zyx'" in source.header.notes[0]
        with open_source(array, axes="zyx") as source:
            assert source.shape == (7, 6, 5, 1)
            assert source.header.notes == ()
    for dimension, label in zip(data.dims, "zyx", strict=True):
        dimension.label = label
    named = zarr.create_array(tmp_path / "b.zarr", data=values, dimension_names=["z", "y", "x"])
    for array in (data, named):
        with open_source(array) as source:
            assert source.shape == (7, 6, 5, 1)
            assert source.header.notes == ()
    file.close()


def test_dimensions_that_xarray_names_itself_are_x_y_z(tmp_path):
    xarray = pytest.importorskip("xarray")
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    made = ngcore.convert(xarray.DataArray(voxels), tmp_path / "a", resolution=(8, 8, 8))
    np.testing.assert_array_equal(made.scales[0][..., 0], voxels)
