import gzip

import nibabel
import numpy as np
import pytest
from source_contract import SourceContract, nibabel_places
from volume_files import AFFINE, read_all, voxels

from ngcore.errors import FormatError
from ngcore.sources import open_source
from ngcore.sources.volumes.gzip_stream import GzipSource
from ngcore.sources.volumes.mgh import HEADER
from ngcore.sources.volumes.raw import RawSource

SHAPE = (13, 11, 7)


def change_header(path, **fields):
    opener = gzip.open if path.suffix == ".mgz" else open
    with opener(path, "rb") as file:
        data = bytearray(file.read())
    for field, value in fields.items():
        np.frombuffer(data, HEADER, 1)[field] = value
    with opener(path, "wb") as file:
        file.write(data)


class TestMgh(SourceContract):
    format_name = "MGH"
    file_name = "a.mgz"
    keeps_affine = True
    keeps_sizes = True
    keeps_origin = True
    dtypes = ("uint8", "int16", "int32", "float32")
    head_says_it = False
    # After its voxels a file may hold tags or end: `test_bad_input` truncates the voxels.
    test_a_truncated_file_is_refused_in_one_line = None

    def write(self, path, values, affine):
        nibabel.save(nibabel.MGHImage(values, affine), path)

    def reference(self, path, values, affine):
        del values, affine
        return nibabel_places(path)


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
@pytest.mark.parametrize("ending", ["mgh", "mgz"])
def test_freesurfer_volumes_are_read_without_nibabel(tmp_path, dtype, ending):
    values = voxels(SHAPE, dtype)
    path = tmp_path / f"orig.{ending}"
    nibabel.save(nibabel.MGHImage(values, AFFINE), path)
    source = open_source(path)
    assert type(source) is (RawSource if ending == "mgh" else GzipSource)
    assert source.header.notes == ()
    np.testing.assert_allclose(source.header.affine_voxel_to_mm, AFFINE, atol=1e-5)
    assert source.header.resolution_nm == (2e6, 3e6, 4e6)
    np.testing.assert_array_equal(read_all(source)[..., 0], values)


def test_frames_of_a_freesurfer_volume_are_channels(tmp_path):
    values = voxels((*SHAPE, 3))
    nibabel.save(nibabel.MGHImage(values, AFFINE), tmp_path / "frames.mgz")
    source = open_source(tmp_path / "frames.mgz")
    assert source.cost.access == "unpack"
    np.testing.assert_array_equal(read_all(source.spooled(tmp_path / "spool")), values)


def test_an_oblique_affine_is_nibabels(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(10):
        affine = np.eye(4)
        affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3, 3)
        affine[:3, 3] = rng.normal(0, 50, 3)
        path = tmp_path / f"{number}.mgh"
        image = nibabel.MGHImage(voxels(SHAPE), affine)
        nibabel.save(image, path)
        with open_source(path) as source:
            expected = image.header.get_affine()
            np.testing.assert_allclose(source.header.affine_voxel_to_mm, expected, atol=1e-6)


def test_a_file_that_does_not_say_is_coronal(tmp_path):
    nibabel.save(nibabel.MGHImage(voxels(SHAPE), AFFINE), tmp_path / "a.mgz")
    change_header(tmp_path / "a.mgz", good_ras=0, delta=7)
    with open_source(tmp_path / "a.mgz") as source:
        expected = [[-1, 0, 0, 6.5], [0, 0, 1, -3.5], [0, -1, 0, 5.5], [0, 0, 0, 1]]
        np.testing.assert_array_equal(source.header.affine_voxel_to_mm, expected)


def test_unsigned_short_is_read(tmp_path):
    nibabel.save(nibabel.MGHImage(voxels(SHAPE, "i2"), AFFINE), tmp_path / "a.mgh")
    change_header(tmp_path / "a.mgh", type=10)
    result = read_all(open_source(tmp_path / "a.mgh"))
    np.testing.assert_array_equal(result[..., 0], voxels(SHAPE, "i2").view("u2"))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"version": 2}, "not MGH: it starts with 00 00 00 02"),
        ({"type": 6}, "type 6"),
        ({"delta": 0}, "voxels of 0 x 0 x 0 mm"),
        ({"directions": np.nan}, "not finite"),
        ({"directions": 0, "delta": np.inf}, "not finite"),
        ({"dims": 2**30}, "truncated: its header says"),
    ],
)
@pytest.mark.parametrize("ending", ["mgh", "mgz"])
def test_a_damaged_header_is_refused(tmp_path, ending, fields, complaint):
    path = tmp_path / f"a.{ending}"
    nibabel.save(nibabel.MGHImage(voxels(SHAPE), AFFINE), path)
    change_header(path, **fields)
    with pytest.raises(FormatError, match=complaint):
        open_source(path)


@pytest.mark.parametrize("name", ["a.mgh", "a.mgz"])
def test_frames_with_a_repetition_time_are_times(tmp_path, name):
    image = nibabel.MGHImage(voxels((*SHAPE, 3), "float32"), AFFINE)
    image.header.set_zooms((*image.header.get_zooms()[:3], 2500.0))
    nibabel.save(image, tmp_path / name)
    with open_source(tmp_path / name) as source:
        assert source.header.facts == {"time_step": 2.5}


@pytest.mark.parametrize("cut", [0, 20])
def test_frames_without_a_repetition_time_are_channels(tmp_path, cut):
    nibabel.save(nibabel.MGHImage(voxels((*SHAPE, 3), "float32"), AFFINE), tmp_path / "a.mgh")
    data = (tmp_path / "a.mgh").read_bytes()
    (tmp_path / "a.mgh").write_bytes(data[: len(data) - cut])
    with open_source(tmp_path / "a.mgh") as source:
        assert source.header.facts == {}


def test_a_plain_file_under_mgz_is_read_with_a_warning(tmp_path):
    values = voxels(SHAPE, "f4")
    nibabel.save(nibabel.MGHImage(values, AFFINE), tmp_path / "a.mgh")
    (tmp_path / "a.mgh").rename(tmp_path / "a.mgz")
    with open_source(tmp_path / "a.mgz") as source:
        (note,) = source.header.notes
        assert "is not gzipped, though its name says so" in note
        np.testing.assert_array_equal(read_all(source)[..., 0], values)


def test_a_file_that_does_not_say_where_left_is_is_warned_of(tmp_path):
    nibabel.save(nibabel.MGHImage(voxels(SHAPE, "f4"), AFFINE), tmp_path / "a.mgh")
    change_header(tmp_path / "a.mgh", good_ras=0)
    with open_source(tmp_path / "a.mgh") as source:
        assert any("doesn't say where left is" in note for note in source.header.notes)
    with open_source(tmp_path / "a.mgh", affine=AFFINE) as source:
        assert source.header.notes == ()
