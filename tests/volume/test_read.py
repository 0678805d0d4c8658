from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st
from volumes import make_info, write_volume

import ngcore
from ngcore.arrays.data_types import DATA_TYPES
from ngcore.errors import FormatError, InputError, InputNotFoundError, VolumeIndexError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.info import VolumeInfo
from ngcore.storage import LocalStore

OFFSET = (-5, 0, 7)
VOXELS = np.arange(13 * 6 * 9 * 2, dtype=np.uint16).reshape((13, 6, 9, 2), order="F")
INFO = make_info(VOXELS, chunk_sizes=((4, 6, 3),), voxel_offset=OFFSET, resolution=(4.5, 4.5, 40))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume")
    write_volume(folder, VOXELS, INFO)
    return folder


@pytest.fixture
def scale(folder):
    return ngcore.open(folder).scales[0]


def indices(size):
    whole = st.integers(-size, size - 1)
    ends = st.none() | st.integers(-size - 3, size + 3)
    steps = st.none() | st.integers(1, size + 2) | st.integers(-size - 2, -1)
    return whole | whole.map(np.int64) | st.builds(slice, ends, ends, steps)


@st.composite
def volume_indices(draw):
    given_axes = draw(st.integers(0, 4))
    items = [draw(indices(size)) for size in VOXELS.shape[:given_axes]]
    if draw(st.booleans()):
        # An ellipsis anywhere: axes after it are the last ones.
        at = draw(st.integers(0, given_axes))
        last = VOXELS.shape[len(VOXELS.shape) - (given_axes - at) :]
        items = [*items[:at], Ellipsis, *(draw(indices(size)) for size in last)]
    return items[0] if len(items) == 1 else tuple(items)


class TestIndexing:
    @settings(max_examples=thorough.amount(40, 3000), deadline=None)
    @given(index=volume_indices())
    def test_any_index_gives_what_numpy_gives(self, folder, index):
        result = ngcore.open(folder).scales[0][index]
        np.testing.assert_array_equal(result, VOXELS[index], strict=True)

    def test_integers_drop_their_axis(self, scale):
        assert scale[10:12, :, 5].shape == (2, 6, 2)
        assert scale[0, 0, 0, 0] == VOXELS[0, 0, 0, 0]

    def test_result_is_in_fortran_order_and_writable(self, scale):
        assert scale[:, :, 2:5].flags.f_contiguous
        assert scale[...].flags.writeable

    def test_empty_selection_reads_nothing(self, tmp_path):
        LocalStore(tmp_path).put("info", INFO.to_json().encode())
        (tmp_path / "1_1_1").mkdir()
        (tmp_path / "1_1_1" / "-5--1_0-6_7-10").write_bytes(b"damaged")
        scale = ngcore.open(tmp_path).scales[0]
        assert scale[3:3].shape == (0, 6, 9, 2)
        assert scale[:, 5:2, :, 1].shape == (13, 0, 9)

    def test_only_the_chunks_that_hold_a_selected_voxel_are_read(self, tmp_path):
        write_volume(tmp_path, VOXELS, INFO)
        for path in (tmp_path / "1_1_1").iterdir():
            if not path.name.startswith(("-5--1", "7-8")) or "7-10" not in path.name:
                path.write_bytes(b"damaged")
        scale = ngcore.open(tmp_path).scales[0]
        np.testing.assert_array_equal(scale[::12, ::5, :3], VOXELS[::12, ::5, :3])
        np.testing.assert_array_equal(scale[::-12, :, 2], VOXELS[::-12, :, 2])
        with pytest.raises(FormatError):
            scale[::11, :, :3]

    @pytest.mark.parametrize(
        "index", [13, -14, (0, 6), (0, 0, 0, 2), (Ellipsis, -3), 10**30, (slice(None), 99)]
    )
    def test_integers_outside_are_index_errors(self, scale, index):
        with pytest.raises(IndexError, match="out of bounds"):
            scale[index]

    @pytest.mark.parametrize(
        "index",
        [
            True,
            np.True_,
            None,
            1.5,
            "x",
            [0, 1],
            np.array([1, 2]),
            np.ones(13, bool),
            (0, [1]),
            np.newaxis,
        ],
    )
    def test_other_kinds_of_index_are_refused_with_a_way_out(self, scale, index):
        with pytest.raises(VolumeIndexError, match="read an array first"):
            scale[index]

    def test_impossible_slices_and_too_many_indices_are_refused(self, scale):
        with pytest.raises(VolumeIndexError, match="slice step cannot be zero"):
            scale[::0]
        with pytest.raises(VolumeIndexError, match="can't select voxels"):
            scale[1.5:3]
        with pytest.raises(VolumeIndexError, match="too many indices"):
            scale[0, 0, 0, 0, 0]
        with pytest.raises(VolumeIndexError, match="one ellipsis"):
            scale[..., 0, ...]

    def test_errors_are_also_of_this_package(self, scale):
        with pytest.raises(InputError):
            scale[99]

    def test_scale_is_an_array_to_numpy(self, scale):
        np.testing.assert_array_equal(np.asarray(scale), VOXELS)
        assert np.asarray(scale, dtype=np.float32).dtype == np.float32
        assert len(scale) == 13
        assert scale.ndim == 4
        with pytest.raises(ValueError, match="without a copy"):
            np.asarray(scale, copy=False)

    def test_iteration_goes_along_x_and_ends(self, scale):
        np.testing.assert_array_equal(list(scale), list(VOXELS))


class TestScale:
    def test_properties_are_those_of_info(self, scale):
        assert scale.shape == (13, 6, 9, 2)
        assert scale.dtype == np.uint16
        assert scale.dtype.isnative
        assert scale.resolution == (4.5, 4.5, 40)
        assert scale.voxel_offset == OFFSET
        assert scale.chunk_size == (4, 6, 3)
        assert scale.key == "1_1_1"

    def test_read_takes_global_coordinates(self, scale):
        box = Box((-2, 0, 8), (3, 2, 12))
        np.testing.assert_array_equal(scale.read(box), VOXELS[3:8, :2, 1:5])

    @pytest.mark.parametrize(
        "box", [Box((-6, 0, 7), (0, 1, 8)), Box((0, 0, 7), (9, 1, 8)), Box((0, 0, 8), (0, 1, 9))]
    )
    def test_box_outside_or_empty_is_refused(self, scale, box):
        with pytest.raises(InputError, match="is not inside of"):
            scale.read(box)

    def test_read_chunk_gives_one_chunk_clipped_at_the_edge(self, scale):
        np.testing.assert_array_equal(scale.read_chunk((3, 0, 2)), VOXELS[12:, :, 6:])
        with pytest.raises(InputError, match="no chunk"):
            scale.read_chunk((4, 0, 0))

    @pytest.mark.parametrize("dtype", DATA_TYPES)
    def test_every_data_type_is_read(self, tmp_path, dtype):
        voxels = VOXELS.astype(dtype)
        write_volume(tmp_path, voxels, make_info(voxels))
        result = ngcore.open(tmp_path).scales[0][...]
        np.testing.assert_array_equal(result, voxels, strict=True)


class TestVolume:
    def test_absent_chunks_and_folders_are_zeros(self, tmp_path):
        LocalStore(tmp_path).put("info", INFO.to_json().encode())
        scale = ngcore.open(tmp_path).scales[0]
        assert not scale[...].any()
        assert not scale.read_chunk((0, 0, 0)).any()

    def test_key_may_lead_out_of_the_folder(self, tmp_path):
        write_volume(tmp_path / "one", VOXELS, INFO)
        info = make_info(VOXELS, key="../one/1_1_1", chunk_sizes=((4, 6, 3),), voxel_offset=OFFSET)
        LocalStore(tmp_path / "two").put("info", info.to_json().encode())
        np.testing.assert_array_equal(ngcore.open(tmp_path / "two").scales[0][...], VOXELS)

    def test_damaged_chunk_names_itself(self, tmp_path):
        write_volume(tmp_path, VOXELS, INFO)
        (tmp_path / "1_1_1" / "-1-3_0-6_10-13").write_bytes(b"too short")
        with pytest.raises(FormatError, match=r"^chunk 1_1_1/-1-3_0-6_10-13 in .*: a raw chunk"):
            ngcore.open(tmp_path).scales[0][...]

    def test_repr_says_what_it_is(self, folder):
        volume = ngcore.open(folder)
        assert repr(volume) == (
            f"<Volume {folder}: image, uint16\n"
            "  scales[0] '1_1_1': 13 x 6 x 9 x 2 at 4.5 x 4.5 x 40 nm, offset (-5, 0, 7), "
            "raw chunks of 4 x 6 x 3>"
        )
        assert repr(volume.scales[0]).startswith("<ScaleArray uint16 '1_1_1': 13 x 6 x 9 x 2 at")

    def test_info_is_there(self, folder):
        volume = ngcore.open(str(folder))
        assert isinstance(volume.info, VolumeInfo)
        assert volume.info == INFO

    def test_what_is_no_volume_is_not_found(self, tmp_path):
        with pytest.raises(InputNotFoundError, match="has no info file"):
            ngcore.open(tmp_path)
        with pytest.raises(FileNotFoundError, match="is not a folder"):
            ngcore.open(tmp_path / "nowhere")

    def test_malformed_info_names_its_file_and_place(self, tmp_path):
        info = json.loads(INFO.to_json())
        info["scales"][0]["size"][1] = 0
        (tmp_path / "info").write_text(json.dumps(info))
        with pytest.raises(FormatError, match=r"/info: scales\[0\]\.size\[1\]"):
            ngcore.open(tmp_path)

    def test_urls_of_unknown_kinds_are_refused(self, tmp_path):
        pytest.importorskip("urllib3", reason="the extra cloud is not installed")
        with pytest.raises(InputError, match="can't be opened"):
            ngcore.open("nosuch://bucket/volume")
        with pytest.raises(InputNotFoundError, match="no info file"):
            ngcore.open(f"precomputed://{tmp_path.as_uri()}")

    def test_volume_of_an_unknown_encoding_opens_but_does_not_read(self, tmp_path):
        info = make_info(VOXELS[..., :1].astype(np.uint8), encoding="jpegxl")
        LocalStore(tmp_path).put("info", info.to_json().encode())
        volume = ngcore.open(tmp_path)
        with pytest.raises(InputError, match="jpegxl"):
            volume.scales[0][0, 0, 0]


class TestPackage:
    def test_submodules_are_attributes(self):
        code = (
            "import ngcore, numpy\n"
            "data = ngcore.compressed_segmentation.encode(numpy.ones((3, 3, 3), numpy.uint32))\n"
            "assert ngcore.compressed_segmentation.decode(data, (3, 3, 3), 'uint32').all()\n"
            "ones = numpy.ones((4, 4, 4), numpy.float32)\n"
            "assert ngcore.downsampling.downsample(ones).shape == (2, 2, 2)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_import_takes_no_heavy_module_along(self):
        code = (
            "import sys, ngcore\n"
            "for name in ngcore.__all__: getattr(ngcore, name)\n"
            "heavy = 'PIL tifffile trimesh rich starlette uvicorn neuroglancer imagecodecs'\n"
            "heavy += ' dask distributed obstore urllib3 h5py zarr DracoPy zmesh'\n"
            "print(*sorted(set(heavy.split()) & set(sys.modules)))"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        )
        assert result.stdout.split() == []

    def test_every_public_name_is_there(self):
        for name in ngcore.__all__:
            assert getattr(ngcore, name) is not None
