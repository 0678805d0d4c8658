"""How a conversion is cut into work items for other processes."""

from collections.abc import Sequence
from math import lcm, prod

from ngcore.conversion.regions import (
    Pass,
    Regions,
    factor_between,
    region_sides,
    row_bytes,
    whole_chunks,
)
from ngcore.precomputed.chunks import Vec3, vec3
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.sharding import ShardGrid

_SCALES_PER_PASS = 4
"""The shards of four scales fit in one box of chunks (see `pyramid_chunk_bits`)."""

_CHUNKS_PER_BLOCK = 8 * 8 * 8


def spread_plan(
    info: VolumeInfo,
    factors: tuple[Vec3, ...],
    stream_axis: int,
    *,
    scales_per_pass: int = _SCALES_PER_PASS,
    block_chunks: int = _CHUNKS_PER_BLOCK,
    column_bytes: int = 0,
    first_is_read: bool = False,
) -> tuple[Regions, ...]:
    """Return the regions of each pass of a conversion, such that they hold whole shards.

    Parameters
    ----------
    info : VolumeInfo
        The volume to write.
    factors : tuple of tuple of int
        Per scale, how many voxels of it make one voxel of the next, per axis.
    stream_axis : int
        The axis along which the voxels of a region arrive.
    scales_per_pass : int
        How many are made at once, at most: of fewer, blocks can be smaller.
    block_chunks : int
        Chunks of the finest scale in a block, if it can have so few.
    column_bytes : int
        Memory that the source takes for each column of a block.
    first_is_read : bool
        Whether the finest scale is there already.
    """
    grids: list[Regions] = []
    coarsest = len(info.scales) - 1
    first = 0
    while not grids or first < coarsest:
        is_read = first > 0 or first_is_read
        last = min(first + 1, coarsest)
        widths = _widths(info, factors, first, last, first_is_read=is_read)
        most_voxels = block_chunks * prod(info.scales[first].chunk_size) << 3 * is_read
        # One more scale for as long as that makes regions no larger than need be, or twice so:
        # the last shards of a group of scales are a little longer than the others.
        while last < min(first + scales_per_pass - 1 + is_read, coarsest):
            wider = _widths(info, factors, first, last + 1, first_is_read=is_read)
            if prod(wider) > max(2 * prod(widths), most_voxels):
                break
            last, widths = last + 1, wider
        blocks = _block_widths(info, factors, first, last, widths, most_voxels)
        sides = region_sides(info, factors, first, last, blocks)
        memory = row_bytes(info, factors, stream_axis, first, sides)
        if first == 0:
            memory += prod(sides[0]) // sides[0][stream_axis] * column_bytes
        step = Pass(first, last, widths, 1, memory)
        grids.append(Regions(info, factors, step, is_read, blocks))
        first = last
    return tuple(grids)


def _widths(
    info: VolumeInfo, factors: Sequence[Vec3], first: int, last: int, *, first_is_read: bool
) -> Vec3:
    """Return the smallest box of whole shards of each scale, in voxels of the first."""
    widths = [1, 1, 1]
    for index in range(first, last + 1):
        if index == first and first_is_read:
            continue
        scale = info.scales[index]
        cells: Vec3 = (1, 1, 1)
        if scale.sharding is not None:
            box = ShardGrid(scale.sharding, scale.grid.shape).box_shape
            cells = box if box is not None else scale.grid.shape
        factor = factor_between(factors, first, index)
        for axis in range(3):
            width = cells[axis] * scale.chunk_size[axis] * factor[axis]
            widths[axis] = lcm(widths[axis], width)
    return vec3(widths)


def _block_widths(
    info: VolumeInfo,
    factors: Sequence[Vec3],
    first: int,
    last: int,
    widths: Vec3,
    most_voxels: int,
) -> Vec3:
    """Return the largest box that divides a region and makes whole chunks of each scale."""
    block = list(widths)
    if prod(block) <= most_voxels:
        return widths
    unit = whole_chunks(info, factors, first, last)
    while prod(block) > most_voxels:
        # The axis along which it is the most units wide.
        halves = [axis for axis in range(3) if block[axis] % (2 * unit[axis]) == 0]
        if not halves:
            break
        block[max(halves, key=lambda axis: block[axis] // unit[axis])] //= 2
    return vec3(block)
