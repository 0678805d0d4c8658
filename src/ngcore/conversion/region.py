"""One region of a conversion: from a source's planes to chunks in a sink."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ngcore.arrays.values import Counts, ValueMapping
from ngcore.conversion.kept import Kept, kept_block
from ngcore.conversion.memory import BLOCK_BYTES
from ngcore.conversion.prepare import Conversion
from ngcore.conversion.regions import Level, Pass, Regions
from ngcore.conversion.sink import ChunkSink
from ngcore.conversion.walk import RegionWalk
from ngcore.conversion.window import Voxels, empty_planes, slow_axis_of_planes
from ngcore.precomputed.chunks import Box, ChunkGrid, Vec3
from ngcore.sources.base import Source
from ngcore.work.threads import ThreadPool


def carry_out_region(
    conversion: Conversion,
    regions: Regions,
    place: Vec3,
    source: Source,
    sink: ChunkSink,
    pool: ThreadPool,
    *,
    kept: Kept | None,
    scratch: Path,
    first_is_written: bool,
    planes_read: Callable[[int, Counts], None],
    row_done: Callable[[], None],
) -> None:
    """Make every chunk that a region owns.

    Parameters
    ----------
    conversion : Conversion
    regions : Regions
        Those of the pass.
    place : tuple of int
        Of this one.
    source : Source
        For the first pass, where voxels come from; for a later one, the scale it starts from.
    sink : ChunkSink
        Takes the chunks.
    pool : ThreadPool
        Does the work.
    kept : Kept or None
        Where the pass's last scale is kept, if a pass follows.
    scratch : Path
        A folder of this attempt alone, on the file system of what is kept.
    first_is_written : bool
        Whether the chunks of the first scale exist already.
    planes_read : callable
        Called after each reading, on any thread, with the voxels read and what happened to their
        values.
    row_done : callable
        Called after each row of the finest level, here.
    """
    for block in regions.blocks_of(place):
        levels = regions.blocks.levels(block)
        if levels:
            with kept_block(kept, block, scratch) as keep:
                _walk(
                    conversion,
                    regions.step,
                    levels,
                    source,
                    sink,
                    pool,
                    keep if levels[-1].scale == regions.step.last_scale else None,
                    first_is_written,
                    planes_read,
                    row_done,
                )


def _walk(
    conversion: Conversion,
    step: Pass,
    levels: Sequence[Level],
    source: Source,
    sink: ChunkSink,
    pool: ThreadPool,
    keep_last: Callable[[Box, Voxels], None] | None,
    first_is_written: bool,
    planes_read: Callable[[int, Counts], None],
    row_done: Callable[[], None],
) -> None:
    """Walk one block from end to end."""
    info = conversion.info
    walk = RegionWalk(
        levels,
        [info.scales[level.scale].grid for level in levels],
        dtype=np.dtype(info.data_type),
        num_channels=info.num_channels,
        stream_axis=conversion.plan.stream_axis,
        memory_order=source.memory_order,
        row_buffers=step.row_buffers,
        downsampling=conversion.downsampling,
        write_chunk=sink.write,
        keep_last=keep_last,
        first_is_written=first_is_written,
        pool=pool,
        row_done=row_done,
    )
    mapping = conversion.mapping if step.first_scale == 0 else None
    boxes = _BoxReader(source, levels[0], info.scales[step.first_scale].grid, mapping)

    def read(box: Box, out: Voxels) -> None:
        counts = boxes.read(box, out)
        planes_read(math.prod(box.shape), counts)

    walk.run(
        read,
        part_planes=boxes.part_planes,
        is_concurrent=source.cost.is_concurrent,
        gives_boxes=source.cost.access == "boxes",
    )


class _BoxReader:
    """Reads boxes of one block from a source as values of the volume.

    Parameters
    ----------
    source : Source
    level : Level
        The scale that is read, cut to the block.
    grid : ChunkGrid
        Of that scale.
    mapping : ValueMapping or None
        From stored values to the volume's; None where the source holds those.
    """

    def __init__(
        self, source: Source, level: Level, grid: ChunkGrid, mapping: ValueMapping | None
    ) -> None:
        needed = level.needed
        self._source = source
        self._owned = _owned_box(level, grid)
        self._mapping = None if mapping is None or mapping.is_identity else mapping
        axis = source.stream_axis
        plane = math.prod(needed.shape) // needed.shape[axis] * source.shape[3]
        plane_bytes = plane * source.dtype.itemsize
        self.part_planes = max(source.cost.row_planes, BLOCK_BYTES // plane_bytes, 1)

    def read(self, box: Box, out: Voxels) -> Counts:
        """Fill `out` with a box, global; return what happened to the values."""
        if self._mapping is None:
            read_stored(self._source, box, out)
            return Counts()
        counts = Counts()
        for part in self._parts(box):
            values = out[part.slices(box.start)]
            stored = empty_planes(
                values.shape,
                self._source.dtype,
                self._source.stream_axis,
                self._source.memory_order,
            )
            read_stored(self._source, part, stored)
            changed = self._mapping.apply(stored, values)
            if changed != Counts():
                counts = counts.plus(self._own_counts(part, stored, changed))
        return counts

    def _parts(self, box: Box) -> Iterator[Box]:
        """Cut what is read to be mapped into `BLOCK_BYTES`, where that costs nothing.

        Sources that give whole planes only take memory for one: see `mapped_bytes`.
        """
        source = self._source
        axis = slow_axis_of_planes(source.stream_axis, source.memory_order)
        row = math.prod(box.shape) // box.shape[axis] * source.shape[3] * source.dtype.itemsize
        step = max(1, BLOCK_BYTES // row) if source.cost.access == "boxes" else box.shape[axis]
        for start in range(box.start[axis], box.stop[axis], step):
            yield box.cut(axis, start, min(box.stop[axis], start + step))

    def _own_counts(self, block: Box, stored: Voxels, counts: Counts) -> Counts:
        """Count the values of this block's own chunks; others count those beyond them."""
        own = block.intersection(self._owned)
        if own == block:
            return counts
        if not own or self._mapping is None:
            return Counts()
        part = stored[own.slices(block.start)]
        return self._mapping.apply(part, np.empty(part.shape, self._mapping.output))


def read_stored(source: Source, box: Box, out: Voxels) -> None:
    """Fill `out` with the stored values of a box, global."""
    ranges, axis = box.slices(source.header.voxel_offset), source.stream_axis
    others = [other for other in range(3) if other != axis]
    is_whole = all(ranges[other] == slice(0, source.shape[other]) for other in others)
    window = None if is_whole else (ranges[others[0]], ranges[others[1]])
    source.read(ranges[axis].start, ranges[axis].stop, out, window=window)


def _owned_box(level: Level, grid: ChunkGrid) -> Box:
    """Return the voxels of the chunks that a block writes at a scale."""
    if not all(a < b for a, b in zip(level.first_cell, level.stop_cell, strict=True)):
        return Box(level.needed.start, level.needed.start)
    x, y, z = level.stop_cell
    return Box(grid.bounds(level.first_cell).start, grid.bounds((x - 1, y - 1, z - 1)).stop)
