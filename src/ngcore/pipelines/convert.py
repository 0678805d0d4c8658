"""From a source to a whole volume, every scale, in one reading.

`prepare` decides everything (type, data type, scales, passes) before a voxel is read or a byte is
written; `convert` then carries it out.
"""

import json
import logging
import math
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from ngcore import volume
from ngcore.affines import volume_to_world_nm
from ngcore.errors import InputError
from ngcore.execution.threads import ThreadPool
from ngcore.formats.chunks import Box, Vec3
from ngcore.formats.digest import ScaleDigest, digested
from ngcore.formats.encodings import ChunkEncoding, make_encoding
from ngcore.formats.info import ScaleInfo, VolumeInfo
from ngcore.formats.pyramid import pyramid_scales
from ngcore.formats.sharding import choose_sharding
from ngcore.pipelines.destination import Destination
from ngcore.pipelines.kept import KeptScale
from ngcore.pipelines.options import ConvertOptions, OptionValues, VolumeKind
from ngcore.pipelines.plan import MEBIBYTE, Level, Pass, Plan, make_plan
from ngcore.pipelines.provenance import provenance_json, with_digests
from ngcore.pipelines.walk import BandWalk, Downsampling, Voxels, empty_planes
from ngcore.readers import open_source
from ngcore.readers.base import Source
from ngcore.storage import ChunkWriter, create_chunks
from ngcore.values import Counts, ValueMapping, choose_output_type

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)

# Small enough that a stored block and its values share the cache, large enough to read well.
_BLOCK_BYTES = 4 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Conversion:
    """Everything that is decided before the first voxel is read.

    Attributes
    ----------
    info : VolumeInfo
        The volume to write.
    mapping : ValueMapping
        From stored values to the volume's.
    downsampling : Downsampling
        How coarser scales are made.
    plan : Plan
        In which pieces.
    side_files : dict of str to bytes
        What lies beside `info`.
    notes : tuple of str
        What was chosen, for the curious.
    warnings : tuple of str
        What the user should know.
    """

    info: VolumeInfo
    mapping: ValueMapping
    downsampling: Downsampling
    plan: Plan
    side_files: dict[str, bytes]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


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


def convert(
    source: object,
    dest: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    **options: Unpack[OptionValues],
) -> volume.Volume:
    """Convert a volume to Neuroglancer's precomputed format, every scale in one reading.

    Parameters
    ----------
    source : path or array
        Any file that nibabel reads, ``.npy``, a TIFF stack, a folder or glob of slices, another
        precomputed volume; or anything with shape, dtype and slicing, axis order (x, y, z) or
        (x, y, z, channel).
    dest : path
        A folder that is empty or not there yet.
    progress : callable, optional
        Called now and then with (voxels done, voxels in all).
    **options
        The options of ``ngcore convert``, with underscores: `ConvertOptions` lists them.

    Returns
    -------
    Volume
        What was written, opened for reading.

    Raises
    ------
    InputError, FormatError
        If the source or an option can't be used. Nothing is left in `dest`.
    DestinationError
        If `dest` holds something already, can't be written or is in use.
    StorageError
        If reading or writing fails midway. `dest` then has no `info`.

    Examples
    --------
    >>> import numpy as np, tempfile, ngcore
    >>> labels = np.zeros((100, 80, 60), np.uint32)
    >>> folder = tempfile.mkdtemp()
    >>> made = ngcore.convert(labels, folder, type="segmentation", resolution=(8, 8, 40))
    >>> [scale.shape for scale in made.scales]
    [(100, 80, 60, 1), (50, 40, 60, 1)]
    """
    asked = ConvertOptions(**options)
    destination = Destination(Path(dest), overwrite=asked.overwrite, source_path=_path_of(source))
    with open_for(source, asked) as opened:
        conversion = prepare(opened, asked)
        with destination:
            destination.begin(conversion.info)
            for note in conversion.notes:
                logger.info(note)
            for warning in conversion.warnings:
                logger.warning(warning)
            outcome = carry_out(conversion, opened, asked, destination, progress)
            _warn_of(outcome.counts, opened.name, conversion.info.data_type)
            side_files = dict(conversion.side_files)
            side_files["provenance"] = with_digests(side_files["provenance"], outcome.digests)
            destination.finish(side_files, fsync=asked.fsync)
    return volume.open(dest)


def open_for(source: object, options: ConvertOptions) -> Source:
    """Open a source the way the options say."""
    return open_source(
        source,
        ignore_scaling=options.ignore_scaling,
        form=options.form,
        orient=options.orient,
        input_orientation=options.input_orientation,
        resolution=options.resolution,
        voxel_offset=options.voxel_offset,
    )


def prepare(source: Source, options: ConvertOptions) -> Conversion:
    """Decide how a source becomes a volume; reads no voxels.

    Parameters
    ----------
    source : Source
        What to convert.
    options : ConvertOptions
        What was asked for.

    Raises
    ------
    InputError
        If the source can't become such a volume.
    """
    suggested = source.suggested_type
    kind: VolumeKind = suggested.type if options.type == "auto" else options.type
    notes = []
    if options.type == "auto":
        notes.append(f"{source.name}: taken as {kind}, since {suggested.reason}")
    num_channels = source.shape[3]
    if kind == "segmentation" and num_channels > 1:
        raise InputError(
            f"{source.name}: a segmentation has one channel, got shape {source.shape}; "
            "pass --type image"
        )
    mapping = choose_output_type(
        source.dtype,
        source.slope,
        source.intercept,
        is_label=kind == "segmentation",
        data_type=options.data_type,
        input_min=options.input_min,
        input_max=options.input_max,
        name=source.name,
    )
    if source.resolution_nm is None:
        raise InputError(
            f"{source.name} says nothing of the size of its voxels; "
            "pass --resolution X,Y,Z in nanometres"
        )
    info, factors = make_info(
        options,
        kind,
        data_type=mapping.output.name,
        size=source.shape[:3],
        num_channels=num_channels,
        resolution=source.resolution_nm,
        voxel_offset=source.voxel_offset,
    )
    for scale in info.scales:
        make_encoding(info, scale, jpeg_quality=options.jpeg_quality)
    method = options.method_for(kind)
    if options.outside_value is not None and method != "average":
        raise InputError(f"--outside-value is for --downsampling average, which is not {method}")
    plan = plan_for(info, factors, source.stream_axis, options)
    return Conversion(
        info,
        mapping,
        Downsampling(method, options.outside_value),
        plan,
        _side_files(source, info, options, method),
        tuple(notes),
        source.notes,
    )


def carry_out(
    conversion: Conversion,
    source: Source,
    options: ConvertOptions,
    destination: Destination,
    progress: Progress | None = None,
) -> Outcome:
    """Write every chunk of every scale.

    Parameters
    ----------
    conversion : Conversion
        What was decided by `prepare`; its plan may be another, the bytes written are the same.
    source : Source
        Is read to its end, and closed.
    options : ConvertOptions
    destination : Destination
        Taken, and begun with the conversion's info.
    progress : callable, optional
        Called now and then with (voxels done, voxels in all).
    """
    return _Run(conversion, source, options, destination, progress).run()


def make_info(
    options: ConvertOptions,
    kind: VolumeKind,
    *,
    data_type: str,
    size: Vec3,
    num_channels: int,
    resolution: tuple[float, float, float],
    voxel_offset: Vec3,
) -> tuple[VolumeInfo, tuple[Vec3, ...]]:
    """Return the info of the volume to write, and the factors from each scale to the next."""
    levels = pyramid_scales(
        size,
        resolution,
        voxel_offset,
        chunk_size=options.chunk_shape,
        max_scales=options.max_scales,
    )
    encoding = options.encoding_for(kind, data_type)
    scales = []
    for level in levels:
        scale = ScaleInfo(
            key=level.key,
            size=level.size,
            resolution=level.resolution,
            voxel_offset=level.voxel_offset,
            chunk_sizes=(level.chunk_size,),
            encoding=encoding,
            compressed_segmentation_block_size=(
                (8, 8, 8) if encoding == "compressed_segmentation" else None
            ),
        )
        if options.sharding:
            sharding = choose_sharding(scale.grid.shape, gzip=options.is_gzipped)
            scale = replace(scale, sharding=sharding)
        scales.append(scale)
    info = VolumeInfo(
        type=kind, data_type=data_type, num_channels=num_channels, scales=tuple(scales)
    )
    return info, (*(level.factors_from_previous for level in levels[1:]), (1, 1, 1))


def plan_for(
    info: VolumeInfo, factors: tuple[Vec3, ...], stream_axis: int, options: ConvertOptions
) -> Plan:
    """Return the plan of a conversion whose voxels arrive along `stream_axis`."""
    return make_plan(
        info,
        factors,
        stream_axis=stream_axis,
        memory_bytes=options.memory_bytes,
        scratch_bytes=_scratch_bytes(info, options),
    )


def _path_of(source: object) -> Path | None:
    return Path(source) if isinstance(source, str | os.PathLike) else None


def _side_files(
    source: Source,
    info: VolumeInfo,
    options: ConvertOptions,
    method: str,
) -> dict[str, bytes]:
    finest = info.scales[0]
    matrix = volume_to_world_nm(source.affine_voxel_to_mm, finest.resolution, finest.voxel_offset)
    rows = ",\n".join("  " + json.dumps([float(value) for value in row]) for row in matrix)
    parameters = {
        "type": info.type,
        "data_type": info.data_type,
        "encoding": finest.encoding,
        "downsampling": method,
        "outside_value": options.outside_value,
        "input_min": options.input_min,
        "input_max": options.input_max,
        "ignore_scaling": options.ignore_scaling,
        "form": options.form,
        "orient": options.orient,
        "resolution": list(finest.resolution),
        "voxel_offset": list(finest.voxel_offset),
    }
    if finest.encoding == "jpeg":
        parameters["jpeg_quality"] = options.jpeg_quality
    return {
        "transform.json": f"[\n{rows}\n]\n".encode(),
        "provenance": provenance_json([Path(source.name).name], parameters),
    }


def _scratch_bytes(info: VolumeInfo, options: ConvertOptions) -> int:
    """Return the memory that threads need beside the row buffers."""
    voxel_bytes = np.dtype(info.data_type).itemsize * info.num_channels
    chunk = max(
        math.prod(min(c, s) for c, s in zip(scale.chunk_size, scale.size, strict=True))
        for scale in info.scales
    )
    # A chunk is copied in order, encoded and compressed; a block of the source is read and mapped.
    per_thread = 4 * chunk * voxel_bytes + 2 * _BLOCK_BYTES
    return per_thread * options.thread_count + _shard_memory(options)


def _shard_memory(options: ConvertOptions) -> int:
    """Return how many bytes of encoded chunks wait in memory for their shard to be complete."""
    return options.memory_bytes // 8 if options.sharding else 0


class _Run:
    """The state of one conversion while it runs: writers, counts and progress."""

    def __init__(
        self,
        conversion: Conversion,
        source: Source,
        options: ConvertOptions,
        destination: Destination,
        progress: Progress | None,
    ) -> None:
        self._conversion = conversion
        self._plan = conversion.plan
        self._info = conversion.info
        self._source = source
        self._options = options
        self._tmp = Path(options.tmp) if options.tmp is not None else destination.work_folder
        self._store = destination.store
        self._progress = progress
        self._counts = Counts()
        self._lock = threading.Lock()
        self._voxels_done = 0
        self._voxels_total = sum(
            math.prod(self._info.scales[step.first_scale].size) for step in self._plan.passes
        )
        self._encodings: list[ChunkEncoding] = []
        self._writers: list[ChunkWriter] = []
        self._digests = [ScaleDigest(self._info, scale) for scale in self._info.scales]

    def run(self) -> Outcome:
        """Write every chunk of every scale."""
        with tempfile.TemporaryDirectory(prefix=".ngcore-", dir=self._tmp) as tmp:
            self._tmp = Path(tmp)
            self._open_writers()
            try:
                with ThreadPool(self._options.thread_count) as pool:
                    self._run_passes(pool)
                for writer in self._writers:
                    writer.finish()
            except BaseException:
                for writer in self._writers:
                    writer.abort()
                raise
        digests = {
            scale.key: str(digest)
            for scale, digest in zip(self._info.scales, self._digests, strict=True)
        }
        return Outcome(self._counts, digests)

    def _open_writers(self) -> None:
        options = self._options
        for index, scale in enumerate(self._info.scales):
            self._encodings.append(
                make_encoding(self._info, scale, jpeg_quality=options.jpeg_quality)
            )
            # Each scale has an eighth of the chunks of the one before, and gets half its memory.
            self._writers.append(
                create_chunks(
                    self._store,
                    self._info,
                    index,
                    layout=options.layout,
                    gzip=options.is_gzipped,
                    memory=_shard_memory(options) >> (index + 1),
                    spool_dir=self._tmp,
                )
            )

    def _run_passes(self, pool: ThreadPool) -> None:
        source, spool = self._source, None
        if source.needs_spool or (source.is_sequential and self._plan.is_cut):
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
            first_is_written=step.first_scale > 0,
            pool=pool,
        )
        planes = _PlaneReader(source, levels[0].needed, mapping)
        walk.run(
            lambda start, stop, out: self._read(planes, start, stop, out),
            part_planes=planes.part_planes,
            is_concurrent=source.is_random_access,
        )

    def _read(self, planes: "_PlaneReader", start: int, stop: int, out: Voxels) -> None:
        counts = planes.read(start, stop, out)
        with self._lock:
            self._counts += counts
            self._voxels_done += math.prod(out.shape[:3])
            if self._progress is not None:
                self._progress(self._voxels_done, self._voxels_total)

    def _write_chunk(self, scale: int, cell: Vec3, voxels: Voxels) -> None:
        writer = self._writers[scale]
        if self._options.sharding and not _has_bits(voxels):
            writer.write(cell, None)
            return
        # The encoder and the digest both want this order: one copy serves the two.
        voxels = np.asfortranarray(voxels)
        encoded = self._encodings[scale].encode(voxels)
        self._digests[scale].add(cell, digested(self._info.scales[scale], encoded, voxels))
        writer.write(cell, encoded)


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
        self.part_planes = max(1, _BLOCK_BYTES // plane_bytes)

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


def _warn_of(counts: Counts, name: str, data_type: str) -> None:
    if counts.clipped:
        logger.warning(
            "%s: %d voxels were clipped to the range of %s", name, counts.clipped, data_type
        )
    if counts.rounded:
        logger.warning("%s: %d voxels were rounded to whole numbers", name, counts.rounded)
