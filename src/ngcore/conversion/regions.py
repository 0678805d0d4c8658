"""Regions: boxes of chunks that are worked on by themselves, by whoever it may be.

A region owns the same box of cells at every scale of its pass. Voxels are read where it needs
them, walked through once, and become its chunks of all these scales. What is written depends on
the volume alone: done twice, a region writes the same bytes twice.

On threads, regions are as large as memory allows. Those that are spread over processes hold whole
shards of each scale, so that no two write one file; large ones are walked in *blocks*, boxes that
still make whole chunks of each scale, and encoded chunks wait in a file for their shard.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import lcm, prod
from typing import NamedTuple

from ngcore.precomputed.chunks import Box, Vec3, vec3
from ngcore.precomputed.info import VolumeInfo


class Level(NamedTuple):
    """One scale within one region.

    Attributes
    ----------
    scale : int
        Index of the scale in the volume's info.
    needed : Box
        Voxels that pass through memory, in the scale's global coordinates.
    first_cell, stop_cell : tuple of int
        The range of chunks, in the scale's grid, that this region writes.
    factors : tuple of int
        How many voxels of this scale make one of the next, per axis.
    """

    scale: int
    needed: Box
    first_cell: Vec3
    stop_cell: Vec3
    factors: Vec3


class Pass(NamedTuple):
    """What is made from one scale: the source for the first pass, then the last one's end.

    Attributes
    ----------
    first_scale, last_scale : int
        The scale that is read, and the coarsest that is made. The first is written in pass 0 only.
    widths : tuple of int
        Size of a region per axis, in voxels of `first_scale`; the whole volume along the stream
        axis.
    row_buffers : int
        Rows of chunks that each scale keeps: 2 let a row fill while the one before is encoded.
    memory_bytes : int
        What the row buffers take, and what the source keeps of the rows it is read by.
    """

    first_scale: int
    last_scale: int
    widths: Vec3
    row_buffers: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of one pass.

    Attributes
    ----------
    info : VolumeInfo
        The volume to write.
    factors : tuple of tuple of int
        Per scale, how many voxels of it make one voxel of the next; ones for the last.
    step : Pass
        From which scale to which. Its widths are those of a region.
    first_is_read : bool
        Whether the first of these scales is there already, as the pass before wrote it.
    block_widths : tuple of int
        Size of a block per axis, in voxels of the first scale; divides that of a region.
    shape : tuple of int
        Regions along x, y, z.
    count : int
        Regions in all.
    """

    info: VolumeInfo
    factors: tuple[Vec3, ...]
    step: Pass
    first_is_read: bool
    block_widths: Vec3
    shape: Vec3 = field(init=False, compare=False)
    count: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        size = self.info.scales[self.step.first_scale].size
        shape = vec3(-(-n // width) for n, width in zip(size, self.step.widths, strict=True))
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "count", prod(shape))

    @property
    def blocks(self) -> "Regions":
        """The blocks of all regions, as if they were regions themselves."""
        return replace(self, step=self.step._replace(widths=self.block_widths))

    def blocks_of(self, place: Vec3) -> Iterator[Vec3]:
        """Yield the place, among all blocks, of those of a region, x fastest."""
        ranges = []
        for axis, blocks in enumerate(self.blocks.shape):
            count = self.step.widths[axis] // self.block_widths[axis]
            ranges.append(range(place[axis] * count, min((place[axis] + 1) * count, blocks)))
        for z, y, x in product(*reversed(ranges)):
            yield x, y, z

    def __iter__(self) -> Iterator[Vec3]:
        """Yield the place of every region, x fastest."""
        columns, rows, _ = self.shape
        for number in range(self.count):  # no list of each axis: there may be millions
            line, x = divmod(number, columns)
            z, y = divmod(line, rows)
            yield x, y, z

    def owned_cells(self, scale: int, place: Vec3) -> tuple[Vec3, Vec3]:
        """Return the first cell that a region writes at a scale, and the one behind the last.

        The last region along an axis takes what is left: with an odd offset a coarser scale can
        have a cell more than the finer ones make one expect.
        """
        if scale == self.step.first_scale and self.first_is_read:
            return (0, 0, 0), (0, 0, 0)
        grid = self.info.scales[scale].grid
        first, stop = [], []
        cells = self._cells_per_region(scale)
        for axis in range(3):
            is_last = place[axis] == self.shape[axis] - 1
            first.append(min(grid.shape[axis], place[axis] * cells[axis]))
            end = (place[axis] + 1) * cells[axis]
            stop.append(grid.shape[axis] if is_last else min(grid.shape[axis], end))
        return vec3(first), vec3(stop)

    def owned_box(self, scale: int, place: Vec3) -> Box | None:
        """Return the voxels of a region's cells at a scale, global; None where it has none."""
        first, stop = self.owned_cells(scale, place)
        if not all(a < b for a, b in zip(first, stop, strict=True)):
            return None
        grid = self.info.scales[scale].grid
        last = grid.bounds(vec3([cell - 1 for cell in stop]))
        return Box(grid.bounds(first).start, last.stop)

    def owners(self, scale: int, box: Box) -> Iterator[Vec3]:
        """Yield the place of every region that owns voxels of a box, global, of a scale."""
        grid = self.info.scales[scale].grid
        ranges = []
        for axis, cells in enumerate(self._cells_per_region(scale)):
            last = self.shape[axis] - 1
            if last == 0:
                ranges.append(range(1))
                continue
            width = cells * grid.chunk_size[axis]
            first = (box.start[axis] - grid.voxel_offset[axis]) // width
            stop = (box.stop[axis] - 1 - grid.voxel_offset[axis]) // width
            ranges.append(range(min(first, last), min(stop, last) + 1))
        for z, y, x in product(*reversed(ranges)):
            yield x, y, z

    def _cells_per_region(self, scale: int) -> Vec3:
        """Return how many cells of a scale a region has along each axis."""
        chunk = self.info.scales[scale].grid.chunk_size
        factor = factor_between(self.factors, self.step.first_scale, scale)
        return vec3([self.step.widths[axis] // (chunk[axis] * factor[axis]) for axis in range(3)])

    def levels(self, place: Vec3) -> tuple[Level, ...]:
        """Return what a region reads and writes at each scale, finest first."""
        levels: list[Level] = []
        # From the coarsest on: a scale is needed where it is written, or the next is made of it.
        for index in range(self.step.last_scale, self.step.first_scale - 1, -1):
            scale, ratio = self.info.scales[index], self.factors[index]
            first, stop = self.owned_cells(index, place)
            boxes = []
            if all(a < b for a, b in zip(first, stop, strict=True)):
                last = vec3([cell - 1 for cell in stop])
                boxes.append(Box(scale.grid.bounds(first).start, scale.grid.bounds(last).stop))
            if levels:
                boxes.append(scaled_up(levels[-1].needed, ratio).intersection(scale.bounds))
            if boxes:
                needed = Box(
                    vec3([min(ends) for ends in zip(*(box.start for box in boxes), strict=True)]),
                    vec3([max(ends) for ends in zip(*(box.stop for box in boxes), strict=True)]),
                )
                levels.append(Level(index, needed, first, stop, ratio))
        return tuple(reversed(levels))

    def share(self, place: Vec3) -> Box:
        """Return the region's share of the first scale, global: each voxel is in that of one.

        What it reads can be more, or less.
        """
        scale = self.info.scales[self.step.first_scale]
        sides = list(zip(scale.voxel_offset, scale.size, self.step.widths, place, strict=True))
        return Box(
            vec3([offset + index * width for offset, _, width, index in sides]),
            vec3([offset + min(n, (index + 1) * width) for offset, n, width, index in sides]),
        )

    def voxels(self, place: Vec3) -> int:
        """Return how many voxels of the first scale are the region's share."""
        return prod(self.share(place).shape)


def scaled_up(box: Box, factors: Vec3) -> Box:
    """Return the voxels of a scale, as if it had no ends, that make the next scale's `box`."""
    return Box(
        vec3([start * factor for start, factor in zip(box.start, factors, strict=True)]),
        vec3([stop * factor for stop, factor in zip(box.stop, factors, strict=True)]),
    )


def whole_chunks(info: VolumeInfo, factors: Sequence[Vec3], first: int, last: int) -> Vec3:
    """Return the smallest box of whole chunks of each of some scales, in voxels of the first."""
    unit = [1, 1, 1]
    for index in range(first, last + 1):
        factor = factor_between(factors, first, index)
        for axis in range(3):
            unit[axis] = lcm(unit[axis], info.scales[index].chunk_size[axis] * factor[axis])
    return vec3(unit)


def row_bytes(
    info: VolumeInfo, factors: Sequence[Vec3], stream_axis: int, first: int, sides: Sequence[Vec3]
) -> int:
    """Return the bytes of a row of chunks of every scale of a pass.

    Parameters
    ----------
    info : VolumeInfo
    factors : sequence of tuple of int
        Per scale of the volume, how many of its voxels make one of the next, per axis.
    stream_axis : int
    first : int
        Index of the first scale of the pass.
    sides : sequence of tuple of int
        Of its widest region, as `region_sides` returns them.
    """
    total = 0
    for index, lengths in enumerate(sides, first):
        scale, planes = info.scales[index], list(lengths)
        thickness = min(scale.chunk_size[stream_axis], scale.size[stream_axis])
        planes[stream_axis] = thickness + factors[index][stream_axis] - 1
        total += prod(planes) * info.dtype.itemsize * info.num_channels
    return total


def region_sides(
    info: VolumeInfo,
    factors: Sequence[Vec3],
    first: int,
    last: int,
    widths: Sequence[int],
) -> list[Vec3]:
    """Return how many voxels of each scale of a pass its widest region needs per axis, at most.

    With an odd offset, cells of a coarser scale start before the chunks of the finer one do.
    """
    sides = []
    for index in range(first, last + 1):
        scale, lengths = info.scales[index], []
        factor = factor_between(factors, first, index)
        for axis, width in enumerate(widths):
            others = -(-info.scales[first].size[axis] // width) - 1
            own = width // factor[axis]
            before = 0
            for coarser in reversed(range(index, last)):
                ratio = factors[coarser][axis]
                before = before * ratio + info.scales[coarser].voxel_offset[axis] % ratio
            longest = max(own, scale.size[axis] - others * own) + before
            lengths.append(min(scale.size[axis], longest))
        sides.append(vec3(lengths))
    return sides


def factor_between(factors: Sequence[Vec3], first: int, scale: int) -> Vec3:
    """Return how many voxels of the scale `first` make one of a coarser scale, per axis."""
    return vec3([prod(step[axis] for step in factors[first:scale]) for axis in range(3)])
