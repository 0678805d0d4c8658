"""One walk along the stream axis that makes every scale of a band.

Each scale has a window: one row of chunks, as thick as a chunk along the stream axis and as wide
as the band. The source fills the window of the finest scale. A full window is downsampled into the
next scale's window at once, and its chunks are queued to be encoded. When downsampling fills the
next window too, the same happens there first: the tree of chunks is walked depth first, each voxel
is read once and each chunk encoded once.

Cells of a coarser scale lie on the global grid, so with an odd voxel offset a cell can straddle
two rows of chunks. The planes of such a cell are carried over to the front of the next window.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ngcore.downsampling import downsample
from ngcore.execution.threads import URGENT, TaskGroup, ThreadPool
from ngcore.formats.chunks import Box, ChunkGrid, Vec3
from ngcore.pipelines.plan import Level, scaled_up

Voxels = NDArray[np.generic]
ReadPlanes = Callable[[int, int, Voxels], None]
WriteChunk = Callable[[int, Vec3, Voxels], None]


@dataclass(frozen=True, slots=True)
class Downsampling:
    """How voxels of one scale become one voxel of the next."""

    method: str
    outside_value: float | None


class BandWalk:
    """The windows of every scale of one band, and the work that moves voxels through them.

    Parameters
    ----------
    levels : sequence of Level
        The band's scales, finest first.
    grids : sequence of ChunkGrid
        The chunk grid of each of those scales.
    dtype, num_channels
        Of the voxels.
    stream_axis : int
        The axis along which rows follow each other.
    memory_order : str
        "F" or "C": the order of the voxels within a plane, and of channels, as the source has
        them.
    row_buffers : int
        Windows per scale: with 2, one fills while the other is encoded.
    downsampling : Downsampling
        How to make the coarser scales.
    write_chunk : callable
        Called on the pool's threads with (scale, cell, voxels) of each chunk of the band.
    keep_last : callable or None
        Called with (box, voxels) for each part of the last level, which a later pass starts from.
    first_is_written : bool
        Whether the chunks of the finest level have been written before.
    pool : ThreadPool
        Does the work.
    row_done : callable
        Called after each row of the finest level, here.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        grids: Sequence[ChunkGrid],
        *,
        dtype: np.dtype[Any],
        num_channels: int,
        stream_axis: int,
        memory_order: str,
        row_buffers: int,
        downsampling: Downsampling,
        write_chunk: WriteChunk,
        keep_last: Callable[[Box, Voxels], None] | None,
        first_is_written: bool,
        pool: ThreadPool,
        row_done: Callable[[], None],
    ) -> None:
        self._row_done = row_done
        self._axis = stream_axis
        self._downsampling = downsampling
        self._write_chunk = write_chunk
        self._keep_last = keep_last
        self._first_is_written = first_is_written
        self._pool = pool
        self._windows = [
            _Window(level, grid, dtype, num_channels, stream_axis, memory_order, row_buffers)
            for level, grid in zip(levels, grids, strict=True)
        ]

    def run(self, read: ReadPlanes, *, part_planes: int, is_concurrent: bool) -> None:
        """Walk the band from end to end.

        Parameters
        ----------
        read : callable
            Fills its third argument with planes [start, stop) of the finest level, in global
            coordinates along the stream axis.
        part_planes : int
            How many planes to read at a time.
        is_concurrent : bool
            Read on the pool's threads, in any order; else one part after the other, here.
        """
        finest = self._windows[0]
        while finest.filled < finest.end:
            reads = TaskGroup()
            for start in range(finest.filled, finest.row_stop, part_planes):
                stop = min(finest.row_stop, start + part_planes)
                task = partial(read, start, stop, finest.planes(start, stop))
                if is_concurrent:
                    self._pool.submit(task, reads, urgency=URGENT)
                else:
                    task()
            self._pool.wait(reads)
            finest.filled = finest.row_stop
            self._finish_row(0)
            self._row_done()
        for window in self._windows:
            window.wait(self._pool)

    def _finish_row(self, index: int) -> None:
        """Feed the coarser scales from a full window, queue its chunks, and open the next row."""
        window = self._windows[index]
        if index + 1 < len(self._windows):
            self._feed_next_scale(window, index + 1)
        else:
            window.carried_from = window.filled
            if self._keep_last is not None and window.owns_row:
                self._keep_last(*window.owned_part())
        if index > 0 or not self._first_is_written:
            for cell, voxels in window.owned_chunks():
                task = partial(self._write_chunk, window.scale, cell, voxels)
                self._pool.submit(task, window.readers)
        window.open_next_row(self._pool)

    def _feed_next_scale(self, fine: "_Window", index: int) -> None:
        coarse = self._windows[index]
        factor = fine.factors[self._axis]
        # Whole cells only, but for the last one, which the end of the volume may cut short.
        stop = coarse.end if fine.filled == fine.end else min(coarse.end, fine.filled // factor)
        while coarse.filled < stop:
            part_stop = min(stop, coarse.row_stop)
            self._downsample(fine, coarse, coarse.filled, part_stop)
            coarse.filled = part_stop
            if part_stop == coarse.row_stop:
                self._finish_row(index)
        is_fed = stop == coarse.end
        fine.carried_from = fine.filled if is_fed else min(fine.filled, stop * factor)

    def _downsample(self, fine: "_Window", coarse: "_Window", start: int, stop: int) -> None:
        """Make planes [start, stop) of the coarser scale, shared out to the threads."""
        planes = -(-(stop - start) // self._pool.workers)
        group = TaskGroup()
        for first in range(start, stop, planes):
            task = partial(self._downsample_part, fine, coarse, first, min(stop, first + planes))
            self._pool.submit(task, group, urgency=URGENT)
        self._pool.wait(group)

    def _downsample_part(self, fine: "_Window", coarse: "_Window", start: int, stop: int) -> None:
        target = coarse.box(start, stop)
        source = scaled_up(target, fine.factors).intersection(fine.level.needed)
        downsample(
            fine.voxels(source),
            fine.factors,
            method=self._downsampling.method,
            offset=source.start,
            outside_value=self._downsampling.outside_value,
            out=coarse.voxels(target),
        )


class _Window:
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
        self._grid = grid
        self._axis = axis
        self.end = level.needed.stop[axis]
        self.filled = self.carried_from = self._row_start = level.needed.start[axis]
        self.row_stop = self._stop_of_row(self._row_start)
        self._lead = level.factors[axis] - 1
        thickness = min(grid.chunk_size[axis], self.end - self.filled)
        shape = [*level.needed.shape, num_channels]
        shape[axis] = self._lead + thickness
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
        """Return the box of planes [start, stop), as wide as the band."""
        first, last = list(self.level.needed.start), list(self.level.needed.stop)
        first[self._axis], last[self._axis] = start, stop
        return Box(_vec3(first), _vec3(last))

    def planes(self, start: int, stop: int) -> Voxels:
        """Return a view of planes [start, stop) of the current buffer, all axes kept."""
        return self.voxels(self.box(start, stop))

    def voxels(self, box: Box) -> Voxels:
        """Return a view of the current buffer, shape (x, y, z, channel)."""
        origin = list(self.level.needed.start)
        origin[self._axis] = self._row_start - self._lead
        return self._buffers[self._current][box.slices(_vec3(origin))]

    def owned_chunks(self) -> Iterator[tuple[Vec3, Voxels]]:
        """Yield (cell, voxels) of this band's chunks in the current row."""
        for z, y, x in product(*(range(*cells) for cells in reversed(self._owned_cells()))):
            cell = (x, y, z)
            yield cell, self.voxels(self._grid.bounds(cell))

    @property
    def owns_row(self) -> bool:
        """Whether any chunk of the current row is this band's."""
        return all(start < stop for start, stop in self._owned_cells())

    def owned_part(self) -> tuple[Box, Voxels]:
        """Return where this band's chunks of the current row lie, and their voxels."""
        cells = self._owned_cells()
        first = self._grid.bounds(_vec3([start for start, _ in cells]))
        last = self._grid.bounds(_vec3([stop - 1 for _, stop in cells]))
        box = Box(first.start, last.stop)
        return box, self.voxels(box)

    def open_next_row(self, pool: ThreadPool) -> None:
        """Turn to the next row, carrying over the planes that are not downsampled yet."""
        if self.row_stop == self.end:
            return
        carried = self.planes(self.carried_from, self.row_stop)
        self._current = (self._current + 1) % len(self._buffers)
        pool.wait(self.readers)
        self._row_start, carried_to = self.row_stop, self.row_stop
        self.row_stop = self._stop_of_row(self._row_start)
        self.planes(self.carried_from, carried_to)[...] = carried

    def _owned_cells(self) -> list[tuple[int, int]]:
        """Return the range of this band's cells in the current row, per axis."""
        cells = list(zip(self.level.first_cell, self.level.stop_cell, strict=True))
        offset = self._grid.voxel_offset[self._axis]
        row = (self._row_start - offset) // self._grid.chunk_size[self._axis]
        # A row that is there for the sake of a coarser scale alone may be another band's.
        first, stop = cells[self._axis]
        cells[self._axis] = (row, row + 1 if first <= row < stop else row)
        return cells

    def _stop_of_row(self, position: int) -> int:
        offset, chunk = self._grid.voxel_offset[self._axis], self._grid.chunk_size[self._axis]
        return min(self.end, offset + ((position - offset) // chunk + 1) * chunk)


def plane_order(slowest: int, memory_order: str) -> tuple[int, ...]:
    """Return the axes of (x, y, z, channel), slowest first, of memory filled plane by plane.

    With order "F" x runs fastest and each channel has a block of its own; with "C" channels run
    fastest, then z.
    """
    others = [axis for axis in range(3) if axis != slowest]
    return (3, slowest, *reversed(others)) if memory_order == "F" else (slowest, *others, 3)


def empty_planes(
    shape: Sequence[int], dtype: np.dtype[Any], slowest: int, memory_order: str
) -> Voxels:
    """Return an uninitialised array of (x, y, z, channel) that lies in memory in `plane_order`."""
    order = plane_order(slowest, memory_order)
    voxels = np.empty([shape[axis] for axis in order], dtype)
    return voxels.transpose(np.argsort(order))


def _vec3(values: Sequence[int]) -> Vec3:
    x, y, z = values
    return x, y, z
