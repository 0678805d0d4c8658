import bz2
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
from planes import planes_box
from source_contract import SourceContract, nibabel_places
from volume_files import read_all, save_nifti, voxels

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.sources import open_source

SHAPE = (13, 11, 7)
DATA = Path(nibabel.__file__).parent / "tests" / "data"


class TestSpm(SourceContract):
    format_name = "a format of nibabel"
    file_name = "a.img"
    keeps_affine = True
    dtypes = ("uint8", "int16", "float32")
    head_says_it = False

    def write(self, path, values, affine):
        pytest.importorskip("scipy")  # for the affine, which is a file of MATLAB's
        nibabel.save(nibabel.Spm2AnalyzeImage(values, affine), path)

    def reference(self, path, values, affine):
        del values, affine
        return nibabel_places(path)


@pytest.mark.parametrize(
    "kind", [nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage, nibabel.Spm2AnalyzeImage]
)
@pytest.mark.parametrize("ending", ["img", "hdr", "img.gz"])
def test_analyze_is_told_from_nifti(tmp_path, kind, ending):
    values = voxels(SHAPE)
    nibabel.save(kind(values, None), tmp_path / f"volume.{ending}")
    source = open_source(tmp_path / f"volume.{ending}")
    expected = nibabel.load(tmp_path / f"volume.{ending}").affine
    np.testing.assert_array_equal(source.header.affine_voxel_to_mm, expected)
    np.testing.assert_array_equal(read_all(source)[..., 0], values)


def test_the_scaling_of_spm_is_told(tmp_path):
    image = nibabel.Spm99AnalyzeImage(np.linspace(0, 1, 1001).reshape(7, 11, 13), None)
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "volume.img")
    with open_source(tmp_path / "volume.img") as source:
        assert source.dtype == np.int16
        assert source.header.slope == pytest.approx(1 / 32767, rel=0.01)
    with open_source(tmp_path / "volume.img", ignore_scaling=True) as source:
        assert source.header.slope == 1


@pytest.mark.parametrize(
    "name",
    ["tiny.mnc", "minc1_1_scale.mnc", "minc1-no-att.mnc", "example4d+orig.HEAD", "bad_tlrc.HEAD",
     "scaled+tlrc.HEAD", "phantom_EPI_asc_CLEAR_2_1.PAR", "Phantom_EPI_3mm_cor_SENSE_8_1.PAR",
     "example4d.nii.gz", "anatomical.nii", "functional.nii", "test.mgz"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nibabel leaves PAR/REC files open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_files_of_other_programs_are_read_as_nibabel_reads_them(tmp_path, name):
    path = DATA / name
    if not path.exists() or (path.suffix == ".PAR" and not path.with_suffix(".REC").exists()):
        pytest.skip(f"this nibabel comes without {name}")
    source = open_source(path)
    slope, intercept = source.header.slope, source.header.intercept
    if source.cost.access == "unpack":
        source = source.spooled(tmp_path / "spool")
    image = nibabel.load(path)
    np.testing.assert_array_equal(source.header.affine_voxel_to_mm, image.affine)
    result = read_all(source) * slope + intercept
    expected = image.get_fdata().reshape(result.shape)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_the_time_of_minc_comes_first_and_becomes_channels():
    source = open_source(DATA / "minc1_4d.mnc")
    expected = np.asarray(nibabel.load(DATA / "minc1_4d.mnc").dataobj)
    assert source.shape == (*expected.shape[1:], expected.shape[0])
    assert (source.stream_axis, source.memory_order) == (0, "C")
    np.testing.assert_array_equal(read_all(source), np.moveaxis(expected, 0, -1))


@pytest.mark.skipif(find_spec("h5py") is not None, reason="h5py is installed")
def test_minc_2_says_which_extra_it_needs():
    with pytest.raises(MissingExtraError, match=r"ngcore-neuroglancer\[formats\]"):
        open_source(DATA / "small.mnc")


def test_a_window_is_read_through_nibabel():
    source = open_source(DATA / "tiny.mnc")
    expected = np.asarray(nibabel.load(DATA / "tiny.mnc").dataobj)
    out = np.empty((3, 4, 5, 1))
    source.read(planes_box(source, 2, 5, (slice(1, 5), slice(6, 11))), out)
    np.testing.assert_array_equal(out[..., 0], expected[2:5, 1:5, 6:11])


def test_stored_values_that_cannot_be_had_are_refused():
    with pytest.raises(InputError, match="leave out --ignore-scaling"):
        open_source(DATA / "tiny.mnc", ignore_scaling=True)


def test_nifti_may_be_compressed_by_bzip2(tmp_path):
    values = voxels(SHAPE)
    path = save_nifti(tmp_path / "volume.nii", values)
    packed = tmp_path / "volume.nii.bz2"
    packed.write_bytes(bz2.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_all(open_source(packed))[..., 0], values)


def test_what_nibabel_repairs_is_noted(tmp_path):
    path = tmp_path / "volume.img"
    nibabel.save(nibabel.AnalyzeImage(voxels(SHAPE), None), path)
    header = path.with_suffix(".hdr")
    data = bytearray(header.read_bytes())
    template = nibabel.AnalyzeHeader.template_dtype
    np.frombuffer(data, template, 1)["pixdim"][0, 1] = -2
    header.write_bytes(data)
    with open_source(path) as source:
        assert any("pixdim" in note for note in source.header.notes)


@pytest.mark.parametrize("offset", [-1e30, -8.0, 1e30])
def test_analyze_header_that_puts_voxels_outside_of_the_file_is_refused(tmp_path, offset):
    voxels = np.zeros((4, 4, 4), np.uint8)
    header = nibabel.AnalyzeImage(voxels, np.eye(4)).header
    header["vox_offset"] = offset
    (tmp_path / "a.hdr").write_bytes(header.binaryblock)
    (tmp_path / "a.img").write_bytes(voxels.tobytes())
    with pytest.raises(FormatError):
        open_source(tmp_path / "a.hdr")
