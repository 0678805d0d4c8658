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
from ngcore.precomputed.annotation_records import Annotations, offsets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ngcore.precomputed.annotations import AnnotationInfo, SpatialLevel

    Counts = NDArray[np.int64]

_SLACK = 1e-3
_SHIFTS = np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
"""What meets a cell wherever the grid is shifted so surely meets it: a line that cuts off a corner
loses it in one of them."""
_MOST_PAIRS = 1 << 18
"""Pairs of an annotation and a cell that are looked at together. Of an annotation that may meet
more cells, only where it lies is checked."""


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


def count_surely_met(found: Annotations, info: AnnotationInfo, level: SpatialLevel) -> Counts:
    """Return of each annotation how many cells of a level it surely meets.

    0 where that isn't counted: of points, which lie in one cell anyway, and of what may meet very
    many cells. It depends on the annotation and its level alone, not on others of its list.
    """
    counts = np.zeros(len(found), np.int64)
    for rows, part in _counted(found, info, level):
        pairs: NDArray[np.int64] | None = None
        for grid in _shifted(info, level):
            met = [
                numbers * len(rows) + places
                for places, numbers in cells_met(info.annotation_type, part, grid)
            ]
            here = np.unique(np.concatenate(met)) if met else np.zeros(0, np.int64)
            pairs = here if pairs is None else np.intersect1d(pairs, here, assume_unique=True)
        assert pairs is not None
        counts[rows] = np.bincount(pairs % len(rows), minlength=len(rows))
    return counts


def surely_meet(
    found: Annotations, info: AnnotationInfo, level: SpatialLevel, cell: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return of each annotation whether a cell is among those that `count_surely_met` counts."""
    is_met = np.zeros(len(found), np.bool_)
    for rows, part in _counted(found, info, level, is_one=True):
        is_here = np.ones(len(rows), np.bool_)
        only = (cell[0], cell[1], cell[2])
        for grid in _shifted(info, level):
            is_there = np.zeros(len(rows), np.bool_)
            for places, _ in cells_met(info.annotation_type, part, grid, only):
                is_there[places] = True
            is_here &= is_there
        is_met[rows] = is_here
    return is_met


def _shifted(info: AnnotationInfo, level: SpatialLevel) -> Iterator[Grid]:
    """Yield the grid of a level, shifted by what writers may have rounded."""
    x, y, z = level.grid_shape
    sides = np.array(level.chunk_size, np.float64)
    lower = np.array(info.lower_bound, np.float64)
    slack = _SLACK * sides + 1e-6 * (np.abs(lower) + sides * level.grid_shape)
    for shift in _SHIFTS:
        a, b, c = (lower + shift * slack).tolist()
        yield Grid((a, b, c), (sides[0], sides[1], sides[2]), (x, y, z))


def _counted(
    found: Annotations, info: AnnotationInfo, level: SpatialLevel, *, is_one: bool = False
) -> Iterator[tuple[NDArray[np.int64], Annotations]]:
    """Yield the annotations whose cells are counted, some at a time, with their rows.

    Which are depends on each alone: every cell that lists one must come to the same answer. With
    `is_one` a single cell is looked at, so that more go at a time.
    """
    if info.annotation_type == "point" or info.rank != 3 or not len(found):
        return
    if math.prod(level.grid_shape) >= (1 << 62) // _MOST_PAIRS:  # a pair is a number of int64
        return
    pairs = _most_pairs(found, info, level)
    rows = np.flatnonzero(pairs <= _MOST_PAIRS)
    if is_one and info.annotation_type in ("ellipsoid", "axis_aligned_bounding_box"):
        pairs = np.ones(len(found))  # a box is cut to the cell at once
    ends = np.cumsum(pairs[rows])
    first = 0
    while first < len(rows):
        done = ends[first - 1] if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, done + _MOST_PAIRS, side="right")))
        yield rows[first:stop], take(found, rows[first:stop])
        first = stop


def _most_pairs(
    found: Annotations, info: AnnotationInfo, level: SpatialLevel
) -> NDArray[np.float64]:
    """Return at least as many as the cells that are looked at for each annotation."""
    sides = np.array(level.chunk_size, np.float64)
    most = np.array(level.grid_shape)
    if info.annotation_type in ("line", "polyline"):
        offsets = found.vertex_offsets
        if offsets is None:
            offsets = np.arange(0, 2 * len(found) + 2, 2)
        points = found.geometry.astype(np.float64).reshape(-1, 3)
        crossed = np.minimum(np.abs(np.diff(points, axis=0)) / sides + 2, most).sum(axis=1)
        crossed = np.append(crossed, 0.0)
        crossed[offsets[1:] - 1] = 1  # from the end of a line to the next one
        steps: NDArray[np.float64] = np.add.reduceat(crossed, offsets[:-1])
        return steps
    low, high = _extents(found, info)
    cells: NDArray[np.float64] = np.minimum(np.abs(high - low) / sides + 3, most).prod(axis=1)
    return cells


def take(found: Annotations, rows: NDArray[np.int64]) -> Annotations:
    """Return the shapes of some annotations."""
    offsets = found.vertex_offsets
    if offsets is None:
        return Annotations(found.geometry[rows], {}, found.ids[rows])
    lengths = np.diff(offsets)[rows]
    taken = offsets_of(lengths)
    vertices = np.repeat(offsets[rows] - taken[:-1], lengths) + np.arange(taken[-1])
    return Annotations(found.geometry[vertices], {}, found.ids[rows], taken)


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
