"""Where voxels lie in the world: affine matrices of volumes, from millimetres to nanometres.

An affine here is a 4x4 matrix from indices of voxel *centres*, (i, j, k), to world millimetres, x
to the right, y to the front, z up (RAS+), as in NIfTI. Neuroglancer's voxel 0 spans [0, 1): its
space begins at the first voxel's *corner*, so half a voxel lies between the two conventions
(https://neuroglancer-docs.web.app/concepts/coordinate_spaces.html).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

Affine = np.ndarray[Any, np.dtype[np.float64]]
Signs = tuple[int, int, int]
Axes = tuple[int, int, int]
Sizes = tuple[float, float, float]

NM_PER_MM = 1_000_000.0

ORIENTATION_AXES = {
    "R": (0, 1),
    "L": (0, -1),
    "A": (1, 1),
    "P": (1, -1),
    "S": (2, 1),
    "I": (2, -1),
}
"""World axis and direction of each letter of an orientation code."""

SMALLEST_RELATIVE_DETERMINANT = 1e-6
"""Of the matrix with unit columns: below it, directions coincide as far as float32 can tell."""

FLOAT32_NOISE = 3e-7
"""Relative error of a voxel size that went through float32 and a few operations."""

SHEAR_TOLERANCE = 1e-4
"""Cosine of the angle between two axes above which an affine is said to be sheared."""


def checked_affine(
    matrix: object, name: str, *, advice: str = "pass --resolution X,Y,Z, or another --affine"
) -> Affine:
    """Return `matrix` as an affine that can be used: 4x4, finite, invertible.

    Raises
    ------
    FormatError
        If it is not; `name` (the file) begins the message, and `advice` ends it.
    """
    affine = np.asarray(matrix, dtype=np.float64)
    if affine.shape != (4, 4) or not np.array_equal(affine[3], [0, 0, 0, 1]):
        raise FormatError(f"{name}: the affine must be 4x4 with a last row of 0 0 0 1; {advice}")
    if not np.isfinite(affine).all():
        raise FormatError(f"{name}: the affine holds numbers that are not finite; {advice}")
    with np.errstate(over="ignore"):
        sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not (np.isfinite(sizes).all() and sizes.min() > 0):
        raise FormatError(
            f"{name}: the affine gives voxels of {' x '.join(f'{size:g}' for size in sizes)} mm; "
            f"{advice}"
        )
    if abs(np.linalg.det(affine[:3, :3] / sizes)) < SMALLEST_RELATIVE_DETERMINANT:
        raise FormatError(f"{name}: the affine is singular: its directions coincide; {advice}")
    return affine


def voxel_sizes_mm(affine: Affine) -> Sizes:
    """Return the lengths of an affine's columns: the voxel's sides in the affine's unit."""
    x, y, z = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(x), float(y), float(z)


def resolution_nm(affine: Affine) -> Sizes:
    """Return the voxel's sides in nanometres, without the noise of float32.

    Headers keep voxel sizes as float32, where 0.7 mm is 0.699999988: a size that six digits give
    as well as float32 can is taken as those digits, another as float32's shortest decimal.
    """
    x, y, z = (_without_noise(size) * NM_PER_MM for size in voxel_sizes_mm(affine))
    # Seven or fewer significant digits: the product's last bits are noise of the multiplication.
    return float(f"{x:.12g}"), float(f"{y:.12g}"), float(f"{z:.12g}")


def _without_noise(size: float) -> float:
    short = float(f"{size:.6g}")
    if abs(short - size) <= FLOAT32_NOISE * size:
        return short
    return float(str(np.float32(size)))


def volume_to_world_nm(
    affine: Affine | None,
    resolution: Sequence[float],
    voxel_offset: Sequence[int] = (0, 0, 0),
) -> Affine:
    """Return the matrix of `transform.json`: from the volume's nanometre space to the world's.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4), or None
        From indices of voxel centres to world millimetres. None: the volume's own space is the
        world, and the matrix is the identity.
    resolution : sequence of 3 float
        Voxel size in nanometres, as in `info`.
    voxel_offset : sequence of 3 int
        Global index of the first voxel. Its corner lies at `voxel_offset * resolution`.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        Row-major. The linear part has unit columns for an orthogonal affine.

    Examples
    --------
    >>> volume_to_world_nm(np.diag([2.0, 2.0, 2.0, 1.0]), (2e6, 2e6, 2e6))[0].tolist()
    [1.0, 0.0, 0.0, -1000000.0]
    """
    if affine is None:
        return np.eye(4)
    size = np.asarray(resolution, dtype=np.float64)
    # A point p nm is the index p / resolution - offset - 1/2, counted in voxel centres.
    matrix = np.eye(4)
    matrix[:3, :3] = affine[:3, :3] * NM_PER_MM / size
    centre = np.asarray(voxel_offset, dtype=np.float64) + 0.5
    matrix[:3, 3] = affine[:3, 3] * NM_PER_MM - matrix[:3, :3] @ (centre * size)
    return matrix


def world_nm_to_affine(
    transform: Affine, resolution: Sequence[float], voxel_offset: Sequence[int]
) -> Affine:
    """Return the affine (voxel centres to mm) of which `transform` is the `transform.json` matrix.

    The inverse of `volume_to_world_nm`; parameters are named as there.
    """
    size = np.asarray(resolution, dtype=np.float64)
    affine = np.eye(4)
    affine[:3, :3] = transform[:3, :3] * size
    centre = (np.asarray(voxel_offset, dtype=np.float64) + 0.5) * size
    affine[:3, 3] = transform[:3, 3] + transform[:3, :3] @ centre
    affine[:3] /= NM_PER_MM
    return affine


def with_resolution(affine: Affine, resolution: Sequence[float]) -> Affine:
    """Return the affine with voxels of another size, in nanometres.

    Its directions and the centre of the first voxel stay.
    """
    result = affine.copy()
    wanted = np.asarray(resolution, dtype=np.float64) / NM_PER_MM
    result[:3, :3] *= wanted / voxel_sizes_mm(affine)
    return result


def is_sheared(affine: Affine) -> bool:
    """Return whether some of the affine's axes do not meet at right angles."""
    directions = affine[:3, :3] / voxel_sizes_mm(affine)
    cosines = directions.T @ directions - np.eye(3)
    return bool(np.abs(cosines).max() > SHEAR_TOLERANCE)


def difference_in_voxels(first: Affine, second: Affine, shape: Sequence[int]) -> float:
    """Return how far two affines put a volume's corners apart, in voxels of the first.

    Parameters
    ----------
    first, second : ndarray of float64, shape (4, 4)
    shape : sequence of int
        Of the volume; the first three lengths are taken.

    Returns
    -------
    float
        The largest distance over the eight corners (centres of the corner voxels).
    """
    corners = np.array(list(itertools.product(*((0, length - 1) for length in shape[:3]))))
    homogeneous = np.column_stack([corners, np.ones(len(corners))])
    # Compared in voxels, so that the two sizes of an anisotropic voxel weigh the same.
    in_first = np.linalg.solve(first, second) @ homogeneous.T
    return float(np.sqrt(((in_first.T - homogeneous)[:, :3] ** 2).sum(axis=1)).max())


def orientation_of(affine: Affine) -> str:
    """Return the code of an affine's axes, such as "RAS": where each index grows to.

    Each axis is given the world axis it lies closest to, the closest pair first.
    """
    cosines = affine[:3, :3] / voxel_sizes_mm(affine)
    closeness = np.abs(cosines)
    letters = ["", "", ""]
    for _ in range(3):
        world, axis = divmod(int(np.argmax(closeness)), 3)
        letters[axis] = ("RL", "AP", "SI")[world][0 if cosines[world, axis] > 0 else 1]
        closeness[world, :] = closeness[:, axis] = -1
    return "".join(letters)


def parse_orientation(code: str) -> str:
    """Return an orientation code in capitals.

    Raises
    ------
    InputError
        If it is not one of the 48 codes: three letters, one of each pair RL, AP, SI.
    """
    letters = code.upper()
    axes = sorted(ORIENTATION_AXES[letter][0] for letter in letters if letter in ORIENTATION_AXES)
    if len(letters) != 3 or axes != [0, 1, 2]:
        raise InputError(
            f"orientation {code!r} must be three letters, one each of R or L, A or P, S or I, "
            f"such as RAS"
        )
    return letters


def axes_between(source_code: str, target_code: str) -> tuple[Axes, Signs]:
    """Return which source axis each target axis is, and whether it runs the same way.

    Returns
    -------
    axes : tuple of int
        `axes[t]` is the source axis that becomes target axis t.
    signs : tuple of int
        1 where it runs the same way, -1 where it is flipped.

    Examples
    --------
    >>> axes_between("RAS", "SRP")
    ((2, 0, 1), (1, 1, -1))
    """
    found = []
    for letter in target_code:
        world, direction = ORIENTATION_AXES[letter]
        for axis, source_letter in enumerate(source_code):
            if ORIENTATION_AXES[source_letter][0] == world:
                found.append((axis, direction * ORIENTATION_AXES[source_letter][1]))
    (a, s), (b, t), (c, u) = found
    return (a, b, c), (s, t, u)


def reoriented(affine: Affine, shape: Sequence[int], axes: Axes, signs: Signs) -> Affine:
    """Return the affine of a volume whose axes were permuted and flipped.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4)
    shape : sequence of int
        Of the volume before.
    axes, signs : tuple of int
        As `axes_between` returns them.
    """
    from_new = np.zeros((4, 4))
    from_new[3, 3] = 1
    for target, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        from_new[axis, target] = sign
        from_new[axis, 3] = shape[axis] - 1 if sign < 0 else 0
    result: Affine = affine @ from_new
    return result


def affine_of_orientation(code: str, resolution: Sequence[float]) -> Affine:
    """Return an affine whose axes run as `code` says, with voxels of `resolution` nanometres.

    The centre of the first voxel is the world's origin.
    """
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, letter in enumerate(parse_orientation(code)):
        world, direction = ORIENTATION_AXES[letter]
        affine[world, axis] = direction * resolution[axis] / NM_PER_MM
    return affine
