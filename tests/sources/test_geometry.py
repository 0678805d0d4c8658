import struct

import nibabel
import numpy as np
import pytest
from volume_files import AFFINE, save_nifti, set_fields, voxels

from ngcore.arrays.affines import volume_to_world_nm
from ngcore.errors import FormatError, InputError
from ngcore.sources import open_source

SHAPE = (13, 11, 7)
QFORM = np.diag([-1.5, -1.5, 2.0, 1.0])


@pytest.fixture
def both_forms(tmp_path):
    image = nibabel.Nifti1Image(voxels(SHAPE), None)
    image.set_sform(AFFINE, 2)
    image.set_qform(QFORM, 1, update_affine=False)
    nibabel.save(image, tmp_path / "volume.nii")
    return tmp_path / "volume.nii"


def affine_of(path, **options):
    with open_source(path, **options) as source:
        return source.header.affine_voxel_to_mm


def test_auto_takes_the_sform_and_says_that_the_qform_differs(both_forms):
    with open_source(both_forms) as source:
        np.testing.assert_array_equal(source.header.affine_voxel_to_mm, AFFINE)
        (note,) = source.header.notes
    assert "sform and qform differ by up to" in note
    assert "the sform is used" in note


def test_either_form_can_be_asked_for(both_forms):
    np.testing.assert_array_equal(affine_of(both_forms, form="sform"), AFFINE)
    np.testing.assert_allclose(affine_of(both_forms, form="qform"), QFORM, atol=1e-6)


def test_forms_that_agree_need_no_note(tmp_path):
    image = nibabel.Nifti1Image(voxels(SHAPE), AFFINE)
    image.set_qform(AFFINE, 1)
    nibabel.save(image, tmp_path / "volume.nii")
    with open_source(tmp_path / "volume.nii") as source:
        assert source.header.notes == ()


def test_without_a_sform_the_qform_is_taken(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(20):
        affine = np.eye(4)
        affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 3, 3)
        affine[:3, 3] = rng.normal(0, 50, 3)
        image = nibabel.Nifti1Image(voxels(SHAPE), None)
        image.set_qform(affine, 1)
        path = tmp_path / f"{number}.nii"
        nibabel.save(image, path)
        np.testing.assert_allclose(affine_of(path), nibabel.load(path).affine, atol=1e-5)


def test_half_turns_are_not_turned_further_by_rounding(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(20):
        axis = rng.normal(size=3)
        axis /= np.linalg.norm(axis)
        affine = np.diag([1.0, 1, 1, 1])
        affine[:3, :3] = 2 * np.outer(axis, axis) - np.eye(3)
        image = nibabel.Nifti1Image(voxels(SHAPE), None)
        image.set_qform(affine, 1)
        path = tmp_path / f"{number}.nii"
        nibabel.save(image, path)
        np.testing.assert_allclose(affine_of(path), affine, atol=1e-6)


@pytest.mark.parametrize("shape", [SHAPE, (13, 11, 1), (4, 5, 6, 7)])
def test_without_either_x_runs_to_the_left_as_nibabel_has_it_and_a_warning_says_so(
    tmp_path, shape
):
    path = save_nifti(tmp_path / "volume.nii", voxels(shape), sform_code=0, qform_code=0)
    with open_source(path) as source:
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, nibabel.load(path).affine)
        (note,) = source.header.notes
        assert "doesn't say where left is" in note
        assert source.header.facts == {"sform_code": 0, "qform_code": 0, "left_is_unknown": True}
    with open_source(path, affine=np.diag([-1.0, 1, 1, 1])) as source:
        assert source.header.notes == ()
        assert "left_is_unknown" not in source.header.facts


def test_analyze_does_not_say_where_left_is(tmp_path):
    image = nibabel.AnalyzeImage(voxels(SHAPE), np.diag([-2.0, 3, 4, 1]))
    nibabel.save(image, tmp_path / "a.img")
    with open_source(tmp_path / "a.img") as source:
        np.testing.assert_allclose(
            source.header.affine_voxel_to_mm, nibabel.load(tmp_path / "a.img").affine
        )
        assert "doesn't say where left is" in source.header.notes[0]
        assert source.header.facts == {"left_is_unknown": True}
    with open_source(tmp_path / "a.img", affine=np.diag([-1.0, 1, 1, 1])) as source:
        assert not any("where left is" in note for note in source.header.notes)
        assert source.header.facts == {}


def test_negative_voxel_sizes_are_lengths_as_nibabel_has_them(tmp_path):
    affine = np.array([[-2.0, 0, 0, 20], [0, 3, 0, -30], [0, 0, 4, -40], [0, 0, 0, 1]])
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), affine, sform_code=0, qform_code=1)
    header = nibabel.load(path).header
    pixdim = header["pixdim"].copy()
    pixdim[1:3] = -np.abs(pixdim[1:3])
    expected = affine_of(path)
    set_fields(path, pixdim=pixdim)
    with open_source(path) as source:
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, expected)
        assert "pixdim) are negative" in source.header.notes[0]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("names", [("mat",), ("M", "mat"), ("M",)])
def test_the_mat_of_spm_is_read_without_scipy(tmp_path, names, order):
    image = nibabel.Spm99AnalyzeImage(voxels(SHAPE), np.diag([-2.0, 3, 4, 1]))
    nibabel.save(image, tmp_path / "a.img")
    affine = np.array([[-2, 0.1, 0, 31], [0, 3, 0.2, -30], [0.1, 0, 4, -40], [0, 0, 0, 1]])
    from_one = np.eye(4)
    from_one[:3, 3] = -1
    with (tmp_path / "a.mat").open("wb") as file:
        for name in names:
            head = (0 if order == "<" else 1000, 4, 4, 0, len(name) + 1)
            file.write(struct.pack(f"{order}5i", *head) + name.encode() + b"\0")
            file.write((affine @ from_one).astype(f"{order}f8").tobytes(order="F"))
    flip = np.diag([1.0 if "mat" in names else -1.0, 1, 1, 1])
    with open_source(tmp_path / "a.img") as source:
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, flip @ affine)
        assert "left" not in str(source.header.notes)
    data = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(data[:-1])
    with pytest.raises(FormatError, match=r"'a\.mat' beside it is not a MATLAB file"):
        open_source(tmp_path / "a.img")


@pytest.mark.parametrize("form", ["sform", "qform"])
def test_a_form_that_is_not_there_is_refused(tmp_path, form):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), sform_code=0, qform_code=0)
    with pytest.raises(InputError, match=rf"has no {form} .*--form auto"):
        open_source(path, form=form)


@pytest.mark.parametrize(("code", "factor"), [(1, 1000), (2, 1), (3, 0.001), (0, 1), (8 + 2, 1)])
def test_units_are_brought_to_millimetres(tmp_path, code, factor):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), xyzt_units=code)
    with open_source(path) as source:
        expected = AFFINE.copy()
        expected[:3] *= factor
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, expected)
        assert source.header.resolution_nm == pytest.approx(
            (2e6 * factor, 3e6 * factor, 4e6 * factor)
        )
        assert len(source.header.notes) == (factor != 1)


@pytest.mark.parametrize("size", [0, np.nan, np.inf])
def test_voxel_sizes_that_are_none_are_refused_unless_given(tmp_path, size):
    pixdim = [1, 2, size, 4, 1, 1, 1, 1]
    path = save_nifti(
        tmp_path / "volume.nii", voxels(SHAPE), sform_code=0, qform_code=0, pixdim=pixdim
    )
    with pytest.raises(FormatError, match=r"voxel sizes .* pass --resolution"):
        open_source(path)
    with open_source(path, resolution=(1e6, 5e6, 7e6)) as source:
        assert source.header.resolution_nm == (1e6, 5e6, 7e6)
        np.testing.assert_array_equal(
            source.header.affine_voxel_to_mm[:3, :3], np.diag([-1, 5, 7])
        )


def test_a_slice_needs_no_thickness(tmp_path):
    path = save_nifti(
        tmp_path / "volume.nii",
        voxels((13, 11)),
        sform_code=0,
        qform_code=0,
        pixdim=[1, 2, 3, 0, 0, 0, 0, 0],
    )
    with open_source(path) as source:
        assert source.header.resolution_nm == (2e6, 3e6, 1e6)


def test_a_singular_affine_is_refused_unless_a_resolution_stands_in(tmp_path):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), srow_y=[2, 0, 0, 1])
    with pytest.raises(FormatError, match=r"volume\.nii: the affine .*--resolution"):
        open_source(path)
    with open_source(path, resolution=(1e6, 2e6, 3e6)) as source:
        np.testing.assert_array_equal(source.header.affine_voxel_to_mm, np.diag([1, 2, 3, 1]))
        assert "axes are assumed to be right, anterior, superior" in source.header.notes[0]


@pytest.mark.parametrize("part", [np.inf, -np.inf, np.nan])
def test_an_affine_that_is_not_finite_is_refused_without_a_warning_of_numpys(tmp_path, part):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), srow_y=[0, 3, part, 1])
    with pytest.raises(FormatError, match="not finite"):
        open_source(path)


@pytest.mark.parametrize(("offset", "form"), [(280, "sform"), (80, "qform")])
def test_a_signalling_nan_is_refused_without_a_warning_of_numpys(tmp_path, offset, form):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), qform_code=1)
    data = bytearray(path.read_bytes())
    data[offset : offset + 4] = (0x7FA00000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"not finite|voxel sizes"):
        open_source(path, form=form)


def test_a_quaternion_that_is_no_rotation_is_refused_where_it_is_used(tmp_path):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), qform_code=1, quatern_b=2)
    open_source(path).close()
    with pytest.raises(FormatError, match=r"quaternion .* --form sform"):
        open_source(path, form="qform")


def test_a_resolution_keeps_directions_and_the_first_centre(tmp_path):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), np.diag([-2.0, 3, 4, 1]))
    with open_source(path, resolution=(1e6, 1e6, 1e6), voxel_offset=(1, 2, 3)) as source:
        assert source.header.resolution_nm == (1e6, 1e6, 1e6)
        assert source.header.voxel_offset == (1, 2, 3)
        np.testing.assert_array_equal(source.header.affine_voxel_to_mm, np.diag([-1, 1, 1, 1]))
        transform = volume_to_world_nm(
            source.header.affine_voxel_to_mm,
            source.header.resolution_nm,
            source.header.voxel_offset,
        )
    first_centre_nm = np.array([1.5e6, 2.5e6, 3.5e6, 1])
    np.testing.assert_array_equal(transform @ first_centre_nm, [0, 0, 0, 1])


def test_shear_is_kept_and_noted(tmp_path):
    affine = AFFINE.copy()
    affine[0, 1] = 1
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), affine)
    with open_source(path) as source:
        np.testing.assert_array_equal(source.header.affine_voxel_to_mm, affine)
        assert any("sheared" in note for note in source.header.notes)


@pytest.mark.parametrize(
    "options",
    [{"resolution": (1, 2)}, {"resolution": (1, 2, 0)}, {"resolution": (1, 2, np.nan)},
     {"voxel_offset": (1, 2)}, {"input_orientation": "RAA"}, {"input_orientation": "LPS"}],
)  # fmt: skip
def test_impossible_options_are_refused(tmp_path, options):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE))
    with pytest.raises(InputError):
        open_source(path, **options)
