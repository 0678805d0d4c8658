"""The coarser scales of a volume from its finest, all in one reading."""

import logging
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

from ngcore.arrays.values import ValueMapping
from ngcore.classic.folder import (
    has_chunks,
    open_volume,
    record_chunks,
    write_chunks,
    writing_options,
)
from ngcore.conversion.memory import plan_for
from ngcore.conversion.prepare import Conversion
from ngcore.conversion.run import Progress
from ngcore.conversion.walk import Downsampling
from ngcore.downsampling import checked_outside_value
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Box, Vec3
from ngcore.precomputed.encodings import make_encoding
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.volumes.precomputed import open_scale
from ngcore.transaction.changes import Transaction

logger = logging.getLogger(__name__)

_Z = 2
"""The axis along which a volume is read back, a row of chunks at a time."""


def compute_scales(
    dest: str | os.PathLike[str],
    *,
    downsampling: str = "auto",
    outside_value: float | None = None,
    flat: bool = False,
    use_gzip: bool = True,
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Write every scale but the first from the one before; chunk files there are replaced.

    Parameters
    ----------
    dest : path
        Folder of a volume whose finest scale is there.
    downsampling : str
        average, majority, stride, min, max; auto: average for images, majority for segmentations.
    outside_value : float, optional
        average: pad odd edges with this value, rather than average the voxels present.
    flat, use_gzip : bool
        How chunk files lie. Of no use for a sharded volume.
    progress : callable, optional
        Called now and then with (voxels done, voxels in all).
    **options
        `memory`, `workers` and `jpeg_quality` of `ConvertOptions`.

    Raises
    ------
    InputError
        If the finest scale has no chunks, or a scale's resolution is no multiple of the one
        before.
    FormatError
        If a chunk is damaged. What was written of the coarser scales is removed.
    """
    opened = open_volume(dest)
    info = opened.info
    asked = writing_options(
        info,
        flat=flat,
        use_gzip=use_gzip,
        downsampling=downsampling,
        outside_value=outside_value,
        **options,
    )
    method = asked.method_for("segmentation" if info.type == "segmentation" else "image")
    if outside_value is not None and method != "average":
        raise InputError(f"--outside-value is for --downsampling average, which is not {method}")
    checked_outside_value(outside_value, method, info.dtype)
    factors = scale_factors(info)
    if not has_chunks(opened.store, info.scales[0]):
        raise InputError(
            f"{Path(dest) / info.scales[0].key} holds no chunks; write the finest scale first, "
            "with volume-to-raw-chunks or slices-to-raw-chunks"
        )
    if len(info.scales) == 1:
        logger.info("%s has one scale only: there is nothing to compute", dest)
        return
    if info.scales[0].encoding == "jpeg":
        logger.warning(
            "%s: coarser scales are made of JPEG, which has lost detail; `ngcore convert` makes "
            "each from the source",
            os.fspath(dest),
        )
    for scale in info.scales:
        make_encoding(info, scale)  # raises where the encoding can't hold such voxels
    source = open_scale(
        opened.scales[0], AskedGeometry(), os.fspath(dest), workers=asked.thread_count
    )
    conversion = Conversion(
        info,
        ValueMapping(info.dtype, info.dtype),
        Downsampling(method, outside_value),
        # Rows of the finest scale are those of its chunks, so no row is ever kept aside.
        plan_for(info, factors, _Z, asked, source=source),
    )
    with source:
        digests = write_chunks(conversion, source, asked, dest, progress, first_is_written=True)
    parameters: dict[str, Any] = {"downsampling": method, "outside_value": outside_value}
    if any(scale.encoding == "jpeg" for scale in info.scales[1:]):
        parameters["jpeg_quality"] = asked.jpeg_quality
    with Transaction(dest) as change:
        record_chunks(change, "compute-scales", parameters, digests)


def scale_factors(info: VolumeInfo) -> tuple[Vec3, ...]:
    """Return how many voxels of each scale make one of the next, per axis; ones for the last.

    Raises
    ------
    InputError
        If they are no whole numbers, or size and offset of a scale don't go with them.
    """
    factors = [
        _factors_between(finer, coarser, index + 1)
        for index, (finer, coarser) in enumerate(pairwise(info.scales))
    ]
    return (*factors, (1, 1, 1))


def _factors_between(finer: ScaleInfo, coarser: ScaleInfo, index: int) -> Vec3:
    factors, starts, stops = [], [], []
    for axis in range(3):
        ratio = coarser.resolution[axis] / finer.resolution[axis]
        factor = round(ratio)
        # Others write resolutions rounded.
        if abs(ratio - factor) > 1e-3 * factor:
            raise InputError(
                f"scales[{index}].resolution[{axis}] of the info file: {coarser.resolution[axis]} "
                f"is no multiple of {finer.resolution[axis]}, that of the scale before; make the "
                "info file with generate-scales-info"
            )
        factors.append(factor)
        starts.append(finer.bounds.start[axis] // factor)
        stops.append(-(-finer.bounds.stop[axis] // factor))
    expected = Box((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]))
    if coarser.bounds != expected:
        raise InputError(
            f"scales[{index}] of the info file: size {coarser.size} at voxel_offset "
            f"{coarser.voxel_offset}, but the scale before downsampled by {tuple(factors)} has "
            f"size {expected.shape} at {expected.start}; make the info file with "
            "generate-scales-info"
        )
    return factors[0], factors[1], factors[2]
