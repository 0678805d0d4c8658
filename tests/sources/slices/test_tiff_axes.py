"""Channels, points in time and axes in any order, as the metadata of TIFF files tell them."""

import itertools

import numpy as np
import pytest
from planes import planes_box
from slice_stacks import CODES, random_volume, read_all, slices_of
from tiff_stacks import read_stack, write_stack

from ngcore.errors import InputError
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.slices.tiff import TiffStackSource, open_tiff_stack


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_ome_channels_become_channels(tmp_path, axes, compression):
    volume = random_volume((13, 9, 5, 3), np.uint16)
    stored = volume.transpose(2, 3, 1, 0) if axes == "ZCYX" else volume.transpose(3, 2, 1, 0)
    path = write_stack(
        tmp_path / "a.ome.tif", stored, compression=compression, metadata={"axes": axes}
    )
    assert np.array_equal(read_stack(path), volume)


def test_ome_channels_of_colour_pages_follow_each_other(tmp_path):
    stored = random_volume((4, 2, 9, 13, 3))
    path = write_stack(
        tmp_path / "a.ome.tif", stored, photometric="rgb", metadata={"axes": "ZCYXS"}
    )
    volume = read_stack(path)
    assert volume.shape == (13, 9, 4, 6)
    assert np.array_equal(volume[..., :3].transpose(2, 1, 0, 3), stored[:, 0])
    assert np.array_equal(volume[..., 3:].transpose(2, 1, 0, 3), stored[:, 1])


@pytest.mark.parametrize(
    "options",
    [{"ome": True, "metadata": {"TimeIncrement": 2000, "TimeIncrementUnit": "ms"}},
     {"imagej": True, "metadata": {"finterval": 2}}],
    ids=["OME", "ImageJ"],
)  # fmt: skip
def test_points_in_time_become_channels_with_their_step(tmp_path, options):
    stored = random_volume((7, 2, 9, 13))
    path = write_stack(
        tmp_path / "a.tif",
        stored,
        **{**options, "metadata": {"axes": "TZYX", **options["metadata"]}},
    )
    with open_tiff_stack(path, "a.tif") as source:
        assert np.array_equal(read_all(source), stored.transpose(3, 2, 1, 0))
        assert source.header.facts == {"time_step": 2.0}


def test_points_in_time_without_depth_may_be_slices_so_axes_are_asked_for(tmp_path):
    stored = random_volume((7, 9, 13))
    path = write_stack(tmp_path / "a.tif", stored, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(InputError, match=r"7 points in time .* --axes zyx .* --axes tyx"):
        TiffStackSource(path)
    assert np.array_equal(read_stack(path, axes="zyx")[..., 0], stored.T)
    assert np.array_equal(read_stack(path, axes="tyx")[:, :, 0], stored.T)


def test_channels_at_several_times_are_refused(tmp_path):
    path = write_stack(
        tmp_path / "a.tif", random_volume((2, 3, 9, 13)), imagej=True, metadata={"axes": "TCYX"}
    )
    with pytest.raises(InputError, match="several channels at several times"):
        TiffStackSource(path, axes="tcyx")


@pytest.mark.parametrize("writer", ["shaped", "ome"])
@pytest.mark.parametrize("axes", ["".join(one) for one in itertools.permutations("ZYX")])
def test_axes_of_metadata_in_any_order_are_followed(tmp_path, axes, writer):
    volume = random_volume((13, 9, 5), np.uint16)
    stored = volume.transpose(["XYZ".index(letter) for letter in axes])
    if writer == "ome":
        if not axes.endswith("YX"):
            pytest.skip("pages of OME-TIFF are rows and columns")
        write_stack(tmp_path / "a.tif", stored, ome=True, metadata={"axes": axes})
    else:
        write_stack(tmp_path / "a.tif", stored, metadata={"axes": axes})
    assert np.array_equal(read_stack(tmp_path / "a.tif")[..., 0], volume)


@pytest.mark.parametrize("axes", ["ZYXC", "CZYX", "ZCYX", "YXZC", "XCZY", "ZYCX"])
@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}])
def test_channels_may_be_any_axis(tmp_path, axes, channels, options):
    volume = random_volume((13, 9, 5, channels), np.uint16)
    stored = volume.transpose(["XYZC".index(letter) for letter in axes])
    path = write_stack(tmp_path / "a.tif", stored, metadata={"axes": axes}, **options)
    assert np.array_equal(read_stack(path), volume)
    plain = write_stack(tmp_path / "plain.tif", stored, metadata={"axes": "QRYX"}, **options)
    assert np.array_equal(read_stack(plain, axes=axes.lower()), volume)


@pytest.mark.parametrize("code", CODES[::7])
def test_odd_axes_and_orientations_go_together(tmp_path, code):
    volume = random_volume((5, 7, 9), np.uint16)
    planes = slices_of(volume, code)
    path = write_stack(tmp_path / "a.tif", planes.transpose(0, 2, 1), metadata={"axes": "ZXY"})
    asked = AskedGeometry((1e6, 2e6, 3e6))
    with open_tiff_stack(path, "a.tif", input_orientation=code, asked=asked) as source:
        assert np.array_equal(read_all(source)[..., 0], volume)
        assert source.header.resolution_nm == (1e6, 2e6, 3e6)
        assert np.allclose(source.header.affine_voxel_to_mm, np.diag([1, 2, 3, 1]))
    with open_tiff_stack(path, "a.tif", input_orientation=code) as source:
        assert source.header.resolution_nm is None


def test_boxes_of_odd_axes_are_read(tmp_path):
    volume = random_volume((23, 19, 7), np.uint16)
    path = write_stack(tmp_path / "a.tif", volume.transpose(2, 0, 1), metadata={"axes": "ZXY"})
    with open_tiff_stack(path, "a.tif") as source:
        assert source.stream_axis == 2
        part = np.empty((10, 6, 3, 1), np.uint16)
        source.read(planes_box(source, 2, 5, (slice(3, 13), slice(11, 17))), part)
        assert np.array_equal(part[..., 0], volume[3:13, 11:17, 2:5])


def test_axes_that_could_be_slices_or_channels_are_asked_for(tmp_path):
    stored = random_volume((7, 2, 9, 13))
    path = write_stack(tmp_path / "a.tif", stored)
    with pytest.raises(InputError, match=r"\(7, 2, 9, 13\) don't say .* --axes czyx"):
        TiffStackSource(path)
    assert read_stack(path, axes="zcyx").shape == (13, 9, 7, 2)
    with pytest.raises(
        InputError, match=r"--axes zyx must be a letter .* each of the 4 dimensions"
    ):
        TiffStackSource(path, axes="zyx")
    with pytest.raises(InputError, match="two axes are z"):
        TiffStackSource(path, axes="zzyx")
