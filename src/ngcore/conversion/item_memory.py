"""How much memory the work items of a conversion take in processes, and what fits in theirs."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ngcore.conversion.memory import bytes_per_thread, upload_memory
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.plan import MEBIBYTE
from ngcore.conversion.regions import Regions
from ngcore.errors import InputError
from ngcore.sources.base import Source

WORKER_BYTES = 160 * MEBIBYTE
"""An estimate of what a worker process of Dask takes that has loaded ngcore."""

COORDINATOR_BYTES = 192 * MEBIBYTE
"""An estimate of what the process takes that has the scheduler and orders the items."""

_SMALLEST_SHARD_MEMORY = 8 * MEBIBYTE


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
        row = 2 * math.prod(sides) * source.shape[3] * source.dtype.itemsize
        if source.cost.is_shareable:  # else what it is unpacked to is read
            row += source.cost.bytes_per_thread
    return per_thread * threads + row


def _too_little(options: ConvertOptions, needed: int, what: str) -> InputError:
    return InputError(
        f"--memory {options.memory_bytes // MEBIBYTE}M is too little for {what}; pass at least "
        f"--memory {-(-needed // MEBIBYTE)}M, or a smaller --chunk-size"
    )
