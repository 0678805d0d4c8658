"""Coarser scales from a finer one that is there: the same walk, the volume being the source."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ngcore.arrays.values import ValueMapping
from ngcore.conversion.plan import plan_for, warnings_of_memory
from ngcore.conversion.prepare import Conversion
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.info import scale_factors
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.volumes.precomputed import open_scale

if TYPE_CHECKING:
    from ngcore.conversion.options import ConvertOptions
    from ngcore.conversion.prepare import Downsampling
    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.sources.base import Source
    from ngcore.volume.scale import ScaleArray

_Z = 2
"""The axis along which a volume is read back, a row of chunks at a time."""


def coarser_conversion(
    finest: ScaleArray,
    info: VolumeInfo,
    downsampling: Downsampling,
    options: ConvertOptions,
    name: str,
) -> tuple[Source, Conversion]:
    """Return a scale as a source, and the conversion that makes the coarser ones of it.

    Parameters
    ----------
    finest : ScaleArray
        What is there.
    info : VolumeInfo
        Its first scale is `finest`, the others are made of it.
    downsampling : Downsampling
    options : ConvertOptions
    name : str
        Of the volume, for messages.

    Raises
    ------
    InputError
        A scale's resolution is not a multiple of the one before.
    """
    source = open_scale(finest, AskedGeometry(), name, workers=options.thread_count)
    # Rows of the finest scale are those of its chunks, so no row is ever kept aside.
    plan = plan_for(info, pyramid_factors(info), _Z, options, source=source)
    plan = plan._replace(first_is_read=True)
    conversion = Conversion(
        info,
        ValueMapping(info.dtype, info.dtype),
        downsampling,
        plan,
        warnings=warnings_of_memory(plan, options),
    )
    return source, conversion


def pyramid_factors(info: VolumeInfo) -> tuple[Vec3, ...]:
    """Return how many voxels of each scale make one of the next, per axis; ones for the last.

    Raises
    ------
    InputError
        If they are not whole numbers, or size and offset of a scale don't go with them.
    """
    factors = [
        _factors_between(finer, coarser, index + 1)
        for index, (finer, coarser) in enumerate(pairwise(info.scales))
    ]
    return (*factors, (1, 1, 1))


def _factors_between(finer: ScaleInfo, coarser: ScaleInfo, index: int) -> Vec3:
    factors = scale_factors(finer, coarser)
    if factors is None:
        pairs = enumerate(zip(finer.resolution, coarser.resolution, strict=True))
        axis, (fine, coarse) = max(pairs, key=lambda pair: _distance(pair[1][1] / pair[1][0]))
        raise InputError(
            f"scales[{index}].resolution[{axis}] of the info file: {coarse} is not a multiple of "
            f"{fine}, that of the scale before; write the info file with generate-scales-info"
        )
    sides = list(zip(finer.bounds.start, finer.bounds.stop, factors, strict=True))
    x0, y0, z0 = (start // factor for start, _, factor in sides)
    x1, y1, z1 = (-(-stop // factor) for _, stop, factor in sides)
    expected = Box((x0, y0, z0), (x1, y1, z1))
    if coarser.bounds != expected:
        raise InputError(
            f"scales[{index}] of the info file: size {coarser.size} at voxel_offset "
            f"{coarser.voxel_offset}, but the scale before downsampled by {factors} has "
            f"size {expected.shape} at {expected.start}; make the info file with "
            "generate-scales-info"
        )
    return factors


def _distance(ratio: float) -> float:
    """Return how far a ratio is from a whole number."""
    return abs(ratio - round(ratio)) / ratio
