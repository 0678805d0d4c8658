"""Work items: boxes of a volume that one worker turns into whole files, knowing of no other.

An item owns the same box of cells at every scale of its pass, and the box holds whole shards of
each. So two items never write one file, and nobody waits for another's chunks. What an item writes
depends on the volume alone: done twice, it writes the same bytes twice.

An item of large shards is walked in *blocks*, boxes that still make whole chunks of each scale: so
memory is bounded by a block, and encoded chunks wait in a file for their shard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import lcm, prod

import numpy as np

from ngcore.conversion.plan import Level, Pass, factor_between, levels_of, row_bytes
from ngcore.precomputed.chunks import Box, Vec3
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.shard_grid import ShardGrid

_SCALES_PER_PASS = 4
"""The shards of four scales fit in one box of chunks (see `pyramid_chunk_bits`)."""

_CHUNKS_PER_BLOCK = 8 * 8 * 8


@dataclass(frozen=True, slots=True)
class ItemGrid:
    """The items of one pass.

    Attributes
    ----------
    info : VolumeInfo
        The volume to write.
    factors : tuple of tuple of int
        Per scale, how many voxels of it make one voxel of the next; ones for the last.
    step : Pass
        From which scale to which. Its widths are those of an item.
    first_is_read : bool
        Whether the first of these scales was written by the pass before.
    block_widths : tuple of int
        Size of a block per axis, in voxels of the first scale; divides that of an item.
    """

    info: VolumeInfo
    factors: tuple[Vec3, ...]
    step: Pass
    first_is_read: bool
    block_widths: Vec3

    @property
    def blocks(self) -> "ItemGrid":
        """The blocks of all items, as if they were items themselves."""
        return replace(self, step=self.step._replace(widths=self.block_widths))

    def blocks_of(self, place: Vec3) -> Iterator[Vec3]:
        """Yield the place, among all blocks, of those of an item, x fastest."""
        ranges = []
        for axis, blocks in enumerate(self.blocks.shape):
            count = self.step.widths[axis] // self.block_widths[axis]
            ranges.append(range(place[axis] * count, min((place[axis] + 1) * count, blocks)))
        for z, y, x in product(*reversed(ranges)):
            yield x, y, z

    @property
    def shape(self) -> Vec3:
        """Items along x, y, z."""
        size = self.info.scales[self.step.first_scale].size
        x, y, z = (-(-n // width) for n, width in zip(size, self.step.widths, strict=True))
        return x, y, z

    @property
    def count(self) -> int:
        """Items in all."""
        return prod(self.shape)

    def __iter__(self) -> Iterator[Vec3]:
        """Yield the place of every item, x fastest."""
        for place in np.ndindex(*reversed(self.shape)):
            z, y, x = place
            yield x, y, z

    def owned_cells(self, scale: int, place: Vec3) -> tuple[Vec3, Vec3]:
        """Return the first cell that an item writes at a scale, and the one behind the last.

        The last item along an axis takes what is left: with an odd offset a coarser scale can have
        a cell more than the finer ones make one expect.
        """
        if scale == self.step.first_scale and self.first_is_read:
            return (0, 0, 0), (0, 0, 0)
        grid = self.info.scales[scale].grid
        first, stop = [], []
        cells = self._cells_per_item(scale)
        for axis in range(3):
            is_last = place[axis] == self.shape[axis] - 1
            first.append(min(grid.shape[axis], place[axis] * cells[axis]))
            end = (place[axis] + 1) * cells[axis]
            stop.append(grid.shape[axis] if is_last else min(grid.shape[axis], end))
        return _vec3(first), _vec3(stop)

    def owned_box(self, scale: int, place: Vec3) -> Box | None:
        """Return the voxels of an item's cells at a scale, global; None where it has none."""
        first, stop = self.owned_cells(scale, place)
        if not all(a < b for a, b in zip(first, stop, strict=True)):
            return None
        grid = self.info.scales[scale].grid
        last = grid.bounds(_vec3([cell - 1 for cell in stop]))
        return Box(grid.bounds(first).start, last.stop)

    def owners(self, scale: int, box: Box) -> Iterator[Vec3]:
        """Yield the place of every item that owns voxels of a box, global, of a scale."""
        grid = self.info.scales[scale].grid
        ranges = []
        for axis, cells in enumerate(self._cells_per_item(scale)):
            width = cells * grid.chunk_size[axis]
            last = self.shape[axis] - 1
            first = (box.start[axis] - grid.voxel_offset[axis]) // width
            stop = (box.stop[axis] - 1 - grid.voxel_offset[axis]) // width
            ranges.append(range(min(first, last), min(stop, last) + 1))
        for z, y, x in product(*reversed(ranges)):
            yield x, y, z

    def _cells_per_item(self, scale: int) -> Vec3:
        """Return how many cells of a scale an item has along each axis."""
        chunk = self.info.scales[scale].grid.chunk_size
        factor = factor_between(self.factors, self.step.first_scale, scale)
        return _vec3([self.step.widths[axis] // (chunk[axis] * factor[axis]) for axis in range(3)])

    def levels(self, place: Vec3) -> tuple[Level, ...]:
        """Return what an item reads and writes at each scale, finest first."""
        scales = range(self.step.first_scale, self.step.last_scale + 1)
        owned = [self.owned_cells(scale, place) for scale in scales]
        return levels_of(self.info, self.factors, self.step.first_scale, owned)

    def voxels(self, place: Vec3) -> int:
        """Return how many voxels of the first scale are the item's share."""
        size = self.info.scales[self.step.first_scale].size
        sides = zip(size, self.step.widths, place, strict=True)
        return prod(min(n, (index + 1) * width) - index * width for n, width, index in sides)


def item_grids(
    info: VolumeInfo, factors: tuple[Vec3, ...], stream_axis: int
) -> tuple[ItemGrid, ...]:
    """Return the passes of a conversion whose pieces are items, in the order in which they run.

    Parameters
    ----------
    info : VolumeInfo
        The volume to write.
    factors : tuple of tuple of int
        Per scale, how many voxels of it make one voxel of the next, per axis.
    stream_axis : int
        The axis along which the voxels of an item arrive.
    """
    grids: list[ItemGrid] = []
    coarsest = len(info.scales) - 1
    first = 0
    while not grids or first < coarsest:
        is_read = first > 0
        last = min(first + 1, coarsest)
        widths = _widths(info, factors, first, last, first_is_read=is_read)
        # One more scale for as long as that makes items no larger than need be, or twice so:
        # the last shards of a group of scales are a little longer than the others.
        while last < min(first + _SCALES_PER_PASS - 1 + is_read, coarsest):
            wider = _widths(info, factors, first, last + 1, first_is_read=is_read)
            if prod(wider) > max(2 * prod(widths), _block_voxels(info, first, is_read)):
                break
            last, widths = last + 1, wider
        blocks = _block_widths(
            info, factors, first, last, widths, _block_voxels(info, first, is_read)
        )
        memory = row_bytes(info, factors, stream_axis, first, last, blocks)
        step = Pass(first, last, widths, 1, memory)
        grids.append(ItemGrid(info, factors, step, is_read, blocks))
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
    return _vec3(widths)


def _block_voxels(info: VolumeInfo, first: int, is_read: bool) -> int:
    """Return how many voxels of its first scale a block has at most, if it can have so few."""
    return _CHUNKS_PER_BLOCK * prod(info.scales[first].chunk_size) << 3 * is_read


def _block_widths(
    info: VolumeInfo,
    factors: Sequence[Vec3],
    first: int,
    last: int,
    widths: Vec3,
    most_voxels: int,
) -> Vec3:
    """Return the largest box that divides an item and makes whole chunks of each scale."""
    block = list(widths)
    if prod(block) <= most_voxels:
        return widths
    unit = [1, 1, 1]
    for index in range(first, last + 1):
        factor = factor_between(factors, first, index)
        for axis in range(3):
            unit[axis] = lcm(unit[axis], info.scales[index].chunk_size[axis] * factor[axis])
    while prod(block) > most_voxels:
        # The axis along which it is the most units wide.
        halves = [axis for axis in range(3) if block[axis] % (2 * unit[axis]) == 0]
        if not halves:
            break
        block[max(halves, key=lambda axis: block[axis] // unit[axis])] //= 2
    return _vec3(block)


def _vec3(values: Sequence[int]) -> Vec3:
    x, y, z = values
    return x, y, z
