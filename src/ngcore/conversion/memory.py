"""How much memory the parts of a conversion take: of a thread, of a process, and of all of it.

`plan` and `spread_plan` choose regions with it. Figures are estimates from above, in bytes.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

from ngcore.arrays.values import ValueMapping
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.regions import Regions
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.info import VolumeInfo
from ngcore.sources.base import Source

MEBIBYTE = 1 << 20
# Python with NumPy, nibabel and Pillow loaded: 60 to 75 MiB measured, and as much again for the
# heap.
INTERPRETER_BYTES = 96 * MEBIBYTE

# Small enough that a stored block and its values share the cache, large enough to read well.
BLOCK_BYTES = 4 * MEBIBYTE
SHARD_SHARE = 1 / 8
_LARGEST_VALUE_BYTES = 8
"""No stored type, and none to which values are mapped, is larger."""

WORKER_BYTES = 160 * MEBIBYTE
"""An estimate of what a worker process of Dask takes that has loaded ngcore."""

COORDINATOR_BYTES = 192 * MEBIBYTE
"""An estimate of what the process takes that has the scheduler and orders the items."""

_SMALLEST_SHARD_MEMORY = 8 * MEBIBYTE


def shard_memory(options: ConvertOptions) -> int:
    """Return how many bytes of encoded chunks wait in memory for their shard to be complete."""
    return int(options.memory_bytes * SHARD_SHARE) if options.sharding else 0


def upload_memory(options: ConvertOptions) -> int:
    """Return how many bytes are on their way to a bucket at once, or wait for their turn."""
    if not options.is_uploaded:
        return 0
    from ngcore.storage.uploads import UPLOAD_BYTES  # who writes a folder needs none

    return UPLOAD_BYTES


def mapped_bytes(source: Source, mapping: ValueMapping, widths: Vec3, threads: int) -> int:
    """Return the memory of planes that are read whole, to be mapped to other values.

    Sources that give any box are read in blocks, and so is the file to which one is unpacked;
    others that can be cut take it for each column.

    Parameters
    ----------
    source : Source
    mapping : ValueMapping
    widths : tuple of int
        Of the volume, in voxels: its source is read whole.
    threads : int
        How many work at once.
    """
    if mapping.is_identity or source.cost.access == "unpack" or source.cost.can_be_cut:
        return 0
    sides = list(widths)
    sides[source.stream_axis] = source.cost.row_planes
    planes = prod(sides) * source.shape[3] * source.dtype.itemsize
    if planes <= BLOCK_BYTES:
        return 0  # counted for every thread
    return planes * (threads if source.cost.is_concurrent else 1)


def bytes_per_thread(info: VolumeInfo) -> int:
    """Return the memory that a thread needs beside the row buffers."""
    voxel_bytes = info.dtype.itemsize * info.num_channels
    chunk = max(
        prod(min(c, s) for c, s in zip(scale.chunk_size, scale.size, strict=True))
        for scale in info.scales
    )
    # A chunk is copied in order, encoded and compressed; a block of the source is read and mapped.
    whole = prod(info.scales[0].size) * info.num_channels * _LARGEST_VALUE_BYTES
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
