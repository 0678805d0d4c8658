"""A head with marks on its right, in front and on top, on grids of every orientation."""

from __future__ import annotations

import nibabel
import numpy as np
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

CENTRE = np.array([3.0, -17.0, 9.0])
MARKS = {
    100: CENTRE + np.array([22, 0, 0]),
    150: CENTRE + np.array([0, 24, 0]),
    200: CENTRE + np.array([0, 0, 20]),
}
"""What is brighter than all else, by value: on the right, in front, on top. In millimetres."""
HALF_SIDE = 5


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return a rotation about the axes in turn, in degrees."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians([x, y, z])):
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[[i, j], [i, j]] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


SHEAR = np.array([[1, 0.2, 0], [0, 1, -0.1], [0, 0, 1]])
LINEAR = {
    "upright": np.diag([1.5, 2.0, 2.5]),
    "rotated": rotation(20, -15, 30) @ np.diag([1.6, 2.0, 2.4]),
    "left-handed": rotation(-25, 10, 5) @ np.diag([-1.5, 2, 2.5]),
    "permuted": rotation(3, 4, 5)[:, [2, 0, 1]] @ np.diag([2, -1.6, 2.3]),
    "sheared": SHEAR @ np.diag([1.5, 2.0, 2.5]),
}


def head(linear: np.ndarray) -> nibabel.Nifti1Image:
    """Return a head with its marks on a grid of 48 x 44 x 40 voxels around its centre."""
    shape = np.array([48, 44, 40])
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = CENTRE - linear @ ((shape - 1) / 2)
    voxels = np.stack(np.indices(shape), axis=-1)
    world = nibabel.affines.apply_affine(affine, voxels)
    array = np.random.default_rng(1).integers(1, 60, shape).astype(np.uint8)
    for value, place in MARKS.items():
        array[(np.abs(world - place) < HALF_SIDE).all(axis=-1)] = value
    return nibabel.Nifti1Image(array, affine)


def stored_as(image: nibabel.Nifti1Image, code: str) -> nibabel.Nifti1Image:
    """Return the image with its axes in another order, as nibabel reorders them."""
    own = nibabel.orientations.io_orientation(image.affine)
    change = ornt_transform(own, axcodes2ornt(tuple(code)))
    array = nibabel.orientations.apply_orientation(np.asarray(image.dataobj), change)
    affine = image.affine @ inv_ornt_aff(change, image.shape)
    return nibabel.Nifti1Image(np.ascontiguousarray(array), affine)


def marks() -> nibabel.Nifti1Image:
    """Return labels of 3 mm, 5 x 5 x 5 voxels around each mark."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = CENTRE - 60
    labels = np.zeros((40, 40, 40), np.int32)
    for label, place in MARKS.items():
        corner = np.rint(np.linalg.solve(affine, [*place, 1]))[:3].astype(int)
        labels[tuple(slice(i - 2, i + 3) for i in corner)] = label
    return nibabel.Nifti1Image(labels, affine)
