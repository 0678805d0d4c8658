"""How much memory a conversion takes, on threads or spread over processes, and what fits in it."""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ngcore.arrays.values import ValueMapping
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.plan import INTERPRETER_BYTES, MEBIBYTE, Plan, make_plan
from ngcore.conversion.regions import Regions
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.info import VolumeInfo
from ngcore.sources.base import Source

# Small enough that a stored block and its values share the cache, large enough to read well.
BLOCK_BYTES = 4 * MEBIBYTE
_SHARD_SHARE = 1 / 8
_LARGEST_VALUE_BYTES = 8
"""No stored type, and none to which values are mapped, is larger."""


WORKER_BYTES = 160 * MEBIBYTE
"""An estimate of what a worker process of Dask takes that has loaded ngcore."""

COORDINATOR_BYTES = 192 * MEBIBYTE
"""An estimate of what the process takes that has the scheduler and orders the items."""

_SMALLEST_SHARD_MEMORY = 8 * MEBIBYTE


def plan_for(
    info: VolumeInfo,
    factors: tuple[Vec3, ...],
    stream_axis: int,
    options: ConvertOptions,
    *,
    source: Source | None = None,
    mapping: ValueMapping | None = None,
) -> Plan:
    """Return the plan of a conversion whose voxels arrive along `stream_axis`.

    Parameters
    ----------
    source : Source, optional
        Counts towards the memory, and is told how many threads it may use.
    mapping : ValueMapping, optional
        From its values to the volume's, which takes memory too; None where rows of the source are
        those of the volume's chunks, and stay as they are.

    Raises
    ------
    InputError
        If `--memory` is too little.
    """
    for threads in _thread_counts(info, options):
        scratch, column = _bytes_per_thread(info) * threads + shard_memory(options), 0
        if source is not None:
            source.use_threads(threads)
            scratch += source.scratch_bytes
            if mapping is not None and source.cost.can_be_cut:
                column = source.cost.column_bytes
                if not (mapping.is_identity or source.cost.access == "boxes"):
                    at_once = threads if source.cost.is_concurrent else 1
                    values = source.cost.row_planes * source.shape[3]
                    column += at_once * values * source.dtype.itemsize
        make = partial(
            make_plan,
            info,
            factors,
            stream_axis=stream_axis,
            memory_bytes=options.memory_bytes,
            scratch_share=_SHARD_SHARE if options.sharding else 0,
            column_bytes=column,
            threads=threads,
        )
        try:
            plan = make(scratch_bytes=scratch)
            if source is None or mapping is None:
                return plan
            mapped = mapped_bytes(source, mapping, plan)
            return make(scratch_bytes=scratch + mapped) if mapped else plan
        except InputError as error:
            refused = error
    raise refused


def warnings_of_memory(plan: Plan, options: ConvertOptions) -> tuple[str, ...]:
    """Return that fewer threads work than were asked for, where that is so."""
    if options.workers is None or plan.threads >= options.workers:
        return ()
    return (
        f"--memory {options.memory_bytes // MEBIBYTE}M is too little for {options.workers} "
        f"threads at once, so {plan.threads} are used; pass a larger --memory to use all of them",
    )


def check_spooling(source: Source, plan: Plan, options: ConvertOptions) -> None:
    """Refuse memory that does not hold a plane of a source that is unpacked plane by plane."""
    if not plan.is_cut or source.cost.can_be_cut:
        return
    needed = INTERPRETER_BYTES + source.spool_bytes
    if needed > options.memory_bytes:
        raise InputError(
            f"{source.name}: a plane is unpacked whole, and does not fit in --memory "
            f"{options.memory_bytes // MEBIBYTE}M; pass at least --memory "
            f"{math.ceil(needed / MEBIBYTE)}M"
        )


def shard_memory(options: ConvertOptions) -> int:
    """Return how many bytes of encoded chunks wait in memory for their shard to be complete."""
    return int(options.memory_bytes * _SHARD_SHARE) if options.sharding else 0


def mapped_bytes(source: Source, mapping: ValueMapping, plan: Plan) -> int:
    """Return the memory of planes that are read whole, to be mapped to other values.

    Sources that give any box are read in blocks, and so is the file to which one is unpacked;
    others that can be cut take it for each column.
    """
    if (
        mapping.is_identity
        or source.cost.access == "unpack"
        or plan.is_cut
        or source.cost.can_be_cut
    ):
        return 0
    sides = list(plan.passes[0].widths)
    sides[source.stream_axis] = source.cost.row_planes
    planes = math.prod(sides) * source.shape[3] * source.dtype.itemsize
    if planes <= BLOCK_BYTES:
        return 0  # counted for every thread
    return planes * (plan.threads if source.cost.is_concurrent else 1)


def _thread_counts(info: VolumeInfo, options: ConvertOptions) -> Iterator[int]:
    """Yield how many threads to try with, until a plan fits.

    As many as were asked for; else as there are processors, as long as half of the memory, or all
    that four don't need, is left for rows of chunks; and fewer where that is too little.
    """
    threads = options.thread_count
    if options.workers is None:
        free = options.memory_bytes - INTERPRETER_BYTES - shard_memory(options)
        threads = min(threads, max(4, free // 2 // _bytes_per_thread(info)))
    while threads > 1:
        yield threads
        threads = threads * 2 // 3
    yield 1


def _bytes_per_thread(info: VolumeInfo) -> int:
    """Return the memory that a thread needs beside the row buffers."""
    voxel_bytes = np.dtype(info.data_type).itemsize * info.num_channels
    chunk = max(
        math.prod(min(c, s) for c, s in zip(scale.chunk_size, scale.size, strict=True))
        for scale in info.scales
    )
    # A chunk is copied in order, encoded and compressed; a block of the source is read and mapped.
    whole = math.prod(info.scales[0].size) * info.num_channels * _LARGEST_VALUE_BYTES
    return 4 * chunk * voxel_bytes + 2 * min(BLOCK_BYTES, whole)


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
    room = (process_bytes - WORKER_BYTES) // items_per_process
    room -= _scratch_bytes(grids, source, threads)
    rows = max(grid.step.memory_bytes for grid in grids)
    if room < rows + _SMALLEST_SHARD_MEMORY:
        need = bytes_of_item(grids, source, threads) + _SMALLEST_SHARD_MEMORY
        what = f"a worker process with {items_per_process} items at once"
        raise _too_little(options, WORKER_BYTES + items_per_process * need, what)
    row_buffers = 2 if room >= 2 * rows + _SMALLEST_SHARD_MEMORY else 1
    return ItemMemory(row_buffers, min(room - row_buffers * rows, options.memory_bytes // 8))


def _scratch_bytes(grids: Sequence[Regions], source: Source | None, threads: int) -> int:
    """Return what the threads of an item need beside the rows of chunks, and its source."""
    per_thread = _bytes_per_thread(grids[0].info)
    row = 0
    if (
        source is not None and source.cost.row_planes > 1
    ):  # rows of the source's own chunks are decoded, and kept
        sides = [min(a, b) for a, b in zip(grids[0].block_widths, source.shape, strict=False)]
        sides[source.stream_axis] = source.cost.row_planes
        row = 2 * math.prod(sides) * source.shape[3] * source.dtype.itemsize
        if source.cost.is_shareable:  # else what it is unpacked to is read
            row += source.cost.bytes_per_thread
    return per_thread * threads + row


def _too_little(options: ConvertOptions, needed: int, what: str) -> InputError:
    return InputError(
        f"--memory {options.memory_bytes // MEBIBYTE}M is too little for {what}; pass at least "
        f"--memory {-(-needed // MEBIBYTE)}M, or a smaller --chunk-size"
    )
