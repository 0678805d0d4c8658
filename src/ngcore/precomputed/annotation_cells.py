"""Which cells of a grid annotations meet: exactly, for many at a time.

A cell holds its lower sides and not its upper ones, so each point of space lies in one cell; an
annotation meets the cells in which one of its points lies. The grid's upper sides belong to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_MOST_PAIRS = 1 << 21
"""Pairs of an annotation and a cell that are looked at together."""

Pairs = tuple["NDArray[np.int64]", "NDArray[np.int64]"]
"""Rows of a block, and cells that they meet, as `Grid.numbers` counts them."""


class Shapes(Protocol):
    """Annotations as arrays; see `ngcore.precomputed.annotation_records.Annotations`."""

    @property
    def geometry(self) -> NDArray[np.float32]:
        """A row for each, or, of polylines, for each vertex."""

    @property
    def vertex_offsets(self) -> NDArray[np.int64] | None:
        """Of polylines: where the vertices of each begin."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A grid of equal cells.

    Attributes
    ----------
    lower : tuple of float, (x, y, z)
        Where it begins.
    cell : tuple of float, (x, y, z)
        Sides of a cell.
    shape : tuple of int, (x, y, z)
        Cells along each axis.
    """

    lower: tuple[float, float, float]
    cell: tuple[float, float, float]
    shape: tuple[int, int, int]

    @property
    def count(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)

    def places(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return points, shape (n, 3), in cells from the lower corner."""
        # Axis by axis: a row of three is too short for NumPy to be quick.
        places = np.empty((3, len(points)), np.float64)
        for axis, place in enumerate(places):
            np.subtract(points[:, axis], self.lower[axis], out=place, dtype=np.float64)
            place /= self.cell[axis]
        return places.T

    def cells(self, places: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the cells, shape (n, 3), in which places lie; those outside go to the nearest."""
        cells = np.empty((3, len(places)), np.int64)
        for axis, cell in enumerate(cells):
            floor = np.floor(places[:, axis])
            np.clip(floor, 0, self.shape[axis] - 1, out=floor)
            cell[...] = floor
        return cells.T

    def numbers(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one number for each cell of an array of shape (..., 3)."""
        x, y, z = cells[..., 0], cells[..., 1], cells[..., 2]
        numbers: NDArray[np.int64] = (z * self.shape[1] + y) * self.shape[0] + x
        return numbers

    def cells_of(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cells, shape (n, 3), of numbers."""
        rest, x = np.divmod(numbers, self.shape[0])
        z, y = np.divmod(rest, self.shape[1])
        return np.stack([x, y, z], axis=-1)


def cells_met(
    kind: str, block: Shapes, grid: Grid, only: tuple[int, int, int] | None = None
) -> Iterator[Pairs]:
    """Yield the cells that annotations meet, some pairs at a time; none occurs twice.

    Parameters
    ----------
    kind : str
        A value of `annotation_type`.
    block : Shapes
    grid : Grid
    only : tuple of int, (x, y, z), optional
        Yield the pairs with this cell alone, the same that are among all.
    """
    geometry = block.geometry
    if kind == "point":
        numbers = grid.numbers(grid.cells(grid.places(geometry)))
        yield _alone(grid, np.arange(len(numbers), dtype=np.int64), numbers, only)
    elif kind == "line":
        offsets = np.arange(0, 2 * len(geometry) + 2, 2)
        yield _alone(grid, *_lines(grid, geometry.reshape(-1, 3), offsets, only), only)
    elif kind == "polyline":
        assert block.vertex_offsets is not None
        yield _alone(grid, *_lines(grid, geometry, block.vertex_offsets, only), only)
    elif kind == "ellipsoid":
        yield from _ellipsoids(grid, geometry, only)
    else:
        low = np.minimum(geometry[:, :3], geometry[:, 3:])
        high = np.maximum(geometry[:, :3], geometry[:, 3:])
        low_cells, high_cells = grid.cells(grid.places(low)), grid.cells(grid.places(high))
        yield from _ranges(grid, low_cells, high_cells, only)


def _alone(
    grid: Grid,
    rows: NDArray[np.int64],
    numbers: NDArray[np.int64],
    only: tuple[int, int, int] | None,
) -> Pairs:
    """Return the pairs with a cell, or all of them."""
    if only is None:
        return rows, numbers
    is_it = numbers == grid.numbers(np.array(only, np.int64))
    return rows[is_it], numbers[is_it]


def _lines(
    grid: Grid,
    points: NDArray[np.float32],
    offsets: NDArray[np.int64],
    only: tuple[int, int, int] | None,
) -> Pairs:
    """Return the cells that lines pass; where each line's points begin is in `offsets`.

    From the cell of its first point a segment goes on by one cell with each side of cells that it
    crosses. Where it crosses several sides at once it touches no cell between them.

    With `only`, segments that can't pass that cell are left out.
    """
    places = grid.places(points)
    cells = grid.cells(places)
    numbers = grid.numbers(cells)
    is_moving = numbers[1:] != numbers[:-1]
    is_moving[offsets[1:-1] - 1] = False  # from the end of a line to the next one
    if only is not None:
        low, high = np.minimum(cells[1:], cells[:-1]), np.maximum(cells[1:], cells[:-1])
        is_moving &= ((low <= only) & (high >= only)).all(axis=1)
    moving = np.flatnonzero(is_moving)
    rows, firsts = np.arange(len(offsets) - 1), numbers[offsets[:-1]]
    if not moving.size:
        return rows, firsts
    start, stop = places[moving], places[moving + 1]
    cell, last = cells[moving], cells[moving + 1]
    steps = np.abs(last - cell)
    # Every side that is crossed: its segment, its axis, and how far along the segment it lies.
    counts = steps.reshape(-1)
    segment = np.repeat(np.arange(len(moving)), steps.sum(axis=1))
    place = np.repeat(np.arange(counts.size), counts)
    number = np.arange(len(place)) - np.repeat(np.cumsum(counts) - counts, counts)
    axis = place % 3
    upwards = last[segment, axis] > cell[segment, axis]
    side = cell[segment, axis] + np.where(upwards, 1 + number, -number)
    begin = start[segment, axis]
    along = (side - begin) / (stop[segment, axis] - begin)
    order = np.lexsort((along, segment))
    segment, along, axis, upwards = segment[order], along[order], axis[order], upwards[order]
    step = np.array([1, grid.shape[0], grid.shape[0] * grid.shape[1]], np.int64)[axis]
    totals = np.cumsum(np.where(upwards, step, -step))
    begins = np.searchsorted(segment, np.arange(len(moving)))
    before = np.concatenate([[0], totals])[begins]
    reached = numbers[moving][segment] + totals - before[segment]
    is_between = (segment[1:] == segment[:-1]) & (along[1:] == along[:-1])
    keep = np.append(~is_between, True)
    passed = np.searchsorted(offsets, moving[segment[keep]], side="right") - 1
    return _unique(np.concatenate([rows, passed]), np.concatenate([firsts, reached[keep]]))


def _unique(rows: NDArray[np.int64], numbers: NDArray[np.int64]) -> Pairs:
    """Return pairs without those that are there again, by rows."""
    order = np.lexsort((numbers, rows))
    rows, numbers = rows[order], numbers[order]
    is_new = np.ones(len(rows), np.bool_)
    is_new[1:] = (rows[1:] != rows[:-1]) | (numbers[1:] != numbers[:-1])
    return rows[is_new], numbers[is_new]


def _ellipsoids(
    grid: Grid, geometry: NDArray[np.float32], only: tuple[int, int, int] | None
) -> Iterator[Pairs]:
    """Yield the cells whose point nearest to the centre lies in the ellipsoid."""
    centres, radii = geometry[:, :3].astype(np.float64), geometry[:, 3:].astype(np.float64)
    low = grid.cells((centres - radii - grid.lower) / grid.cell)
    high = grid.cells((centres + radii - grid.lower) / grid.cell)

    def is_near(rows: NDArray[np.int64], cells: NDArray[np.int64]) -> NDArray[np.bool_]:
        corner = np.add(cells * np.array(grid.cell), grid.lower)
        centre = centres[rows]
        nearest = np.clip(centre, corner, corner + grid.cell)
        # Outside of the grid there are no cells: the outermost ones stand for what lies there.
        away = np.abs(nearest - centre)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(away > 0, away / radii[rows], 0.0)
        near: NDArray[np.bool_] = (share**2).sum(axis=1) <= 1
        return near

    yield from _ranges(grid, low, high, only, is_near)


def _ranges(
    grid: Grid,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    only: tuple[int, int, int] | None,
    is_met: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.bool_]] | None = None,
) -> Iterator[Pairs]:
    """Yield all cells from the lowest to the highest of each row, or those that are met."""
    if only is not None:
        low, high = np.maximum(low, only), np.minimum(high, only)
    sides = np.maximum(high - low + 1, 0)
    counts = sides.prod(axis=1)
    ends = np.cumsum(counts)
    first = 0
    while first < len(low):
        done = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, done + _MOST_PAIRS, side="right")))
        count = counts[first:stop]
        rows = np.repeat(np.arange(first, stop), count)
        inside = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        rest, x = np.divmod(inside, sides[rows, 0])
        z, y = np.divmod(rest, sides[rows, 1])
        cells = low[rows] + np.stack([x, y, z], axis=-1)
        if is_met is not None:
            met = is_met(rows, cells)
            rows, cells = rows[met], cells[met]
        yield rows, grid.numbers(cells)
        first = stop
