"""What a conversion will do, decided before it starts: pure, cheap and picklable.

A volume is walked in rows of chunks along the *stream axis*, the slowest axis of its source. While
a row passes, every coarser scale fills up behind it, so memory holds a row or two of each scale.
Where even that is too much, the other two axes are cut into *regions*: each is walked on its own,
up to the coarsest scale of which it still completes whole chunks; a second, much smaller *pass*
starts from that scale. What is written never depends on the cuts.
"""

from collections.abc import Sequence
from math import ceil, lcm, prod
from typing import NamedTuple

from ngcore.conversion.regions import (
    Pass,
    Regions,
    factor_between,
    region_columns,
    row_bytes,
    whole_chunks,
)
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3, vec3
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.sharding import ShardGrid

MEBIBYTE = 1 << 20
# Python with NumPy, nibabel and Pillow loaded: 60 to 75 MiB measured, and as much again for the
# heap.
INTERPRETER_BYTES = 96 * MEBIBYTE

_SCALES_PER_PASS = 4
"""The shards of four scales fit in one box of chunks (see `pyramid_chunk_bits`)."""

_CHUNKS_PER_BLOCK = 8 * 8 * 8


class Plan(NamedTuple):
    """Every pass of a conversion.

    Attributes
    ----------
    info : VolumeInfo
        The volume to write.
    factors : tuple of tuple of int
        Per scale, how many voxels of it make one voxel of the next; ones for the last.
    stream_axis : int
        The axis along which voxels arrive.
    passes : tuple of Pass
        In the order in which they run.
    scratch_bytes : int
        Memory beside the row buffers and the interpreter.
    threads : int
        How many work at once.
    column_bytes : int
        Memory that the source takes for each column of a region, along the stream axis.
    first_is_read : bool
        Whether the finest scale is there already, so that only the coarser ones are written.
    """

    info: VolumeInfo
    factors: tuple[Vec3, ...]
    stream_axis: int
    passes: tuple[Pass, ...]
    scratch_bytes: int
    threads: int = 1
    column_bytes: int = 0
    first_is_read: bool = False

    @property
    def memory_bytes(self) -> int:
        """The most memory that any pass takes, the interpreter included."""
        buffers = max(step.memory_bytes for step in self.passes)
        return INTERPRETER_BYTES + self.scratch_bytes + buffers

    @property
    def is_cut(self) -> bool:
        """Whether the source is read region by region, which a stream can't be."""
        return self.regions(self.passes[0]).count > 1

    @property
    def work_items(self) -> int:
        """How many regions there are in all passes."""
        return sum(self.regions(step).count for step in self.passes)

    def regions(self, step: Pass) -> Regions:
        """Return the regions of a pass."""
        is_read = step.first_scale > 0 or self.first_is_read
        return Regions(self.info, self.factors, step, is_read, step.widths)


def make_plan(
    info: VolumeInfo,
    factors: tuple[Vec3, ...],
    *,
    stream_axis: int,
    memory_bytes: int,
    scratch_bytes: int,
    scratch_share: float = 0,
    column_bytes: int = 0,
    threads: int = 1,
) -> Plan:
    """Choose the passes and regions with which a conversion stays within its memory.

    Parameters
    ----------
    info : VolumeInfo
        The volume to write.
    factors : tuple of tuple of int
        Per scale, how many voxels of it make one voxel of the next, per axis.
    stream_axis : int
        The axis along which voxels arrive, 0 to 2.
    memory_bytes : int
        The bound on resident memory.
    scratch_bytes : int
        Memory that is needed beside the row buffers.
    scratch_share : float
        How much of each further byte of memory would be needed for that too, 0 to 1.
    column_bytes : int
        Memory that the source takes for each column of a region, along the stream axis.
    threads : int
        How many work at once.

    Raises
    ------
    InputError
        If not even the narrowest regions fit; the message says how much would do.
    """
    budget = memory_bytes - INTERPRETER_BYTES - scratch_bytes
    passes: list[Pass] = []
    first = 0
    while not passes or passes[-1].last_scale < len(info.scales) - 1:
        column = 0 if passes else column_bytes
        step = _choose_pass(info, factors, stream_axis, first, budget, column)
        if step.memory_bytes > budget:
            needed = memory_bytes + (step.memory_bytes - budget) / (1 - scratch_share)
            raise InputError(
                f"rows of chunks of {'x'.join(map(str, info.scales[first].chunk_size))} voxels do "
                f"not fit in --memory {memory_bytes // MEBIBYTE}M; pass at least "
                f"--memory {ceil(needed / MEBIBYTE)}M, or smaller --chunk-size"
            )
        passes.append(step)
        first = step.last_scale
    return Plan(info, factors, stream_axis, tuple(passes), scratch_bytes, threads, column_bytes)


def _choose_pass(
    info: VolumeInfo,
    factors: Sequence[Vec3],
    stream_axis: int,
    first: int,
    budget: int,
    column_bytes: int,
) -> Pass:
    """Return the pass with the fewest regions that fits, or else the smallest there is."""
    size = info.scales[first].size
    coarsest = len(info.scales) - 1
    slower, faster = (1, 2) if stream_axis == 0 else [a for a in (2, 1, 0) if a != stream_axis]

    def attempt(last: int, widths: Sequence[int], row_buffers: int) -> Pass:
        memory = row_bytes(info, factors, stream_axis, first, last, widths) * row_buffers
        columns = region_columns(info, factors, stream_axis, first, last, widths)
        return Pass(first, last, vec3(widths), row_buffers, memory + columns * column_bytes)

    for row_buffers in (2, 1):
        whole = attempt(coarsest, size, row_buffers)
        if whole.memory_bytes <= budget:
            return whole
    smallest = whole
    # A pass makes one more scale at least, unless there is one only.
    for last in range(coarsest, min(first, coarsest - 1), -1):
        unit = whole_chunks(info, factors, first, last)
        for cut_axes in ((slower,), (slower, faster)):
            widths = list(size)
            for axis in cut_axes:
                widths[axis] = min(size[axis], unit[axis])
            smallest = attempt(last, widths, 1)
            if smallest.memory_bytes > budget:
                continue
            grown = cut_axes[-1]
            # As wide as fits, found by halves: there may be millions of units.
            fits, too_wide = 1, -(-size[grown] // unit[grown]) + 1
            while too_wide - fits > 1:
                middle = (fits + too_wide) // 2
                wider = list(widths)
                wider[grown] = min(size[grown], middle * unit[grown])
                if attempt(last, wider, 2).memory_bytes <= budget:
                    fits, widths = middle, wider
                else:
                    too_wide = middle
            double = attempt(last, widths, 2)
            return double if double.memory_bytes <= budget else attempt(last, widths, 1)
    return smallest


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
        memory = row_bytes(info, factors, stream_axis, first, last, blocks)
        if first == 0:
            columns = region_columns(info, factors, stream_axis, first, last, blocks)
            memory += columns * column_bytes
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
