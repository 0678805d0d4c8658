"""The finest scale of a volume whose `info` is there, from a volume file or from slices."""

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ngcore._verbs import Progress, told
from ngcore.arrays.values import ValueMapping
from ngcore.classic.folder import open_volume, record_chunks, write_chunks, writing_options
from ngcore.conversion.options import JPEG_QUALITY, ConvertOptions
from ngcore.conversion.plan import plan_for, warnings_of_memory
from ngcore.conversion.prepare import Conversion, Downsampling, open_for
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.encodings import make_encoding
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.sources.base import Source
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.slices.folder import SlicesSource
from ngcore.sources.volumes.slice_stacks import TIFF_ENDINGS
from ngcore.transaction.changes import Transaction
from ngcore.transaction.places import is_same_place

logger = logging.getLogger(__name__)


def volume_to_raw_chunks(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    sharding: ShardingSpec | None = None,
    flat: bool = False,
    use_gzip: bool = True,
    progress: bool | Progress | None = None,
    ignore_scaling: bool = False,
    input_min: float | None = None,
    input_max: float | None = None,
    jpeg_quality: int = JPEG_QUALITY,
    memory: str | int = "1G",
    workers: int | None = None,
) -> None:
    """Write the chunks of a volume's finest scale; chunk files that are there are replaced.

    Parameters
    ----------
    source : path
        What `ngcore.convert` takes, of the size and number of channels that DEST/info says.
    dest : path
        Folder with an `info` file, which says data type, encoding and sharding.
    sharding : ShardingSpec, optional
        Refuse a DEST/info that says another one.
    flat, use_gzip : bool
        ``KEY/X_Y_Z`` rather than ``KEY/X/Y/Z``; ``.gz`` files. Of no use for a sharded volume.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in all).
    ignore_scaling : bool
        Use stored values, without slope and intercept.
    input_min, input_max : float, optional
        Map this range of values to the full range of an integer data type.
    jpeg_quality : int, 1 to 100
    memory : str or int
        Bound on resident memory, such as ``"2G"``, or in bytes.
    workers : int, optional
        How many threads; default all cores.

    Raises
    ------
    InputError, FormatError
        If the source can't be read, or is not what DEST/info describes. Where that shows midway,
        the chunks of the scale are removed.
    """
    tell = told(progress)
    info = open_volume(dest).info
    if sharding is not None:
        _check_sharding(info, sharding, dest)
    asked = writing_options(
        info,
        dest,
        flat=flat,
        use_gzip=use_gzip,
        voxel_offset=info.scales[0].voxel_offset,
        ignore_scaling=ignore_scaling,
        input_min=input_min,
        input_max=input_max,
        jpeg_quality=jpeg_quality,
        memory=memory,
        workers=workers,
    )
    if is_same_place(source, dest):
        raise InputError(
            f"{os.fspath(source)}: source and destination are the same folder; pass another DEST"
        )
    with open_for(source, asked) as opened:
        parameters = {
            "input_min": asked.input_min,
            "input_max": asked.input_max,
            "ignore_scaling": asked.ignore_scaling,
        }
        names = [Path(source).name]
        _write(opened, info, asked, dest, tell, "volume-to-raw-chunks", names, parameters)


def slices_to_raw_chunks(
    folders: Sequence[str | os.PathLike[str]],
    dest: str | os.PathLike[str],
    *,
    input_orientation: str = "RAS",
    flat: bool = False,
    use_gzip: bool = True,
    progress: bool | Progress | None = None,
    jpeg_quality: int = JPEG_QUALITY,
    memory: str | int = "1G",
    workers: int | None = None,
) -> None:
    """Write the chunks of a volume's finest scale from folders of 2-D slices, one per channel.

    The other parameters, and what is raised, are those of `volume_to_raw_chunks`.

    Parameters
    ----------
    folders : sequence of path
        Folders, or glob patterns; the channels of each follow those of the one before. Or a
        single TIFF stack.
    input_orientation : str
        Anatomical direction of increasing column, row and slice. The volume is in RAS order.
    """
    tell = told(progress)
    info = open_volume(dest).info
    asked = writing_options(
        info,
        dest,
        flat=flat,
        use_gzip=use_gzip,
        input_orientation=input_orientation,
        voxel_offset=info.scales[0].voxel_offset,
        jpeg_quality=jpeg_quality,
        memory=memory,
        workers=workers,
    )
    names = [os.fspath(folder) for folder in folders]
    with _open_slices(names, asked, is_label=info.type == "segmentation") as opened:
        parameters = {"input_orientation": input_orientation.upper()}
        names = [Path(name).name for name in names]
        _write(opened, info, asked, dest, tell, "slices-to-raw-chunks", names, parameters)


def _open_slices(names: Sequence[str], options: ConvertOptions, *, is_label: bool) -> Source:
    if len(names) == 1 and Path(names[0]).is_file():
        if not names[0].lower().endswith(TIFF_ENDINGS):
            raise InputError(
                f"{names[0]} is neither a folder of slices nor a TIFF stack; give the folder that "
                "holds it, or use volume-to-raw-chunks"
            )
        return open_for(names[0], options)
    return SlicesSource(
        names,
        input_orientation=options.input_orientation,
        asked=AskedGeometry(voxel_offset=_vec3(options.voxel_offset)),
        is_label=is_label,
        workers=options.thread_count,
    )


def _write(
    source: Source,
    info: VolumeInfo,
    options: ConvertOptions,
    dest: str | os.PathLike[str],
    progress: Progress | None,
    task: str,
    names: Sequence[str],
    parameters: dict[str, Any],
) -> None:
    conversion = _finest_scale(source, info, options)
    digests = write_chunks(conversion, source, options, dest, progress, command=task)
    if conversion.info.scales[0].encoding == "jpeg":
        parameters = {**parameters, "jpeg_quality": options.jpeg_quality}
    with Transaction(dest) as change:
        record_chunks(change, task, parameters, digests, sources=names)


def _finest_scale(source: Source, info: VolumeInfo, options: ConvertOptions) -> Conversion:
    scale = info.scales[0]
    expected = (*scale.size, info.num_channels)
    if source.shape != expected:
        raise InputError(
            f"{source.name}: x, y, z and channels are {_times(source.shape)}, but the info file "
            f"says {_times(expected)}; write an info file for this volume"
            + "".join(f" ({note})" for note in source.header.notes)
        )
    warnings, resolution = source.header.notes, source.header.resolution_nm
    if resolution is not None and not all(
        math.isclose(a, b, rel_tol=1e-5) for a, b in zip(resolution, scale.resolution, strict=True)
    ):
        warnings += (
            f"{source.name}: voxels are {_times(resolution)} nm, but the info file says "
            f"{_times(scale.resolution)} nm, which is used",
        )
    # compressed_segmentation is for labels, whatever the type says: they must come out exact.
    is_label = info.type == "segmentation" or scale.encoding == "compressed_segmentation"
    mapping = ValueMapping(
        source.dtype,
        info.dtype,
        source.header.slope,
        source.header.intercept,
        options.input_min,
        options.input_max,
        is_label,
        source.name,
    )
    make_encoding(info, scale)  # raises where the encoding can't hold such voxels
    part = replace(info, scales=(scale,))
    plan = plan_for(
        part, ((1, 1, 1),), source.stream_axis, options, source=source, mapping=mapping
    )
    warnings += warnings_of_memory(plan, options)
    return Conversion(part, mapping, Downsampling("stride", None), plan, warnings=warnings)


def _check_sharding(info: VolumeInfo, wanted: ShardingSpec, dest: str | os.PathLike[str]) -> None:
    found = info.scales[0].sharding
    if found is None or _bits(found) != _bits(wanted):
        raise InputError(
            f"--sharding: {os.fspath(dest)}/info is not sharded that way; write it again: "
            "--generate-info --sharding, then generate-scales-info"
        )


def _bits(spec: ShardingSpec) -> tuple[int, int, int]:
    return spec.minishard_bits, spec.shard_bits, spec.preshift_bits


def _vec3(values: Sequence[int] | None) -> Vec3:
    x, y, z = values or (0, 0, 0)
    return x, y, z


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{number:.10g}" for number in numbers)
