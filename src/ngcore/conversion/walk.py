"""One walk along the stream axis that makes every scale of a region.

Each scale has a window: one row of chunks, as thick as a chunk along the stream axis and as wide
as the region. The source fills the window of the finest scale. A full window is downsampled into
the next scale's window at once, and its chunks are queued to be encoded. When downsampling fills
the next window too, the same happens there first: the tree of chunks is walked depth first, each
voxel is read once and each chunk encoded once.

Cells of a coarser scale lie on the global grid, so with an odd voxel offset a cell can straddle
two rows of chunks. The planes of such a cell are carried over to the front of the next window.

Where the source gives any box, and no cell straddles, the finest scale needs no window. It goes
stick by stick: a stick is a part of a row that one thread reads, downsamples and encodes, in
memory that is used again and again and is small enough for the processor's cache.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ngcore.conversion.regions import Level, Pass, scaled_up
from ngcore.conversion.window import (
    ThreadMemory,
    Voxels,
    Window,
    empty_planes,
    slow_axis_of_planes,
)
from ngcore.downsampling import downsample
from ngcore.precomputed.chunks import Box, Vec3
from ngcore.sources.base import Source
from ngcore.work.threads import URGENT, TaskGroup, ThreadPool

if TYPE_CHECKING:
    from ngcore.conversion.prepare import Conversion

ReadBox = Callable[[Box, Voxels], None]
WriteChunk = Callable[[int, Vec3, Voxels], None]
KeepBox = Callable[[Box, Voxels], None]

STICK_BYTES = 4 << 20
"""How large sticks should be at least: shorter runs of a file cost more to read."""


class RegionWalk:
    """The windows of every scale of one region, and the work that moves voxels through them.

    Parameters
    ----------
    conversion : Conversion
        Says which volume is made, and how coarser scales are.
    step : Pass
        Says how many windows a scale has: with 2, one fills while the other is encoded.
    levels : sequence of Level
        The region's scales, finest first.
    source : Source
        Says in which order the voxels of a plane come, and what reading costs.
    pool : ThreadPool
        Does the work.
    write_chunk : callable
        Called on the pool's threads with (scale, cell, voxels) of each chunk of the region.
    """

    def __init__(
        self,
        conversion: "Conversion",
        step: Pass,
        levels: Sequence[Level],
        source: Source,
        pool: ThreadPool,
        write_chunk: WriteChunk,
    ) -> None:
        info = conversion.info
        self._axis = conversion.plan.stream_axis
        self._downsample = partial(
            downsample,
            method=conversion.downsampling.method,
            outside_value=conversion.downsampling.outside_value,
        )
        self._cost = source.cost
        self._memory_order = source.memory_order
        self._write_chunk = write_chunk
        self._pool = pool
        self._keep_last: KeepBox | None = None
        self._stick_memory = ThreadMemory()  # small enough to stay in the processor's cache
        self._windows = [
            Window(
                level,
                info.scales[level.scale].grid,
                info.dtype,
                info.num_channels,
                self._axis,
                source.memory_order,
                step.row_buffers,
            )
            for level in levels
        ]

    def run(
        self,
        read: ReadBox,
        part_planes: int,
        row_done: Callable[[], None] | None = None,
        keep_last: KeepBox | None = None,
    ) -> None:
        """Walk the region from end to end.

        Parameters
        ----------
        read : callable
            Fills its second argument with a box of the finest level, in global coordinates.
        part_planes : int
            How many planes to read at a time.
        row_done : callable, optional
            Called after each row of the finest level, here.
        keep_last : callable, optional
            Called with (box, voxels) for each part of the last level, which a later pass starts
            from.
        """
        self._keep_last = keep_last
        is_concurrent = self._cost.is_concurrent
        finest = self._windows[0]
        sticks = self._sticks() if self._cost.access == "boxes" else []
        while finest.filled < finest.end:
            reads = TaskGroup()
            if sticks:
                for first, stop in sticks:
                    task = partial(self._walk_stick, read, part_planes, first, stop)
                    self._pool.submit(task, reads, urgency=URGENT)
            else:
                for start in range(finest.filled, finest.row_stop, part_planes):
                    box = finest.box(start, min(finest.row_stop, start + part_planes))
                    task = partial(read, box, finest.voxels(box))
                    if is_concurrent:
                        self._pool.submit(task, reads, urgency=URGENT)
                    else:
                        task()
            self._pool.wait(reads)
            finest.filled = finest.row_stop
            if sticks:
                self._finish_sticks()
            else:
                self._finish_row(0)
            if row_done is not None:
                row_done()
        for window in self._windows:
            window.wait(self._pool)

    def _sticks(self) -> list[tuple[int, int]]:
        """Return where each stick of a row starts and stops, along the axis that rows are cut on.

        Nowhere if the scales do not line up, or if there are fewer than threads: whole rows then
        take no more memory and keep all of them busy.
        """
        if len(self._windows) < 2:
            return []
        fine, coarse = self._windows[:2]
        cut = self._cut_axis
        if not all(fine.cells_line_up(axis) for axis in (self._axis, cut)):
            return []
        if not coarse.holds_rows_of(fine):
            return []
        edges = fine.chunk_edges(cut)
        row = fine.box(fine.filled, fine.row_stop).shape
        stick = (
            math.prod(row)
            // row[cut]
            * fine.chunk_size[cut]
            * fine.num_channels
            * fine.dtype.itemsize
        )
        step = max(1, min(STICK_BYTES // stick, (len(edges) - 1) // (2 * self._pool.workers)))
        sticks = list(zip(edges[:-1:step], [*edges[step:-1:step], edges[-1]], strict=True))
        return sticks if len(sticks) >= self._pool.workers else []

    @property
    def _cut_axis(self) -> int:
        """The axis of a plane along which its rows follow each other in memory."""
        return slow_axis_of_planes(self._axis, self._memory_order)

    def _walk_stick(self, read: ReadBox, part_planes: int, first: int, stop: int) -> None:
        """Read, downsample and write a part of the current row of the finest level."""
        fine, coarse, cut = self._windows[0], self._windows[1], self._cut_axis
        stick = fine.box(fine.filled, fine.row_stop).cut(cut, first, stop)
        voxels = empty_planes(
            (*stick.shape, fine.num_channels),
            fine.dtype,
            self._axis,
            self._memory_order,
            self._stick_memory,
        )
        # As many voxels at a time as of whole planes.
        step = part_planes * (fine.level.needed.shape[cut] // stick.shape[cut])
        for start in range(fine.filled, fine.row_stop, step):  # `filled` is where the row starts
            part = stick.cut(self._axis, start, min(fine.row_stop, start + step))
            read(part, voxels[part.slices(stick.start)])
        factor = fine.factors[cut]
        target = coarse.box(coarse.filled, self._fed_stop(fine, coarse))
        target = target.cut(cut, first // factor, -(-stop // factor))
        target = target.intersection(coarse.level.needed)
        if target:
            source = scaled_up(target, fine.factors).intersection(fine.level.needed)
            self._downsample(
                voxels[source.slices(stick.start)],
                fine.factors,
                offset=source.start,
                out=coarse.voxels(target),
            )
        for cell, bounds in fine.owned_chunks((cut, first, stop)):
            self._write_chunk(fine.scale, cell, voxels[bounds.slices(stick.start)])

    def _finish_sticks(self) -> None:
        """Open the next row of the finest level, when all sticks of the last are done."""
        fine, coarse = self._windows[:2]
        stop = self._fed_stop(fine, coarse)
        if coarse.filled < stop:
            coarse.filled = stop
            if stop == coarse.row_stop:
                self._finish_row(1)
        fine.carried_from = fine.filled
        fine.open_next_row(self._pool)

    def _finish_row(self, index: int) -> None:
        """Feed the coarser scales from a full window, queue its chunks, and open the next row."""
        window = self._windows[index]
        if index + 1 < len(self._windows):
            self._feed_next_scale(window, index + 1)
        else:
            window.carried_from = window.filled
            if self._keep_last is not None and window.owns_row:
                self._keep_last(*window.owned_part())
        for cell, bounds in window.owned_chunks():
            task = partial(self._write_chunk, window.scale, cell, window.voxels(bounds))
            self._pool.submit(task, window.readers)
        window.open_next_row(self._pool)

    def _feed_next_scale(self, fine: Window, index: int) -> None:
        """Make all that a full window has for the coarser scale, shared out to the threads."""
        coarse = self._windows[index]
        factor = fine.factors[self._axis]
        stop = self._fed_stop(fine, coarse)
        while coarse.filled < stop:
            part_stop = min(stop, coarse.row_stop)
            planes = -(-(part_stop - coarse.filled) // self._pool.workers)
            group = TaskGroup()
            for first in range(coarse.filled, part_stop, planes):
                last = min(part_stop, first + planes)
                task = partial(self._downsample_part, fine, coarse, first, last)
                self._pool.submit(task, group, urgency=URGENT)
            self._pool.wait(group)
            coarse.filled = part_stop
            if part_stop == coarse.row_stop:
                self._finish_row(index)
        is_fed = stop == coarse.end
        fine.carried_from = fine.filled if is_fed else min(fine.filled, stop * factor)

    def _fed_stop(self, fine: Window, coarse: Window) -> int:
        """Return up to where the coarser scale can be made when the finer row is there."""
        # Whole cells only, but for the last one, which the end of the volume may cut short.
        if fine.row_stop == fine.end:
            return coarse.end
        return min(coarse.end, fine.row_stop // fine.factors[self._axis])

    def _downsample_part(self, fine: Window, coarse: Window, start: int, stop: int) -> None:
        target = coarse.box(start, stop)
        source = scaled_up(target, fine.factors).intersection(fine.level.needed)
        self._downsample(
            fine.voxels(source), fine.factors, offset=source.start, out=coarse.voxels(target)
        )
