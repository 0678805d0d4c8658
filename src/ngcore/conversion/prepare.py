"""What a conversion will be, decided before a voxel is read or a byte is written."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore._version import __version__
from ngcore.arrays.affines import volume_to_world_nm
from ngcore.arrays.output_type import choose_output_type
from ngcore.arrays.values import ValueMapping
from ngcore.conversion.options import JPEG_QUALITY, ConvertOptions, VolumeKind
from ngcore.conversion.plan import Plan, check_spooling, plan_for, warnings_of_memory
from ngcore.downsampling import checked_outside_value
from ngcore.errors import InputError, NoVoxelSizeError
from ngcore.precomputed.chunks import ChunkGrid, Vec3
from ngcore.precomputed.encodings import make_encoding
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.precomputed.names import TRANSFORM_NAME
from ngcore.precomputed.scales import LARGEST_CHUNK_SIDE, PyramidLevel, pyramid_scales
from ngcore.precomputed.sharding import ShardingSpec, choose_sharding, pyramid_chunk_bits
from ngcore.sources import base_name, open_source
from ngcore.sources.base import Source
from ngcore.sources.identity import lasting_identity
from ngcore.volume.provenance import CONVERT, Provenance

if TYPE_CHECKING:
    from ngcore.conversion.likeness import Likeness

_TINY_CHUNK, _MOST_TINY_CHUNKS, _ADVISED_CHUNK = 512, 1 << 20, 1 << 23


_NOTHING: Mapping[str, Any] = {}


class Downsampling(NamedTuple):
    """How voxels of one scale become one voxel of the next."""

    method: str
    outside_value: float | None


class Conversion(NamedTuple):
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
    provenance : Provenance
        Without the seal.
    side_files : mapping of str to bytes
        What else lies beside `info`.
    record : mapping
        Source and options, by which a resumed conversion knows that it is the same.
    notes : tuple of str
        What was chosen, for the curious.
    warnings : tuple of str
        What the user should know.
    likeness : Likeness or None
        Whether an image looks like labels, where a sample of the source has told already.
    looks_for_labels : bool
        Whether that is to be seen while chunks are written: nobody said that it is an image.
    """

    info: VolumeInfo
    mapping: ValueMapping
    downsampling: Downsampling
    plan: Plan
    provenance: Provenance = Provenance()
    side_files: Mapping[str, bytes] = _NOTHING
    record: Mapping[str, Mapping[str, Any]] = _NOTHING
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    likeness: "Likeness | None" = None
    looks_for_labels: bool = False


def open_for(source: object, options: ConvertOptions) -> Source:
    """Open a source the way the options say."""
    return open_source(
        source,
        ignore_scaling=options.ignore_scaling,
        form=options.form,
        orient=options.orient,
        input_orientation=options.input_orientation,
        gaps=options.gaps,
        type=options.type,
        resolution=options.resolution_nm,
        voxel_offset=options.voxel_offset,
        affine=options.affine,
        axes=options.axes,
        level=options.level,
        workers=options.thread_count,
    )


class Content(NamedTuple):
    """What a volume of a source will hold.

    Attributes
    ----------
    kind : "image" or "segmentation"
    mapping : ValueMapping
        From stored values to those of the volume's data type.
    resolution : tuple of float, (x, y, z), in nanometres
    notes : tuple of str
        What was chosen without being asked, one line each.
    """

    kind: VolumeKind
    mapping: ValueMapping
    resolution: tuple[float, float, float]
    notes: tuple[str, ...]


def decide_content(source: Source, options: ConvertOptions) -> Content:
    """Decide whether a source is an image or a segmentation, and what its values become.

    Raises
    ------
    InputError
        If the source can't become such a volume, or does not say how large its voxels are.
    """
    suggested = source.header.suggested_type
    kind: VolumeKind = suggested.type if options.type == "auto" else options.type
    notes: tuple[str, ...] = ()
    if options.type == "auto":
        notes = (f"{source.name}: taken as {kind}, since {suggested.reason}",)
    if kind == "segmentation" and source.shape[3] > 1:
        why = f" (taken as one, since {suggested.reason})" if options.type == "auto" else ""
        raise InputError(
            f"{source.name}: a segmentation has one channel, got shape {source.shape}{why}; "
            "pass --type image"
        )
    mapping = choose_output_type(
        source.dtype,
        source.header.slope,
        source.header.intercept,
        is_label=kind == "segmentation",
        data_type=options.data_type,
        input_min=options.input_min,
        input_max=options.input_max,
        label_tolerance=options.label_tolerance,
        name=source.name,
    )
    if source.header.resolution_nm is None:
        raise NoVoxelSizeError(
            f"{source.name} has no voxel size; pass --resolution X,Y,Z in nanometres"
        )
    return Content(kind, mapping, source.header.resolution_nm, notes)


def prepare(
    source: Source,
    options: ConvertOptions,
    *,
    identity: Mapping[str, str] | None = None,
    reopen: Callable[[], Source] | None = None,
) -> Conversion:
    """Decide how a source becomes a volume; reads no voxels, but for `--encoding auto`.

    Parameters
    ----------
    source : Source
        What to convert.
    options : ConvertOptions
        What was asked for.
    identity : mapping of str to str, optional
        What tells the source from another one; see `ngcore.sources.identity`.
    reopen : callable, optional
        Opens the source once more, for a sample of it.

    Raises
    ------
    InputError
        If the source can't become such a volume.
    """
    kind, mapping, resolution, notes = decide_content(source, options)
    make = partial(
        make_info,
        kind=kind,
        data_type=mapping.output.name,
        size=source.shape[:3],
        num_channels=source.shape[3],
        resolution=resolution,
        voxel_offset=source.header.voxel_offset,
    )
    may_be_labels = options.type == "auto" and kind == "image" and source.shape[3] == 1
    likeness: Likeness | None = None
    if options.encoding == "auto":
        if reopen is None:
            raise InputError("--encoding auto needs a source to sample; pass another encoding")
        from ngcore.conversion.sample import look_at

        info, _ = make(replace(options, encoding="raw"))
        look = look_at(info, mapping, options, reopen, looks_for_labels=may_be_labels)
        options, likeness = replace(options, encoding=look.encoding), look.likeness
        notes += (f"{source.name}: encoding {options.encoding}, the smallest on a sample",)
    info, factors = make(options)
    segments: dict[str, bytes] = {}
    if kind == "segmentation" and source.header.segments:
        from ngcore.conversion.segments import FOLDER, segment_files  # few sources name labels

        segments = segment_files(source.header.segments)
        if segments:
            info = replace(info, segment_properties=FOLDER)
    for scale in info.scales:
        make_encoding(info, scale, jpeg_quality=options.jpeg_quality)
    method = options.method_for(kind)
    if options.outside_value is not None and method != "average":
        raise InputError(f"--outside-value is for --downsampling average, got {method}")
    checked_outside_value(options.outside_value, method, mapping.output, name="--outside-value")
    plan = plan_for(info, factors, source.stream_axis, options, source=source, mapping=mapping)
    check_spooling(source, plan, options)
    parameters = _parameters(info, options, method)
    if kind == "segmentation" and (source.header.slope, source.header.intercept) == (1, 0):
        # Labels become uint32 or uint64, and what they were would be forgotten: see export.
        parameters["source_data_type"] = source.dtype.name
    if source.header.facts:
        parameters["source_facts"] = dict(source.header.facts)
    lasting = lasting_identity(identity or {})
    known = {"source": lasting} if lasting else {}
    return Conversion(
        info,
        mapping,
        Downsampling(method, options.outside_value),
        plan,
        Provenance.of([base_name(source.name)], CONVERT, {**parameters, **known}),
        {
            TRANSFORM_NAME: transform_json(
                source, info.scales[0].resolution, info.scales[0].voxel_offset
            ),
            **segments,
        },
        {
            "source": dict(identity or {}),
            "options": {
                **parameters,
                "version": __version__,
                "sharding": options.sharding,
                "layout": options.layout,
                "gzip": options.is_gzipped,
            },
        },
        notes,
        (
            *source.header.notes,
            *_warnings_of(info, options, method),
            *warnings_of_memory(plan, options),
        ),
        likeness,
        may_be_labels and likeness is None,
    )


def _warnings_of(info: VolumeInfo, options: ConvertOptions, method: str) -> list[str]:
    """Return which options do no good, and what will look wrong in Neuroglancer."""
    encoding = info.scales[0].encoding
    warnings = []
    if options.jpeg_quality != JPEG_QUALITY and encoding != "jpeg":
        warnings.append(
            f"--jpeg-quality has no effect, as chunks are {encoding}; pass --encoding jpeg too"
        )
    if info.type == "segmentation" and method == "average":
        warnings.append(
            "--downsampling average mixes labels: coarser scales get labels that are not in the "
            "source; pass --downsampling majority"
        )
    for scale in info.scales:
        sides = [min(c, n) for c, n in zip(scale.chunk_size, scale.size, strict=True)]
        if max(sides) > LARGEST_CHUNK_SIDE:
            return [
                *warnings,
                f"Neuroglancer draws chunks of {'x'.join(map(str, sides))} voxels black, as a "
                f"side is over {LARGEST_CHUNK_SIDE}; pass --chunk-size",
            ]
    return warnings


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
        voxel_bytes=np.dtype(data_type).itemsize * num_channels,
    )
    _refuse_tiny_chunks(levels[0])
    encoding = options.encoding
    if encoding is None:
        is_compressible = kind == "segmentation" and data_type in ("uint32", "uint64")
        encoding = "compressed_segmentation" if is_compressible else "raw"
    if kind == "segmentation" and encoding == "jpeg":
        raise InputError(
            "--encoding jpeg changes labels; leave it out, or pass --type image if these are "
            "not labels"
        )
    shardings: list[ShardingSpec | None] = [None] * len(levels)
    if options.sharding:
        grids = [ChunkGrid(level.size, level.chunk_size) for level in levels]
        bits = pyramid_chunk_bits([grid.count for grid in grids])
        shardings = [
            choose_sharding(grid.shape, gzip=options.is_gzipped, chunk_bits=chunk_bits)
            for grid, chunk_bits in zip(grids, bits, strict=True)
        ]
    block_size = (8, 8, 8) if encoding == "compressed_segmentation" else None
    scales = tuple(
        ScaleInfo(
            key=level.key,
            size=level.size,
            resolution=level.resolution,
            voxel_offset=level.voxel_offset,
            chunk_sizes=(level.chunk_size,),
            encoding=encoding,
            compressed_segmentation_block_size=block_size,
            sharding=sharding,
        )
        for level, sharding in zip(levels, shardings, strict=True)
    )
    info = VolumeInfo(type=kind, data_type=data_type, num_channels=num_channels, scales=scales)
    return info, (*(level.factors_from_previous for level in levels[1:]), (1, 1, 1))


def _refuse_tiny_chunks(finest: PyramidLevel) -> None:
    """Refuse millions of chunks of a few voxels, which take hours for no use."""
    grid = ChunkGrid(finest.size, finest.chunk_size)
    voxels = math.prod(finest.size) // grid.count
    if grid.count <= _MOST_TINY_CHUNKS or voxels >= _TINY_CHUNK:
        return
    sides = [
        min(LARGEST_CHUNK_SIDE, 1 << (size - 1).bit_length()) if count > 1 else side
        for size, count, side in zip(finest.size, grid.shape, finest.chunk_size, strict=True)
    ]
    while math.prod(sides) > _ADVISED_CHUNK and max(sides) > 1:
        sides[sides.index(max(sides))] //= 2
    raise InputError(
        f"{'x'.join(map(str, finest.size))} voxels make {grid.count} chunks of {voxels} voxels; "
        f"pass larger ones, such as --chunk-size {','.join(map(str, sides))}"
    )


def transform_json(
    source: Source, resolution: tuple[float, float, float], voxel_offset: Vec3
) -> bytes:
    """Return the content of `transform.json`: from the volume's nanometres to the source's world.

    Parameters
    ----------
    source : Source
    resolution : tuple of float, (x, y, z), in nanometres
    voxel_offset : tuple of int, (x, y, z), in voxels
        Both as the volume's `info` has them.
    """
    matrix = volume_to_world_nm(source.header.affine_voxel_to_mm, resolution, voxel_offset)
    rows = ",\n".join("  " + json.dumps([float(value) for value in row]) for row in matrix)
    return f"[\n{rows}\n]\n".encode()


def _parameters(info: VolumeInfo, options: ConvertOptions, method: str) -> dict[str, Any]:
    """Return the options that shaped the data, as `provenance` has them."""
    finest = info.scales[0]
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
        "input_orientation": options.input_orientation,
        **({} if options.gaps == "keep" else {"gaps": options.gaps}),
        "resolution": list(finest.resolution),
        "voxel_offset": list(finest.voxel_offset),
    }
    for name in ("axes", "level", "affine", "label_tolerance"):
        if getattr(options, name) is not None:
            parameters[name] = getattr(options, name)
    if finest.encoding == "jpeg":
        parameters["jpeg_quality"] = options.jpeg_quality
    return parameters
