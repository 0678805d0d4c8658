"""A triangle mesh as a value: vertices in nanometres, and triangles that name them.

Every reader of meshes makes one and every writer takes one, so what is checked here (indices,
finite coordinates, shapes) is checked nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

NM_PER_MM = 1e6

# Beyond this ratio of its longest to its shortest axis a transform flattens what it is applied to.
_WORST_CONDITION = 1e12


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles in space.

    Parameters
    ----------
    vertices_nm : array of float, shape (n, 3), in nanometres
        Positions (x, y, z); every one finite.
    triangles : array of int, shape (m, 3)
        Indices of vertices, from 0 to n - 1; counter-clockwise seen from outside.

    Raises
    ------
    InputError
        If a shape is wrong, a coordinate is NaN or infinite, or an index names no vertex.
    """

    vertices_nm: NDArray[np.float64]
    triangles: NDArray[np.uint32]

    def __post_init__(self) -> None:
        vertices = _real_rows(self.vertices_nm)
        triangles = _triangle_rows(self.triangles, len(vertices))
        object.__setattr__(self, "vertices_nm", _frozen(vertices))
        object.__setattr__(self, "triangles", _frozen(triangles))

    @classmethod
    def from_mm(cls, vertices_mm: ArrayLike, triangles: NDArray[Any]) -> Mesh:
        """Return the mesh of vertices given in millimetres; it raises what `Mesh` raises."""
        vertices = _real_rows(vertices_mm)
        with np.errstate(over="ignore"):  # what is not finite is refused
            return cls(vertices * NM_PER_MM, triangles)

    def transformed(self, affine_nm: ArrayLike) -> Mesh:
        """Return the mesh moved by an affine transform.

        A transform with a negative determinant turns triangles inside out, so it flips them.

        Parameters
        ----------
        affine_nm : array of float, shape (4, 4)
            Maps (x, y, z, 1) in nanometres to nanometres; its last row is 0 0 0 1.

        Raises
        ------
        InputError
            If the transform is not affine, not finite or singular, or if it moves a vertex
            beyond all numbers.
        """
        affine = checked_affine(affine_nm)
        linear, translation = affine[:3, :3], affine[:3, 3]
        with np.errstate(over="ignore", invalid="ignore"):  # the new mesh checks what comes out
            vertices = self.vertices_nm @ linear.T + translation
        is_mirrored = np.linalg.det(linear / np.abs(linear).max()) < 0
        return Mesh(vertices, self.triangles[:, ::-1] if is_mirrored else self.triangles)


def checked_affine(affine: ArrayLike) -> NDArray[np.float64]:
    """Return an affine transform as a 4x4 array of float64.

    Parameters
    ----------
    affine : array of float, shape (4, 4) or (3, 4), or its 16 or 12 numbers in row-major order
        Where the last row is given it must be 0 0 0 1.

    Raises
    ------
    InputError
        If it has another shape or last row, holds NaN or infinity, or is singular.
    """
    try:
        matrix = np.asarray(affine, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"a transform must be 12 or 16 numbers: {error}") from error
    if matrix.shape not in {(12,), (16,), (3, 4), (4, 4)}:
        raise InputError(
            f"a transform must be 12 or 16 numbers, row by row, got shape {matrix.shape}"
        )
    matrix = matrix.reshape(-1, 4)
    if len(matrix) == 3:
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    if not np.isfinite(matrix).all():
        raise InputError("a transform must hold finite numbers only")
    if not np.array_equal(matrix[3], [0, 0, 0, 1]):
        last = " ".join(f"{value:g}" for value in matrix[3])
        raise InputError(f"the last row of a transform must be 0 0 0 1, got {last}")
    scales = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if scales[0] == 0 or scales[-1] <= scales[0] / _WORST_CONDITION:
        raise InputError("the transform is singular: it flattens the mesh; pass another")
    return matrix


def affine_mm_to_nm(affine_mm: ArrayLike) -> NDArray[np.float64]:
    """Return the transform of nanometres that does what this one does to millimetres."""
    affine = checked_affine(affine_mm).copy()
    with np.errstate(over="ignore"):  # what is then infinite is refused as such
        affine[:3, 3] *= NM_PER_MM
    return affine


def _real_rows(vertices: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(vertices)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "fiu":
        raise InputError(
            "vertices must be real numbers of shape (n, 3), "
            f"got {array.dtype} of shape {array.shape}"
        )
    rows = np.ascontiguousarray(array, dtype=np.float64)
    is_finite = np.isfinite(rows).all(axis=1)
    if not is_finite.all():
        where = int(np.argmin(is_finite))
        place = ", ".join(f"{value:g}" for value in rows[where])
        raise InputError(f"vertex {where} is not finite: ({place})")
    return rows


def _triangle_rows(triangles: ArrayLike, vertex_count: int) -> NDArray[np.uint32]:
    array = np.asarray(triangles)
    if array.ndim != 2 or array.shape[1] != 3 or array.dtype.kind not in "iu":
        raise InputError(
            "triangles must be whole numbers of shape (m, 3), "
            f"got {array.dtype} of shape {array.shape}"
        )
    is_bad = (array < 0) | (array >= vertex_count)
    if is_bad.any():
        row, column = np.unravel_index(int(np.argmax(is_bad)), array.shape)
        raise InputError(
            f"triangle {row} refers to vertex {array[row, column]}, "
            f"but there are {vertex_count} vertices, counted from 0"
        )
    return np.ascontiguousarray(array, dtype=np.uint32)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
