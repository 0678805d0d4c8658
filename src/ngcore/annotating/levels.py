"""Levels of the spatial index: how fine each is, and which share of the annotations it takes.

Each annotation has a number drawn by lot, and each level takes the lowest of those that are left:
the share limit / (largest number that is left in a cell), so that a cell holds about the limit.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/annotations.md#spatial-index
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ngcore.annotating.blocks import chances
from ngcore.precomputed.annotation_cells import Grid, cells_met

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ngcore.annotating.blocks import Block, Blocks

logger = logging.getLogger(__name__)

ALL = 1 << 64
_MOST_LEVELS = 64
_FINEST = 1 << 20
_DENSE_CELLS = 1 << 21
"""Cells that are counted one by one; of finer grids only those that may hold too many."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level: its grid, the first number, drawn by lot, that it does not take, its limit."""

    grid: Grid
    stop: int
    limit: int


class _Counts:
    """Counts annotations in the cells of a grid.

    Parameters
    ----------
    grid : Grid
    crowded : ndarray of int64, sorted, or None
        The only cells that are counted; None for all.
    """

    def __init__(self, grid: Grid, crowded: NDArray[np.int64] | None) -> None:
        self._crowded = crowded
        self._counts = np.zeros(grid.count if crowded is None else len(crowded), np.int64)
        self.pairs = 0

    def add(self, cells: NDArray[np.int64]) -> None:
        self.pairs += len(cells)
        if self._crowded is not None:
            place = np.searchsorted(self._crowded, cells)
            place[place == len(self._crowded)] = 0
            cells = place[self._crowded[place] == cells] if len(self._crowded) else place[:0]
        if len(self._counts) > 8 * len(cells):
            np.add.at(self._counts, cells, 1)
        else:
            self._counts += np.bincount(cells, minlength=len(self._counts))

    @property
    def largest(self) -> int:
        return int(self._counts.max(initial=0))

    def over(self, limit: int) -> NDArray[np.int64]:
        """Return the cells that hold more than that."""
        places = np.flatnonzero(self._counts > limit)
        return places if self._crowded is None else self._crowded[places]


def choose_levels(
    kind: str,
    blocks: Blocks,
    lower: Sequence[float],
    upper: Sequence[float],
    limit: int,
    *,
    most_copies: float = 64,
    growth: int = 1,
) -> list[Level]:
    """Choose the levels of annotations.

    Parameters
    ----------
    kind : str
        A value of `annotation_type`.
    blocks : Blocks
    lower, upper : sequence of float, (x, y, z)
        Bounds of all annotations.
    limit : int
        About how many a cell may hold.
    most_copies : float
        Cells are not made smaller where annotations then meet more of them than that, on average.
    growth : int
        The limit grows so many times with each level whose cells are not made smaller.

    Returns
    -------
    list of Level
        The last one takes all that is left.
    """
    steps = 0
    grid = _grid(lower, upper, steps)
    levels: list[Level] = []
    start, largest, crowded = 0, blocks.count, np.zeros(1, np.int64)
    is_finest = False
    while True:
        if levels:
            finer = _grid(lower, upper, steps + 1)
            is_finest |= finer.shape == grid.shape or max(finer.shape) > _FINEST
            if not is_finest:
                counts = _count(kind, blocks, finer, start, _inside(finer, grid, crowded))
                # What is left is a sample of all: what has too many copies once always has.
                is_finest = counts.pairs > most_copies * _left(blocks.count, start)
            if not is_finest:
                steps, grid = steps + 1, finer
            else:
                limit *= growth
                counts = _count(kind, blocks, grid, start, crowded)
            largest, crowded = counts.largest, counts.over(limit)
        if largest > limit and len(levels) == _MOST_LEVELS - 1:
            logger.warning(
                "%d annotations lie in one place, more than %d levels of %d can hold; the last "
                "level takes the rest",
                *(largest, _MOST_LEVELS, limit),
            )
            largest = limit
        if largest <= limit:
            # The client draws fewer where it believes cells to be fuller than they are.
            return [*levels, Level(grid, ALL, max(1, largest))]
        start += (ALL - start) * limit // largest
        levels.append(Level(grid, start, limit))


def _left(count: int, start: int) -> float:
    """Return about how many are left."""
    return max(1.0, count * (1 - start / ALL))


def _grid(lower: Sequence[float], upper: Sequence[float], steps: int) -> Grid:
    """Return the grid after so many halvings of the longest sides of its cells."""
    extents = np.subtract(upper, lower)
    longest = float(extents.max())
    shape, cell = [], []
    for extent in extents.tolist():
        if extent <= 0:
            shape.append(1)
            cell.append(longest or 1.0)
            continue
        delay = round(np.log2(longest / extent))
        cells = 1 << max(0, steps - delay)
        shape.append(cells)
        cell.append(extent / cells)
    x, y, z = map(float, lower)
    return Grid((x, y, z), (cell[0], cell[1], cell[2]), (shape[0], shape[1], shape[2]))


def _inside(finer: Grid, grid: Grid, crowded: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the cells of a finer grid that lie in some of a coarser one; None for all."""
    if finer.count <= _DENSE_CELLS:
        return None
    cells = grid.cells_of(crowded)
    factors = np.array(finer.shape) // np.array(grid.shape)
    corners = np.stack(np.meshgrid(*map(np.arange, factors), indexing="ij"), -1).reshape(-1, 3)
    return np.sort(finer.numbers(cells[:, np.newaxis] * factors + corners).reshape(-1))


def _count(
    kind: str, blocks: Blocks, grid: Grid, start: int, crowded: NDArray[np.int64] | None
) -> _Counts:
    counts = _Counts(grid, None if grid.count <= _DENSE_CELLS else crowded)
    for block in blocks.shapes():
        for _, cells in cells_met(kind, left_of(block, start), grid):
            counts.add(cells)
    return counts


def left_of(block: Block, start: int, stop: int = ALL) -> Block:
    """Return the annotations of a block whose number, drawn by lot, is in a range."""
    drawn = chances(block.ids)
    if start == 0 and stop == ALL:
        return block
    is_in = drawn >= np.uint64(start)
    if stop < ALL:
        is_in &= drawn < np.uint64(stop)
    return block.take(np.flatnonzero(is_in))
