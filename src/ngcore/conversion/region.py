"""One region of a conversion: from a source's planes to chunks in their files."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.arrays.chunk_copy import copy_chunk
from ngcore.arrays.values import Counts
from ngcore.conversion.memory import BLOCK_BYTES
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import Conversion
from ngcore.conversion.regions import Level, Pass, Regions
from ngcore.conversion.walk import RegionWalk
from ngcore.conversion.window import ThreadMemory, Voxels, empty_planes, slow_axis_of_planes
from ngcore.precomputed.chunks import Box, Vec3, vec3
from ngcore.precomputed.encodings import ChunkEncoding, make_encoding
from ngcore.precomputed.info import VolumeInfo
from ngcore.sources.base import Source
from ngcore.storage import ChunkWriter, Store, create_chunks
from ngcore.volume.seal import ScaleDigest, digested
from ngcore.work.threads import ThreadPool

if TYPE_CHECKING:
    from ngcore.conversion.kept import Kept
    from ngcore.conversion.likeness import Likeness, LikenessSample


class ChunkSink:
    """Takes the chunks of some scales of a volume, in any order and from any thread.

    Parameters
    ----------
    info : VolumeInfo
        The volume to write.
    scales : sequence of int
        Indices of the scales that are written.
    options : ConvertOptions
        How chunks are encoded and how their files lie.
    store : Store
        Where the volume's files go.
    tmp : Path
        Where encoded chunks wait for their shard if they find no room in memory.
    shard_memory : int, in bytes
        How much of them may wait in memory.
    is_written : callable or None
        Whether the file of a name already exists, whole, and need not be made again.
    written : callable or None
        Called with the name of each file that is complete, from any thread.
    stale_scales : collection of int, optional
        Those whose folders held files before this run; default look.
    looks_for_labels : bool
        Whether to look at the finest scale: see `likeness`.
    """

    _sample: "LikenessSample | None"

    def __init__(
        self,
        info: VolumeInfo,
        scales: Sequence[int],
        options: ConvertOptions,
        store: Store,
        tmp: Path,
        *,
        shard_memory: int,
        is_written: Callable[[str], bool] | None = None,
        written: Callable[[str], None] | None = None,
        stale_scales: Collection[int] | None = None,
        looks_for_labels: bool = False,
    ) -> None:
        self._info = info
        self._is_written = is_written
        self._memory = ThreadMemory()
        self._encodings: dict[int, ChunkEncoding] = {}
        self._writers: dict[int, ChunkWriter] = {}
        self.digests: dict[int, ScaleDigest] = {}
        self._sample = None
        if looks_for_labels:
            from ngcore.conversion.likeness import LikenessSample  # only then

            self._sample = LikenessSample(info.scales[0].grid)
        for index in scales:
            scale = info.scales[index]
            self.digests[index] = ScaleDigest(info, scale)
            self._encodings[index] = make_encoding(info, scale, jpeg_quality=options.jpeg_quality)
            # Each scale has an eighth of the chunks of the one before, and gets half its memory.
            self._writers[index] = create_chunks(
                store,
                info,
                index,
                layout=options.layout,
                gzip=options.is_gzipped,
                memory=shard_memory >> (index + 1 - scales[0]),
                spool_dir=tmp,
                may_be_stale=None if stale_scales is None else index in stale_scales,
                written=written,
                in_background=True,
            )

    @property
    def likeness(self) -> "Likeness | None":
        """What was seen of the finest scale; None where nobody asked."""
        return None if self._sample is None else self._sample.found

    def write(self, scale: int, cell: Vec3, voxels: Voxels) -> None:
        """Take a chunk, shape (x, y, z, channel); it may be overwritten afterwards."""
        info = self._info.scales[scale]
        writer, encoding = self._writers[scale], self._encodings[scale]
        # Encoder and digest are fastest with Fortran order.
        chunk = self._memory.take(voxels.size, voxels.dtype).reshape(voxels.shape, order="F")
        has_bits = copy_chunk(voxels, chunk)  # a float chunk of -0.0 is not one of zeros
        if scale == 0 and has_bits and self._sample is not None:
            self._sample.look(cell, chunk)
        # Zeros add nothing to a digest. JPEG files, which are digested as they are, would.
        is_nothing = not has_bits and (info.sharding is not None or info.encoding != "jpeg")
        if self._is_written is not None and self._is_written(writer.file_of(cell)):
            # The digest of the run that wrote it went with that run.
            if not is_nothing:
                is_encoded = info.encoding in ("raw", "jpeg")
                encoded = encoding.encode(chunk) if is_encoded else b""
                self.digests[scale].add(cell, digested(info, encoded, chunk))
            return
        if is_nothing:
            writer.write(cell, None)
            return
        encoded = encoding.encode(chunk)
        self.digests[scale].add(cell, digested(info, encoded, chunk))
        writer.write(cell, encoded)

    def write_zeros(self, scale: int, first: Vec3, stop: Vec3) -> None:
        """Take the chunks from `first` up to and without `stop`, all zeros, of a sharded scale."""
        self._writers[scale].write_zeros(first, stop, self._is_written)

    def finish(self, *, whole: bool) -> None:
        """Check that everything is written; see `ChunkWriter.finish`."""
        for writer in self._writers.values():
            writer.finish(whole=whole)

    def abort(self) -> None:
        """Let go of memory and temporary files."""
        for writer in self._writers.values():
            writer.abort()


class Run(NamedTuple):
    """What all regions of a run share.

    Attributes
    ----------
    conversion : Conversion
    sink : ChunkSink
        Takes the chunks.
    pool : ThreadPool
        Does the work.
    scratch : Path
        A folder of this attempt alone, on the file system of what is kept.
    planes_read : callable
        Called after each reading, on any thread, with how many voxels of the region's share are
        done by it, and what happened to the values.
    row_done : callable or None
        Called after each row of chunks of the first scale.
    """

    conversion: Conversion
    sink: ChunkSink
    pool: ThreadPool
    scratch: Path
    planes_read: Callable[[int, Counts], None]
    row_done: Callable[[], None] | None = None


class PassRun(NamedTuple):
    """What all regions of one pass share.

    Attributes
    ----------
    run : Run
    regions : Regions
        Those that are walked: of large ones, their blocks.
    source : Source
        For the first pass, where voxels come from; for a later one, the scale it starts from.
    kept : Kept or None
        Where the pass's last scale is kept, if a pass follows.
    """

    run: Run
    regions: Regions
    source: Source
    kept: "Kept | None"


def carry_out_region(work: PassRun, place: Vec3) -> None:
    """Make every chunk that the region at a place owns, in one walk."""
    run, step, kept = work.run, work.regions.step, work.kept
    levels, share = work.regions.levels(place), work.regions.share(place)
    unread = math.prod(share.shape)
    if levels:
        unread -= math.prod(share.intersection(levels[0].needed).shape)
    if unread:  # nothing is made of it
        run.planes_read(unread, Counts())
    if not levels:
        return
    read = _BoxReader(run, work.source, levels[0], step, share)
    walk = RegionWalk(run.conversion, step, levels, work.source, run.pool, run.sink.write)
    if kept is None:
        walk.run(read, read.part_planes, run.row_done)
        return
    with kept.writer(place, run.scratch) as writer:
        is_kept = levels[-1].scale == step.last_scale
        walk.run(read, read.part_planes, run.row_done, writer.keep if is_kept else None)


class _BoxReader:
    """Reads boxes of one region from a source as values of the volume.

    Called with a box of the first scale, global, and what it is to fill.

    Parameters
    ----------
    run : Run
    source : Source
    level : Level
        The scale that is read, cut to the region.
    step : Pass
        The first one reads stored values, later ones those of the volume.
    share : Box
        What counts as done when it is read. Other regions count what lies beyond it.
    """

    def __init__(self, run: Run, source: Source, level: Level, step: Pass, share: Box) -> None:
        self._share = share
        needed = level.needed
        self._source = source
        self._planes_read = run.planes_read
        self._level, self._grid = level, run.conversion.info.scales[step.first_scale].grid
        is_mapped = step.first_scale == 0 and not run.conversion.mapping.is_identity
        self._mapping = run.conversion.mapping if is_mapped else None
        axis = source.stream_axis
        plane = math.prod(needed.shape) // needed.shape[axis] * source.shape[3]
        plane_bytes = plane * source.dtype.itemsize
        self.part_planes = max(source.cost.row_planes, BLOCK_BYTES // plane_bytes, 1)

    def __call__(self, box: Box, out: Voxels) -> None:
        counts = Counts()
        if self._mapping is None:
            self._source.read(box, out)
        else:
            for part in self._parts(box):
                values = out[part.slices(box.start)]
                stored = empty_planes(
                    values.shape,
                    self._source.dtype,
                    self._source.stream_axis,
                    self._source.memory_order,
                )
                self._source.read(part, stored)
                changed = self._mapping.apply(stored, values)
                if changed != Counts():
                    counts = counts.plus(self._own_counts(part, stored, changed))
        self._planes_read(math.prod(box.intersection(self._share).shape), counts)

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

    def _own_counts(self, box: Box, stored: Voxels, counts: Counts) -> Counts:
        """Count the values of this region's own chunks; others count those beyond them."""
        first, stop = self._level.first_cell, self._level.stop_cell
        if self._mapping is None or not all(a < b for a, b in zip(first, stop, strict=True)):
            return Counts()
        last = self._grid.bounds(vec3(cell - 1 for cell in stop))
        own = box.intersection(Box(self._grid.bounds(first).start, last.stop))
        if own == box:
            return counts
        if not own:
            return Counts()
        part = stored[own.slices(box.start)]
        return self._mapping.apply(part, np.empty(part.shape, self._mapping.output))
