"""Boxes of voxels of two scales that show the same place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ngcore.downsampling import downsample
from ngcore.precomputed.chunks import Box

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3
    from ngcore.volume.read import Volume

_MOST_BYTES = 16 << 20
"""Of a region, and of a chunk that is decoded to read it. A thread holds a few of them."""
_MOST_CHUNKS = 512


def scaled_box(box: Box, factors: Vec3) -> Box:
    """Return the box of finer voxels that the coarser voxels of `box` are made from."""
    (x0, y0, z0), (x1, y1, z1), (fx, fy, fz) = box.start, box.stop, factors
    return Box((x0 * fx, y0 * fy, z0 * fz), (x1 * fx, y1 * fy, z1 * fz))


def floor_box(box: Box, factors: Vec3) -> Box:
    """Return the box of coarser voxels that are made from voxels of `box` alone."""
    (x0, y0, z0), (x1, y1, z1), (fx, fy, fz) = box.start, box.stop, factors
    return Box((-(-x0 // fx), -(-y0 // fy), -(-z0 // fz)), (x1 // fx, y1 // fy, z1 // fz))


def fits_memory(volume: Volume, index: int, region: Box | None = None) -> bool:
    """Whether chunks of a scale, and a region of it, can be had by several threads at once.

    And whether it lies in few files: a damaged info may say that chunks hold a voxel each.
    """
    scale = volume.scales[index]
    voxel = volume.info.num_channels * volume.info.dtype.itemsize
    sides = zip(scale.chunk_size, scale.shape[:3], strict=True)
    chunk = math.prod(min(pair) for pair in sides)
    if region is None:
        return chunk * voxel <= _MOST_BYTES
    count = math.prod(
        -(-n // side) for n, side in zip(region.shape, scale.chunk_size, strict=True)
    )
    return max(chunk, math.prod(region.shape)) * voxel <= _MOST_BYTES and count <= _MOST_CHUNKS


def downsampled(
    voxels: NDArray[Any],
    factors: Vec3,
    method: str,
    start: Vec3,
    outside_value: float | None = None,
) -> NDArray[Any]:
    """Return what `method` makes of a region that starts at the global coordinates `start`."""
    return downsample(voxels, factors, method=method, offset=start, outside_value=outside_value)
