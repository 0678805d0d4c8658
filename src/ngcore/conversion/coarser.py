"""Coarser scales from a finer one that is there: the same walk, the volume being the source."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ngcore.arrays.values import ValueMapping
from ngcore.conversion.memory import plan_for
from ngcore.conversion.prepare import Conversion
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Box
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.volumes.precomputed import open_scale

if TYPE_CHECKING:
    from ngcore.conversion.options import ConvertOptions
    from ngcore.conversion.walk import Downsampling
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
        A scale's resolution is no multiple of the one before.
    """
    source = open_scale(finest, AskedGeometry(), name, workers=options.thread_count)
    conversion = Conversion(
        info,
        ValueMapping(info.dtype, info.dtype),
        downsampling,
        # Rows of the finest scale are those of its chunks, so no row is ever kept aside.
        plan_for(info, scale_factors(info), _Z, options, source=source),
    )
    return source, conversion


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
