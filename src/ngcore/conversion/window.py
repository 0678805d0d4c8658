"""The rows of chunks that a walk holds in memory."""

import math
import threading
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from ngcore.conversion.regions import Level
from ngcore.precomputed.chunks import Box, ChunkGrid, Vec3, vec3
from ngcore.work.threads import TaskGroup, ThreadPool

Voxels = np.ndarray[Any, np.dtype[np.generic]]


class Window:
    """One row of chunks of one scale in memory, and the planes before it that are still needed.

    Positions along the stream axis are global voxel coordinates of the scale. `planes` of a row
    are valid up to `filled`; planes from `carried_from` on have not been downsampled yet.
    """

    def __init__(
        self,
        level: Level,
        grid: ChunkGrid,
        dtype: np.dtype[Any],
        num_channels: int,
        axis: int,
        memory_order: str,
        row_buffers: int,
    ) -> None:
        self.level = level
        self.scale = level.scale
        self.factors = level.factors
        self.chunk_size = grid.chunk_size
        self.dtype, self.num_channels = dtype, num_channels
        self.grid = grid
        self._axis = axis
        self.end = level.needed.stop[axis]
        self.filled = self.carried_from = self._row_start = level.needed.start[axis]
        self.row_stop = self._stop_of_row(self._row_start)
        self._lead = level.factors[axis] - 1
        thickness = min(grid.chunk_size[axis], self.end - self.filled)
        shape = [*level.needed.shape, num_channels]
        shape[axis] = self._lead + thickness
        # Where rows come in sticks, the finest scale's are never touched, and so take no memory.
        self._buffers = [
            empty_planes(shape, dtype, axis, memory_order) for _ in range(row_buffers)
        ]
        self._readers = [TaskGroup() for _ in range(row_buffers)]
        self._current = 0

    @property
    def readers(self) -> TaskGroup:
        """The tasks that read the current buffer, which must end before it is filled anew."""
        return self._readers[self._current]

    def wait(self, pool: ThreadPool) -> None:
        """Return when no task reads any buffer."""
        for group in self._readers:
            pool.wait(group)

    def box(self, start: int, stop: int) -> Box:
        """Return the box of planes [start, stop), as wide as the region."""
        first, last = list(self.level.needed.start), list(self.level.needed.stop)
        first[self._axis], last[self._axis] = start, stop
        return Box(vec3(first), vec3(last))

    def voxels(self, box: Box) -> Voxels:
        """Return a view of the current buffer, shape (x, y, z, channel)."""
        origin = list(self.level.needed.start)
        origin[self._axis] = self._row_start - self._lead
        return self._buffers[self._current][box.slices(vec3(origin))]

    def owned_chunks(self, cut: tuple[int, int, int] | None = None) -> Iterator[tuple[Vec3, Box]]:
        """Yield (cell, bounds) of this region's chunks in the current row.

        Of those alone that start in `cut`, if given: an axis, first position, and that behind the
        last.
        """
        owned = self._owned_cells()
        if cut is not None:
            axis, start, stop = cut
            chunk, offset = self.chunk_size[axis], self.grid.voxel_offset[axis]
            first, last = owned[axis]
            first = max(first, -((offset - start) // chunk))
            owned[axis] = (first, min(last, -((offset - stop) // chunk)))
        for z, y, x in product(*(range(*cells) for cells in reversed(owned))):
            cell = (x, y, z)
            yield cell, self.grid.bounds(cell)

    def cells_line_up(self, axis: int) -> bool:
        """Whether no voxel of the next scale is made of two chunks along an axis."""
        factor = self.factors[axis]
        return self.chunk_size[axis] % factor == self.grid.voxel_offset[axis] % factor == 0

    def holds_rows_of(self, fine: "Window") -> bool:
        """Whether each row of the finer scale is a part of one row of this, in its voxels."""
        axis, row = self._axis, fine.chunk_size[self._axis]
        factor, offset = fine.factors[axis], self.grid.voxel_offset[axis]
        shift = offset * factor - fine.grid.voxel_offset[axis]
        return self.chunk_size[axis] * factor % row == shift % row == 0

    def chunk_edges(self, axis: int) -> list[int]:
        """Return where chunks begin along an axis, within the region, and where it ends."""
        first, stop = self.level.needed.start[axis], self.level.needed.stop[axis]
        chunk = self.chunk_size[axis]
        second = first + chunk - (first - self.grid.voxel_offset[axis]) % chunk
        return [first, *range(second, stop, chunk), stop]

    @property
    def owns_row(self) -> bool:
        """Whether any chunk of the current row is this region's."""
        return all(start < stop for start, stop in self._owned_cells())

    def owned_part(self) -> tuple[Box, Voxels]:
        """Return where this region's chunks of the current row lie, and their voxels."""
        cells = self._owned_cells()
        first = self.grid.bounds(vec3([start for start, _ in cells]))
        last = self.grid.bounds(vec3([stop - 1 for _, stop in cells]))
        box = Box(first.start, last.stop)
        return box, self.voxels(box)

    def open_next_row(self, pool: ThreadPool) -> None:
        """Turn to the next row, carrying over the planes that are not downsampled yet."""
        if self.row_stop == self.end:
            return
        planes = self.box(self.carried_from, self.row_stop)
        carried = self.voxels(planes)
        self._current = (self._current + 1) % len(self._buffers)
        pool.wait(self.readers)
        self._row_start = self.row_stop
        self.row_stop = self._stop_of_row(self._row_start)
        self.voxels(planes)[...] = carried

    def _owned_cells(self) -> list[tuple[int, int]]:
        """Return the range of this region's cells in the current row, per axis."""
        cells = list(zip(self.level.first_cell, self.level.stop_cell, strict=True))
        offset = self.grid.voxel_offset[self._axis]
        row = (self._row_start - offset) // self.grid.chunk_size[self._axis]
        # A row that is there for the sake of a coarser scale alone may be another region's.
        first, stop = cells[self._axis]
        cells[self._axis] = (row, row + 1 if first <= row < stop else row)
        return cells

    def _stop_of_row(self, position: int) -> int:
        offset, chunk = self.grid.voxel_offset[self._axis], self.grid.chunk_size[self._axis]
        return min(self.end, offset + ((position - offset) // chunk + 1) * chunk)


class ThreadMemory(threading.local):
    """Memory that a thread uses again and again: what is new is slow to touch."""

    _bytes = np.empty(0, np.uint8)  # until a thread takes some of its own

    def take(self, count: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return so many items, uninitialised, valid until the next call on the same thread."""
        size = count * dtype.itemsize
        if self._bytes.size < size:
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size].view(dtype)


def plane_order(slowest: int, memory_order: str) -> tuple[int, ...]:
    """Return the axes of (x, y, z, channel), slowest first, of memory filled plane by plane.

    With order "F" x runs fastest and each channel has a block of its own; with "C" channels run
    fastest, then z.
    """
    others = [axis for axis in range(3) if axis != slowest]
    return (3, slowest, *reversed(others)) if memory_order == "F" else (slowest, *others, 3)


def slow_axis_of_planes(slowest: int, memory_order: str) -> int:
    """Return the axis along which the rows of a plane follow each other, in that memory."""
    return [axis for axis in plane_order(slowest, memory_order) if axis < 3][1]


def empty_planes(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    slowest: int,
    memory_order: str,
    memory: ThreadMemory | None = None,
) -> Voxels:
    """Return an uninitialised array of (x, y, z, channel) that lies in memory in `plane_order`.

    It takes new memory, or some that the thread has.
    """
    order = plane_order(slowest, memory_order)
    lengths = [shape[axis] for axis in order]
    if memory is None:
        voxels = np.empty(lengths, dtype)
    else:
        voxels = memory.take(math.prod(lengths), dtype).reshape(lengths)
    return voxels.transpose(np.argsort(order))
