import nibabel
import numpy as np
import pytest
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st
from planes import planes_box
from volume_files import AFFINE, read_all, save_nifti, voxels

from ngcore.arrays.affines import orientation_of, volume_to_world_nm
from ngcore.errors import InputError
from ngcore.sources import open_source

SHAPE = (13, 11, 7)
VALUES = voxels((*SHAPE, 2))
CODES = ["RAS", "LPS", "SPL", "ASR", "PIR", "RSA", "ILA", "RAI"]


def reoriented_by_nibabel(values, affine, code):
    image = nibabel.Nifti1Image(values, affine)
    own = nibabel.io_orientation(affine)
    target = nibabel.orientations.axcodes2ornt(code)
    result = image.as_reoriented(nibabel.orientations.ornt_transform(own, target))
    return np.asarray(result.dataobj), result.affine


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    oblique = AFFINE.copy()
    oblique[0, 1], oblique[1, 0] = 0.3, -0.2
    return save_nifti(tmp_path_factory.mktemp("orient") / "volume.nii", VALUES, oblique)


@pytest.mark.parametrize("code", CODES)
def test_axes_and_affine_are_those_nibabel_gives(path, code):
    source = open_source(path, orient=code)
    image = nibabel.load(path)
    expected, affine = reoriented_by_nibabel(VALUES, image.affine, code)
    np.testing.assert_allclose(source.header.affine_voxel_to_mm, affine)
    assert orientation_of(source.header.affine_voxel_to_mm) == code
    assert source.shape == expected.shape
    assert source.cost.is_concurrent
    np.testing.assert_array_equal(read_all(source), expected)


@settings(max_examples=thorough.amount(30, 1000), deadline=None)
@given(code=st.sampled_from(CODES), data=st.data())
def test_a_window_of_reordered_axes_is_read(path, code, data):
    with open_source(path, orient=code) as source:
        expected, _ = reoriented_by_nibabel(VALUES, nibabel.load(path).affine, code)
        box = []
        for length in source.shape[:3]:
            start = data.draw(st.integers(0, length - 1))
            box.append(slice(start, data.draw(st.integers(start + 1, length))))
        along = box[source.stream_axis]
        window = tuple(part for axis, part in enumerate(box) if axis != source.stream_axis)
        out = np.empty(expected[tuple(box)].shape, "i2", order=data.draw(st.sampled_from("FC")))
        source.read(planes_box(source, along.start, along.stop, window), out)
        np.testing.assert_array_equal(out, expected[tuple(box)])


@pytest.mark.parametrize("code", CODES)
def test_a_stream_is_reordered_while_it_is_read_once(tmp_path, code):
    values = VALUES[..., 0]
    path = save_nifti(tmp_path / "volume.nii.gz", values)
    source = open_source(path, orient=code)
    expected, _ = reoriented_by_nibabel(values, AFFINE, code)
    assert source.cost.is_sequential
    assert (source.cost.access == "unpack") == ("I" in code)
    if source.cost.access == "unpack":
        source = source.spooled(tmp_path / "spool")
    np.testing.assert_array_equal(read_all(source)[..., 0], expected)


def test_resolution_and_offset_are_those_of_the_result(path):
    with open_source(
        path, orient="SPL", resolution=(1e6, 2e6, 3e6), voxel_offset=(1, 2, 3)
    ) as source:
        assert source.header.resolution_nm == (1e6, 2e6, 3e6)
        assert source.header.voxel_offset == (1, 2, 3)
        np.testing.assert_allclose(
            np.linalg.norm(source.header.affine_voxel_to_mm[:3, :3], axis=0), (1, 2, 3)
        )


def test_without_resolution_voxel_sizes_go_with_their_axes(path):
    with open_source(path) as source:
        x, y, z = source.header.resolution_nm
    with open_source(path, orient="SPL") as source:
        assert source.header.resolution_nm == (z, y, x)


def test_an_array_is_taken_as_right_anterior_superior():
    source = open_source(VALUES, orient="PRS", resolution=(3.0, 2.0, 5.0))
    transform = volume_to_world_nm(source.header.affine_voxel_to_mm, source.header.resolution_nm)
    # The first voxel's corner is at the far end of y, which runs backwards now.
    np.testing.assert_allclose(transform @ [0, 0, 0, 1], [0, 3.0 * SHAPE[1], 0, 1])
    np.testing.assert_allclose(transform @ [3.0, 2.0, 5.0, 1], [2, 3.0 * (SHAPE[1] - 1), 5, 1])
    np.testing.assert_array_equal(read_all(source), VALUES.transpose(1, 0, 2, 3)[::-1])


def test_an_array_without_resolution_still_says_that_it_has_none():
    with open_source(VALUES, orient="LPS") as source:
        assert source.header.resolution_nm is None


def test_a_code_that_is_none_is_refused(path):
    with pytest.raises(InputError, match="'RAA' must be three letters"):
        open_source(path, orient="RAA")
