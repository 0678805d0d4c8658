"""Whether annotations lie in the cells of the spatial index that list them, and in all of them.

Positions are float32 and cells are not, and writers round in their own ways: what lies within a
thousandth of a cell's side from its border may be listed on either side.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.annotation_cells import Grid, cells_met

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.precomputed.annotation_records import Annotations
    from ngcore.precomputed.annotations import AnnotationInfo, SpatialLevel

    Counts = NDArray[np.int64]

_SLACK = 1e-3
_SHIFTS = np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
"""What meets a cell wherever the grid is shifted so surely meets it: a line that cuts off a corner
loses it in one of them."""
_MOST_PAIRS = 1 << 21
"""Of a list of annotations that may meet more cells, only where they lie is checked."""


def check_places(
    found: Annotations, info: AnnotationInfo, level: SpatialLevel, cell: tuple[int, ...]
) -> None:
    """Check that annotations reach into the cell that lists them.

    Raises
    ------
    FormatError
        One lies outside.
    """
    if not len(found):
        return
    low, high = _extents(found, info)
    sides = np.array(level.chunk_size)
    start = np.array(info.lower_bound) + np.array(cell) * sides
    slack = _SLACK * sides + 1e-6 * np.abs(start)
    last = np.array(cell) + 1 == np.array(level.grid_shape)
    near = start - slack
    if info.annotation_type != "point":
        near = np.where(np.array(cell) == 0, -np.inf, near)  # as the last cell has all beyond it
    far = np.where(last, np.inf, start + sides + slack)
    is_out = ((high < near) | (low > far)).any(axis=1)
    if is_out.any():
        number = found.ids[int(np.argmax(is_out))]
        raise FormatError(f"annotation {number} lies outside of this cell")


def surely_met(
    found: Annotations, info: AnnotationInfo, level: SpatialLevel, cell: tuple[int, ...]
) -> tuple[Counts, Counts] | None:
    """Return of each annotation how many cells it surely meets, and whether this is one (0 or 1).

    None where that can't be told: points lie in one cell anyway, and what may meet very many cells
    is not looked at.
    """
    if info.annotation_type == "point" or info.rank != 3 or not len(found):
        return None
    x, y, z = level.grid_shape
    sides = np.array(level.chunk_size, np.float64)
    lower = np.array(info.lower_bound, np.float64)
    low, high = _extents(found, info)
    reach = np.minimum((high - low) / sides + 3, level.grid_shape).prod(axis=1)
    if reach.sum() > _MOST_PAIRS or math.prod(level.grid_shape) * len(found) >= 1 << 62:
        return None
    slack = _SLACK * sides + 1e-6 * (np.abs(lower) + sides * level.grid_shape)
    pairs: NDArray[np.int64] | None = None
    cells = x * y * z
    for shift in _SHIFTS:
        a, b, c = (lower + shift * slack).tolist()
        grid = Grid((a, b, c), (sides[0], sides[1], sides[2]), (x, y, z))
        met = [
            rows * cells + numbers
            for rows, numbers in cells_met(info.annotation_type, found, grid)
        ]
        here = np.unique(np.concatenate(met)) if met else np.zeros(0, np.int64)
        pairs = here if pairs is None else np.intersect1d(pairs, here, assume_unique=True)
    assert pairs is not None
    rows, numbers = np.divmod(pairs, cells)
    this = (cell[2] * y + cell[1]) * x + cell[0]
    count = len(found)
    return np.bincount(rows, minlength=count), np.bincount(rows[numbers == this], minlength=count)


def _extents(
    found: Annotations, info: AnnotationInfo
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the greatest coordinates of each annotation, shape (n, rank)."""
    geometry = found.geometry.astype(np.float64)
    if found.vertex_offsets is not None:
        starts = found.vertex_offsets[:-1]
        return np.minimum.reduceat(geometry, starts), np.maximum.reduceat(geometry, starts)
    if info.annotation_type == "point":
        return geometry, geometry
    first, second = geometry[:, : info.rank], geometry[:, info.rank :]
    if info.annotation_type == "ellipsoid":
        return first - second, first + second
    return np.minimum(first, second), np.maximum(first, second)
