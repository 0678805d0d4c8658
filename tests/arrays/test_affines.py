import itertools
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ngcore.arrays import affines
from ngcore.errors import FormatError, InputError

GOLDEN = json.loads(Path(__file__).with_name("golden_transform.json").read_text())["cases"]
OBLIQUE = np.array(GOLDEN["oblique"]["affine"])
CODES = [
    "".join(code)
    for pairs in itertools.product("RL", "AP", "SI")
    for code in itertools.permutations(pairs)
]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_transform_is_that_of_neuroglancer_scripts(name):
    affine = np.array(GOLDEN[name]["affine"])
    resolution = affines.resolution_nm(affine)
    transform = affines.volume_to_world_nm(affine, resolution)
    np.testing.assert_allclose(resolution, GOLDEN[name]["resolution"], rtol=3e-7)
    expected = np.array(GOLDEN[name]["transform"])
    np.testing.assert_allclose(transform[:3, :3], expected[:3, :3], atol=3e-7)
    np.testing.assert_allclose(transform[:3, 3], expected[:3, 3], rtol=1e-7)  # they use float32


@pytest.mark.parametrize("offset", [(0, 0, 0), (-5, 7, 100)])
def test_the_transform_puts_every_voxel_centre_where_the_affine_does(offset):
    resolution = affines.resolution_nm(OBLIQUE)
    transform = affines.volume_to_world_nm(OBLIQUE, resolution, offset)
    index = np.array([3.0, 1.0, 2.0])
    point_nm = (index + offset + 0.5) * resolution
    in_world = transform @ [*point_nm, 1]
    np.testing.assert_allclose(in_world[:3], (OBLIQUE @ [*index, 1])[:3] * 1e6)
    np.testing.assert_array_equal(transform[3], [0, 0, 0, 1])


def test_an_orthogonal_affine_gives_unit_columns():
    transform = affines.volume_to_world_nm(OBLIQUE, affines.resolution_nm(OBLIQUE))
    np.testing.assert_allclose(np.linalg.norm(transform[:3, :3], axis=0), 1, rtol=3e-7)


def test_without_an_affine_the_volume_is_its_own_world():
    np.testing.assert_array_equal(
        affines.volume_to_world_nm(None, (1, 2, 3), (4, 5, 6)), np.eye(4)
    )


def test_the_affine_comes_back_from_the_transform():
    resolution, offset = (700.0, 800.0, 2500.0), (3, -4, 5)
    transform = affines.volume_to_world_nm(OBLIQUE, resolution, offset)
    np.testing.assert_allclose(affines.world_nm_to_affine(transform, resolution, offset), OBLIQUE)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (np.float32(0.7), 700000.0),
        (np.float32(2.2), 2200000.0),
        (1.0000001, 1000000.0),
        (0.46875, 468750.0),
        (np.float32(1 / 3), 333333.34),
        (4e-6, 4.0),
        (0.81215764, 812157.64),
    ],
)
def test_voxel_sizes_are_freed_from_float32_noise(size, expected):
    affine = np.diag([float(size)] * 3 + [1])
    assert affines.resolution_nm(affine) == pytest.approx((expected,) * 3, rel=2e-8)
    if expected != 812157.64:
        assert affines.resolution_nm(affine) == (expected,) * 3


def test_another_resolution_keeps_directions_and_the_first_centre():
    changed = affines.with_resolution(OBLIQUE, (1e6, 2e6, 3e6))
    np.testing.assert_allclose(affines.voxel_sizes_mm(changed), (1, 2, 3))
    np.testing.assert_array_equal(changed[:, 3], OBLIQUE[:, 3])
    cosines = np.linalg.inv(OBLIQUE[:3, :3]) @ changed[:3, :3]
    np.testing.assert_allclose(cosines, np.diag(np.diag(cosines)), atol=1e-12)
    assert np.diag(cosines).min() > 0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a: a.__setitem__((slice(3), 0), 0), "gives voxels of 0 x"),
        (lambda a: a.__setitem__((0, 3), np.nan), "not finite"),
        (lambda a: a.__setitem__((slice(3), 0), a[:3, 1]), "singular"),
        (lambda a: a.__setitem__((slice(3), 0), 1e200), "gives voxels of inf"),
        (lambda a: a.__setitem__((3, 0), 1), "last row"),
    ],
)
def test_an_affine_that_cannot_be_used_is_refused(change, complaint):
    affine = OBLIQUE.copy()
    change(affine)
    with pytest.raises(FormatError, match=rf"a\.nii: the affine.*{complaint}.*--resolution"):
        affines.checked_affine(affine, "a.nii")


def test_thin_voxels_are_not_taken_for_singular():
    affine = np.diag([1e-5, 1.0, 1e5, 1.0])
    np.testing.assert_array_equal(affines.checked_affine(affine, "a.nii"), affine)


def test_shear_is_told_from_rotation():
    assert affines.is_sheared(np.array(GOLDEN["sheared"]["affine"]))
    assert not affines.is_sheared(OBLIQUE)
    assert not affines.is_sheared(np.array(GOLDEN["flipped"]["affine"]))


def test_the_difference_of_affines_is_the_largest_over_the_corners():
    affine = np.diag([2.0, 2, 2, 1])
    moved = affine.copy()
    moved[0, 3] = 3.0
    assert affines.difference_in_voxels(affine, moved, (4, 4, 4)) == pytest.approx(1.5)
    stretched = np.diag([2.2, 2, 2, 1])
    assert affines.difference_in_voxels(affine, stretched, (11, 4, 4)) == pytest.approx(1.0)


@pytest.mark.parametrize("code", CODES)
def test_each_of_the_48_orientations_is_recognised(code):
    affine = affines.affine_of_orientation(code, (1e6, 2e6, 3e6))
    assert affines.orientation_of(affine) == code == "".join(nibabel.aff2axcodes(affine))
    assert affines.voxel_sizes_mm(affine) == (1, 2, 3)


def test_the_orientation_of_an_oblique_affine_is_the_closest():
    rng = np.random.default_rng(0)
    for _ in range(50):
        affine = np.eye(4)
        affine[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        assert sorted(affines.orientation_of(affine).translate(str.maketrans("LPI", "RAS"))) == [
            "A", "R", "S",
        ]  # fmt: skip


@pytest.mark.parametrize("code", ["RAA", "RA", "", "RASL", "XYZ", "RLA"])
def test_a_code_that_is_none_is_refused(code):
    with pytest.raises(InputError, match="three letters"):
        affines.parse_orientation(code)


def test_a_code_may_be_written_small():
    assert affines.parse_orientation("lps") == "LPS"


@pytest.mark.parametrize("target", CODES[::5])
@pytest.mark.parametrize("source", CODES[::7])
def test_reordered_axes_put_the_same_voxel_at_the_same_place(source, target):
    shape = (4, 5, 6)
    affine = affines.affine_of_orientation(source, (1e6, 2e6, 3e6))
    affine[:3, 3] = [10, 20, 30]
    axes, signs = affines.axes_between(source, target)
    result = affines.reoriented(affine, shape, axes, signs)
    assert affines.orientation_of(result) == target
    index = np.array([1, 3, 2])
    new = [
        index[axis] if sign > 0 else shape[axis] - 1 - index[axis]
        for axis, sign in zip(axes, signs, strict=True)
    ]
    np.testing.assert_allclose(result @ [*new, 1], affine @ [*index, 1])
