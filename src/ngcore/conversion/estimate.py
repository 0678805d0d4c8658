"""What a conversion would do and cost, without doing it: for `--dry-run`, at any size."""

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from ngcore.conversion.convert import destination_of, one_executor
from ngcore.conversion.memory import WORKER_BYTES, bytes_of_item, upload_memory
from ngcore.conversion.options import JPEG_QUALITY, ConvertOptions, VolumeKind
from ngcore.conversion.plan import Plan, plan_for
from ngcore.conversion.prepare import make_info, open_for, prepare
from ngcore.conversion.spread_plan import spread_plan
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.json_members import MAX_SAFE_INTEGER
from ngcore.precomputed.sharding import ShardGrid
from ngcore.sources.base import Source
from ngcore.transaction.output_file import check_output_folder


@dataclass(frozen=True, slots=True)
class ScaleEstimate:
    """One scale: its size in voxels, chunks, files (shards, or chunks) and raw bytes."""

    key: str
    size: Vec3
    resolution: tuple[float, float, float]
    chunk_size: Vec3
    chunks: int
    shards: int | None
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a conversion would write, and what it needs.

    Attributes
    ----------
    scales : tuple of ScaleEstimate
    bytes : int
        Of all voxels as they are before they are compressed.
    files : int
        Chunks or shards of all scales.
    memory_bytes, work_items, passes : int
        Peak resident memory, the number of pieces, and how often voxels are walked through.
    """

    type: str
    data_type: str
    encoding: str
    num_channels: int
    scales: tuple[ScaleEstimate, ...]
    bytes: int
    chunks: int
    files: int
    memory_bytes: int
    work_items: int
    passes: int

    def to_json(self) -> dict[str, object]:
        """Return what JSON holds."""
        return asdict(self)


def estimate(
    source: object | None,
    *,
    dest: str | os.PathLike[str] | None = None,
    shape: Vec3 | None = None,
    executor: object | None = None,
    dask: str | None = None,
    type: Literal["image", "segmentation", "auto"] = "auto",  # noqa: A002 - the option's name
    data_type: str | None = None,
    encoding: str | None = None,
    jpeg_quality: int = JPEG_QUALITY,
    chunk_size: int | Sequence[int] | None = None,
    downsampling: str = "auto",
    max_scales: int | None = None,
    sharding: bool = True,
    layout: Literal["flat", "nested"] = "flat",
    gzip: bool | None = None,
    resolution: Sequence[float] | str | None = None,
    voxel_offset: Sequence[int] | None = None,
    input_min: float | None = None,
    input_max: float | None = None,
    input_orientation: str | None = None,
    gaps: Literal["keep", "blank"] = "keep",
    axes: str | None = None,
    level: int | None = None,
    affine: Any = None,
    form: Literal["auto", "sform", "qform"] = "auto",
    orient: str | None = None,
    ignore_scaling: bool = False,
    label_tolerance: float | None = None,
    outside_value: float | None = None,
    memory: str | int = "1G",
    workers: int | None = None,
    tmp: str | os.PathLike[str] | None = None,
    fsync: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> Estimate:
    """Say what `convert` would do.

    Parameters
    ----------
    source : path or array, or None
        As for `convert`. Voxels are not read.
    dest : path, optional
        As for `convert`: what `convert` would refuse is refused. Nothing is written.
    shape : tuple of int, (x, y, z), in voxels
        Without a source: the size of a volume that need not exist.
    executor : str or distributed.Client, optional
        As for `convert`; nothing is started, and no scheduler is asked. Memory is then that of one
        worker process with one work item.
    dask : str, optional
        The same by the name it has as an option of ``ngcore convert``.
    type, data_type, encoding, jpeg_quality, chunk_size, downsampling, max_scales
        As for `convert`; so are all that follow.
    sharding, layout, gzip, resolution, voxel_offset, input_min, input_max, input_orientation
        As for `convert`.
    gaps, axes, level, affine, form, orient, ignore_scaling, label_tolerance, outside_value
        As for `convert`.
    memory, workers, tmp, fsync, resume, overwrite
        As for `convert`.

    Raises
    ------
    InputError
        If `convert` would refuse, or neither source nor shape, resolution and data type are given.
    DestinationError
        If `convert` would refuse `dest`.
    """
    executor = one_executor(executor, dask)
    asked = ConvertOptions(
        type=type,
        data_type=data_type,
        encoding=encoding,
        jpeg_quality=jpeg_quality,
        chunk_size=chunk_size,
        downsampling=downsampling,
        max_scales=max_scales,
        sharding=sharding,
        layout=layout,
        gzip=gzip,
        resolution=resolution,
        voxel_offset=voxel_offset,
        input_min=input_min,
        input_max=input_max,
        input_orientation=input_orientation,
        gaps=gaps,
        axes=axes,
        level=level,
        affine=affine,
        form=form,
        orient=orient,
        ignore_scaling=ignore_scaling,
        label_tolerance=label_tolerance,
        outside_value=outside_value,
        memory=memory,
        workers=workers,
        tmp=tmp,
        fsync=fsync,
        resume=resume,
        overwrite=overwrite,
    )
    if dest is not None:
        is_uploaded = destination_of(source, dest, asked).store.is_remote
        asked = replace(asked, is_uploaded=is_uploaded)
        check_output_folder(dest)
    if source is not None:
        with open_for(source, asked) as opened:
            plan = prepare(opened, asked, reopen=partial(open_for, source, asked)).plan
            return _estimate_of(plan) if executor is None else _with_items(plan, opened, asked)
    if shape is None:
        raise InputError("a dry run needs SOURCE, or --shape X,Y,Z")
    if asked.resolution_nm is None or asked.data_type is None:
        raise InputError("--shape needs --resolution X,Y,Z and --data-type too")
    if not all(1 <= length <= MAX_SAFE_INTEGER for length in shape):
        raise InputError(
            "--shape must be three sizes in voxels, each at least 1 and below 2^53, got "
            f"{','.join(map(str, shape))}"
        )
    if asked.encoding == "auto":
        raise InputError(
            "--encoding auto needs SOURCE, from which it takes a sample; pass another encoding"
        )
    kind: VolumeKind = "segmentation" if asked.type == "segmentation" else "image"
    offset_x, offset_y, offset_z = asked.voxel_offset or (0, 0, 0)
    info, factors = make_info(
        asked,
        kind,
        data_type=asked.data_type,
        size=shape,
        num_channels=1,
        resolution=asked.resolution_nm,
        voxel_offset=(offset_x, offset_y, offset_z),
    )
    plan = plan_for(info, factors, 2, asked)
    return _estimate_of(plan) if executor is None else _with_items(plan, None, asked)


def _with_items(plan: Plan, source: Source | None, options: ConvertOptions) -> Estimate:
    """Return the estimate for work that is cut into items instead of bands."""
    grids = spread_plan(plan.info, plan.factors, plan.stream_axis)
    return replace(
        _estimate_of(plan),
        memory_bytes=WORKER_BYTES
        + upload_memory(options)
        + bytes_of_item(grids, source, threads=1),
        work_items=sum(grid.count for grid in grids),
        passes=len(grids),
    )


def _estimate_of(plan: Plan) -> Estimate:
    info = plan.info
    voxel_bytes = np.dtype(info.data_type).itemsize * info.num_channels
    scales = []
    for scale in info.scales:
        chunks = scale.grid.count
        shards = None
        if scale.sharding is not None:
            shards = ShardGrid(scale.sharding, scale.grid.shape).count
        scales.append(
            ScaleEstimate(
                key=scale.key,
                size=scale.size,
                resolution=scale.resolution,
                chunk_size=scale.chunk_size,
                chunks=chunks,
                shards=shards,
                files=chunks if shards is None else shards,
                bytes=math.prod(scale.size) * voxel_bytes,
            )
        )
    return Estimate(
        type=info.type,
        data_type=info.data_type,
        encoding=info.scales[0].encoding,
        num_channels=info.num_channels,
        scales=tuple(scales),
        bytes=sum(scale.bytes for scale in scales),
        chunks=sum(scale.chunks for scale in scales),
        files=sum(scale.files for scale in scales),
        memory_bytes=plan.memory_bytes,
        work_items=plan.work_items,
        passes=len(plan.passes),
    )
