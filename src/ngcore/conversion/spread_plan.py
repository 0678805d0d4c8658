"""How a conversion is cut into work items for other processes, and the memory that they take."""

from collections.abc import Sequence
from math import lcm, prod
from typing import NamedTuple

from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.plan import MEBIBYTE, bytes_per_thread, upload_memory
from ngcore.conversion.regions import (
    Pass,
    Regions,
    factor_between,
    region_sides,
    row_bytes,
    whole_chunks,
)
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3, vec3
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.sharding import ShardGrid
from ngcore.sources.base import Source

WORKER_BYTES = 160 * MEBIBYTE
"""An estimate of what a worker process of Dask takes that has loaded ngcore."""

COORDINATOR_BYTES = 192 * MEBIBYTE
"""An estimate of what the process takes that has the scheduler and orders the items."""

_SMALLEST_SHARD_MEMORY = 8 * MEBIBYTE

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


class ItemMemory(NamedTuple):
    """How an item shares out the memory that it has.

    Attributes
    ----------
    row_buffers : int
        Rows of chunks that each scale keeps.
    shard_memory : int, in bytes
        How much of encoded chunks may wait in memory; the others wait in a temporary file.
    """

    row_buffers: int
    shard_memory: int


class Processes(NamedTuple):
    """How work is spread on one machine: processes, and the threads of an item in each."""

    number: int
    threads: int


def bytes_of_item(grids: Sequence[Regions], source: Source | None, threads: int) -> int:
    """Return the memory that the largest item needs, with one row of chunks per scale."""
    return max(grid.step.memory_bytes for grid in grids) + _scratch_bytes(grids, source, threads)


def processes_here(grids: Sequence[Regions], source: Source, options: ConvertOptions) -> Processes:
    """Return as many processes as fit in `--memory`, up to one for each of `--workers`.

    Between them they use as many threads, or as many as fit.

    Raises
    ------
    InputError
        If not even one fits.
    """
    workers = options.thread_count
    useful = min(workers, max(grid.count for grid in grids))
    choices = [Processes(count, max(1, workers // count)) for count in range(useful, 0, -1)]
    choices += [Processes(1, threads) for threads in range(workers - 1, 0, -1)]
    needs = []
    for choice in choices:
        each = WORKER_BYTES + bytes_of_item(grids, source, choice.threads) + _SMALLEST_SHARD_MEMORY
        each += upload_memory(options)
        needs.append(COORDINATOR_BYTES + choice.number * each)
        if needs[-1] <= options.memory_bytes:
            return choice
    raise _too_little(options, min(needs), "one worker process and its scheduler")


def bytes_per_process(options: ConvertOptions, processes: int) -> int:
    """Return what each of some processes on this machine may take of `--memory`."""
    return (options.memory_bytes - COORDINATOR_BYTES) // processes


def memory_of_items(
    grids: Sequence[Regions],
    source: Source,
    options: ConvertOptions,
    *,
    process_bytes: int,
    items_per_process: int,
    threads: int,
) -> ItemMemory:
    """Return how each item may use its share of a process.

    Parameters
    ----------
    grids : sequence of Regions
        Of all passes.
    source : Source
    options : ConvertOptions
    process_bytes : int
        The bound on the resident memory of a process.
    items_per_process : int
        How many items a process has at once.
    threads : int
        How many threads an item uses.

    Raises
    ------
    InputError
        If it is too little.
    """
    # All items of a process share what is on its way.
    fixed = WORKER_BYTES + upload_memory(options)
    room = (process_bytes - fixed) // items_per_process
    room -= _scratch_bytes(grids, source, threads)
    rows = max(grid.step.memory_bytes for grid in grids)
    if room < rows + _SMALLEST_SHARD_MEMORY:
        need = bytes_of_item(grids, source, threads) + _SMALLEST_SHARD_MEMORY
        what = f"a worker process with {items_per_process} items at once"
        raise _too_little(options, fixed + items_per_process * need, what)
    row_buffers = 2 if room >= 2 * rows + _SMALLEST_SHARD_MEMORY else 1
    return ItemMemory(row_buffers, min(room - row_buffers * rows, options.memory_bytes // 8))


def _scratch_bytes(grids: Sequence[Regions], source: Source | None, threads: int) -> int:
    """Return what the threads of an item need beside the rows of chunks, and its source."""
    per_thread = bytes_per_thread(grids[0].info)
    row = 0
    if (
        source is not None and source.cost.row_planes > 1
    ):  # rows of the source's own chunks are decoded, and kept
        sides = [min(a, b) for a, b in zip(grids[0].block_widths, source.shape, strict=False)]
        sides[source.stream_axis] = source.cost.row_planes
        row = 2 * prod(sides) * source.shape[3] * source.dtype.itemsize
        if source.cost.is_shareable:  # else what it is unpacked to is read
            row += source.cost.bytes_per_thread
    return per_thread * threads + row


def _too_little(options: ConvertOptions, needed: int, what: str) -> InputError:
    return InputError(
        f"--memory {options.memory_bytes // MEBIBYTE}M is too little for {what}; pass at least "
        f"--memory {-(-needed // MEBIBYTE)}M, or a smaller --chunk-size"
    )
