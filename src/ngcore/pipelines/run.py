"""A conversion while it runs: from the source's planes to chunks in their files."""

import math
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ngcore.errors import InputError
from ngcore.execution.threads import ThreadPool
from ngcore.formats.chunks import Box, Vec3
from ngcore.formats.digest import ScaleDigest, digested
from ngcore.formats.encodings import ChunkEncoding, make_encoding
from ngcore.pipelines.journal import Journal
from ngcore.pipelines.kept import KeptScale
from ngcore.pipelines.options import ConvertOptions
from ngcore.pipelines.plan import Level, Pass
from ngcore.pipelines.prepare import BLOCK_BYTES, Conversion, shard_memory
from ngcore.pipelines.walk import BandWalk, Voxels, empty_planes
from ngcore.readers.base import Source
from ngcore.storage import ChunkWriter, LocalStore, create_chunks
from ngcore.values import Counts, ValueMapping

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a conversion that ran to its end tells.

    Attributes
    ----------
    counts : Counts
        What happened to the values on the way.
    digests : dict of str to str
        Of the voxels of every scale, by its key.
    """

    counts: Counts
    digests: dict[str, str]


class Run:
    """The state of one conversion while it runs: writers, counts and progress.

    Parameters
    ----------
    conversion : Conversion
        What to do.
    source : Source
        Is read to its end, and closed.
    options : ConvertOptions
        How to do it.
    store : LocalStore
        Where the volume's files go.
    work_folder : Path
        Where temporary files go, unless the options name another folder.
    progress : callable or None
        Called now and then with (voxels done, voxels in all).
    journal : Journal or None
        Knows the files of an earlier run that need not be made again, and notes the new ones.
    first_is_written : bool
        Whether the source is the volume's own finest scale, so that only the coarser ones are
        written.
    """

    def __init__(
        self,
        conversion: Conversion,
        source: Source,
        options: ConvertOptions,
        store: LocalStore,
        work_folder: Path,
        progress: Progress | None,
        *,
        journal: Journal | None = None,
        first_is_written: bool = False,
    ) -> None:
        self._conversion = conversion
        self._plan = conversion.plan
        self._info = conversion.info
        self._source = source
        self._options = options
        self._tmp = Path(options.tmp) if options.tmp is not None else work_folder
        self._store = store
        self._journal = journal
        self._progress = progress
        self._counts = Counts()
        self._lock = threading.Lock()
        self._chunk_buffer = _ChunkBuffer()
        self._voxels_done = 0
        self._voxels_total = sum(
            math.prod(self._info.scales[step.first_scale].size) for step in self._plan.passes
        )
        # By the index of the scale, for those that are written.
        self._first_is_written = first_is_written
        self._encodings: dict[int, ChunkEncoding] = {}
        self._writers: dict[int, ChunkWriter] = {}
        self._digests: dict[int, ScaleDigest] = {}

    def run(self) -> Outcome:
        """Write every chunk of every scale."""
        with _temporary_folder(self._tmp) as tmp:
            self._tmp = Path(tmp)
            self._open_writers()
            try:
                with ThreadPool(self._options.thread_count) as pool:
                    self._run_passes(pool)
                for writer in self._writers.values():
                    writer.finish(whole=self._journal is None or not self._journal.is_resumed)
            except BaseException:
                for writer in self._writers.values():
                    writer.abort()
                raise
        digests = {
            self._info.scales[index].key: str(digest) for index, digest in self._digests.items()
        }
        return Outcome(self._counts, digests)

    def _open_writers(self) -> None:
        options = self._options
        for index in range(int(self._first_is_written), len(self._info.scales)):
            scale = self._info.scales[index]
            self._digests[index] = ScaleDigest(self._info, scale)
            self._encodings[index] = make_encoding(
                self._info, scale, jpeg_quality=options.jpeg_quality
            )
            # Each scale has an eighth of the chunks of the one before, and gets half its memory.
            self._writers[index] = create_chunks(
                self._store,
                self._info,
                index,
                layout=options.layout,
                gzip=options.is_gzipped,
                memory=shard_memory(options) >> (index + 1),
                spool_dir=self._tmp,
                written=None if self._journal is None else self._journal.add,
            )

    def _run_passes(self, pool: ThreadPool) -> None:
        source, spool = self._source, None
        can_be_cut = not (source.is_sequential or source.reads_whole_planes)
        if source.needs_spool or (self._plan.is_cut and not can_be_cut):
            spool = self._tmp / "source"
            source = source.spooled(spool)
        mapping: ValueMapping | None = self._conversion.mapping
        for step in self._plan.passes:
            kept = None
            if step.last_scale < len(self._info.scales) - 1:
                kept = self._keep(step, source)
            with closing(source):
                for levels in self._plan.bands(step):
                    self._walk(pool, step, levels, source, mapping, kept)
                source.finish()
            if spool is not None:
                spool.unlink()
            if kept is not None:
                source, spool, mapping = kept.source(), kept.path, None

    def _keep(self, step: Pass, source: Source) -> KeptScale:
        return KeptScale(
            self._tmp / f"scale-{step.last_scale}",
            self._info.scales[step.last_scale],
            np.dtype(self._info.data_type),
            self._info.num_channels,
            self._plan.stream_axis,
            source.memory_order,
        )

    def _walk(
        self,
        pool: ThreadPool,
        step: Pass,
        levels: Sequence[Level],
        source: Source,
        mapping: ValueMapping | None,
        kept: KeptScale | None,
    ) -> None:
        """Walk one band; `mapping` is None where the source holds the volume's own values."""
        is_last_kept = kept is not None and levels[-1].scale == step.last_scale
        walk = BandWalk(
            levels,
            [self._info.scales[level.scale].grid for level in levels],
            dtype=np.dtype(self._info.data_type),
            num_channels=self._info.num_channels,
            stream_axis=self._plan.stream_axis,
            memory_order=source.memory_order,
            row_buffers=step.row_buffers,
            downsampling=self._conversion.downsampling,
            write_chunk=self._write_chunk,
            keep_last=kept.keep if kept is not None and is_last_kept else None,
            first_is_written=step.first_scale > 0 or self._first_is_written,
            pool=pool,
            row_done=self._row_done,
        )
        planes = _PlaneReader(source, levels[0].needed, mapping)
        walk.run(
            lambda start, stop, out: self._read(planes, start, stop, out),
            part_planes=planes.part_planes,
            is_concurrent=source.is_random_access,
        )

    def _row_done(self) -> None:
        if self._journal is not None:
            self._journal.checkpoint_if_due()

    def _read(self, planes: "_PlaneReader", start: int, stop: int, out: Voxels) -> None:
        counts = planes.read(start, stop, out)
        with self._lock:
            self._counts += counts
            self._voxels_done += math.prod(out.shape[:3])
            if self._progress is not None:
                self._progress(self._voxels_done, self._voxels_total)

    def _write_chunk(self, scale: int, cell: Vec3, voxels: Voxels) -> None:
        writer = self._writers[scale]
        voxels = self._chunk_buffer.filled(voxels)
        if self._is_written(scale, cell):
            self._digest_again(scale, cell, voxels)
            return
        if self._info.scales[scale].sharding is not None and not _has_bits(voxels):
            writer.write(cell, None)
            return
        encoded = self._encodings[scale].encode(voxels)
        self._digests[scale].add(cell, digested(self._info.scales[scale], encoded, voxels))
        writer.write(cell, encoded)

    def _digest_again(self, scale: int, cell: Vec3, voxels: Voxels) -> None:
        """Add a chunk that an earlier run wrote to the digest, which that run took with it."""
        info = self._info.scales[scale]
        is_encoded = info.encoding in ("raw", "jpeg")
        encoded = self._encodings[scale].encode(voxels) if is_encoded else b""
        self._digests[scale].add(cell, digested(info, encoded, voxels))

    def _is_written(self, scale: int, cell: Vec3) -> bool:
        """Whether an earlier run wrote the file that holds a chunk."""
        if self._journal is None or not self._journal.is_resumed:
            return False
        return self._journal.is_written(self._writers[scale].file_of(cell))


def _temporary_folder(parent: Path) -> "tempfile.TemporaryDirectory[str]":
    try:
        return tempfile.TemporaryDirectory(prefix=".ngcore-", dir=parent)
    except OSError as error:
        raise InputError(
            f"{parent} can't hold temporary files: {error.strerror}; pass --tmp DIR that can"
        ) from error


class _ChunkBuffer(threading.local):
    """A copy of one chunk in Fortran order, which encoder and digest are fastest with.

    Each thread has one and uses it again and again: memory that is new is slow to touch.
    """

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def filled(self, voxels: Voxels) -> Voxels:
        """Return a copy of a chunk; valid until the next call from the same thread."""
        if self._bytes.size < voxels.nbytes:
            self._bytes = np.empty(voxels.nbytes, np.uint8)
        flat = self._bytes[: voxels.nbytes].view(voxels.dtype)
        copy = flat.reshape(voxels.shape, order="F")
        np.copyto(copy, voxels)
        return copy


class _PlaneReader:
    """Reads planes of one band from a source as values of the volume."""

    def __init__(self, source: Source, needed: Box, mapping: ValueMapping | None) -> None:
        self._source = source
        self._mapping = None if mapping is None or mapping.is_identity else mapping
        axis = source.stream_axis
        self._origin = source.voxel_offset[axis]
        ranges = needed.slices(source.voxel_offset)
        others = [part for other, part in enumerate(ranges) if other != axis]
        is_whole = all(
            (part.start, part.stop) == (0, source.shape[other])
            for other, part in enumerate(ranges)
            if other != axis
        )
        self._window = None if is_whole else (others[0], others[1])
        plane = math.prod(needed.shape) // needed.shape[axis] * source.shape[3]
        plane_bytes = plane * source.dtype.itemsize
        self.part_planes = max(source.row_planes, BLOCK_BYTES // plane_bytes, 1)

    def read(self, start: int, stop: int, out: Voxels) -> Counts:
        """Fill `out` with planes [start, stop), global; return what happened to the values."""
        first, last = start - self._origin, stop - self._origin
        if self._mapping is None:
            self._source.read(first, last, out, window=self._window)
            return Counts()
        stored = empty_planes(
            out.shape, self._source.dtype, self._source.stream_axis, self._source.memory_order
        )
        self._source.read(first, last, stored, window=self._window)
        return self._mapping.apply(stored, out)


def _has_bits(voxels: Voxels) -> bool:
    """Whether any bit is set: a float chunk of -0.0 is not one of zeros."""
    return bool(voxels.view(f"u{voxels.dtype.itemsize}").any())
