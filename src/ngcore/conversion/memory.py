"""How much memory a conversion takes on the threads of this process, and what fits in it."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np

from ngcore.arrays.values import ValueMapping
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.plan import INTERPRETER_BYTES, MEBIBYTE, Plan, make_plan
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.info import VolumeInfo
from ngcore.sources.base import Source

# Small enough that a stored block and its values share the cache, large enough to read well.
BLOCK_BYTES = 4 * MEBIBYTE
_SHARD_SHARE = 1 / 8
_LARGEST_VALUE_BYTES = 8
"""No stored type, and none to which values are mapped, is larger."""


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
        scratch, column = bytes_per_thread(info) * threads + _waiting_memory(options), 0
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


def upload_memory(options: ConvertOptions) -> int:
    """Return how many bytes are on their way to a bucket at once, or wait for their turn."""
    if not options.is_uploaded:
        return 0
    from ngcore.storage.uploads import UPLOAD_BYTES  # who writes a folder needs none

    return UPLOAD_BYTES


def _waiting_memory(options: ConvertOptions) -> int:
    return shard_memory(options) + upload_memory(options)


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
        free = options.memory_bytes - INTERPRETER_BYTES - _waiting_memory(options)
        threads = min(threads, max(4, free // 2 // bytes_per_thread(info)))
    while threads > 1:
        yield threads
        threads = threads * 2 // 3
    yield 1


def bytes_per_thread(info: VolumeInfo) -> int:
    """Return the memory that a thread needs beside the row buffers."""
    voxel_bytes = np.dtype(info.data_type).itemsize * info.num_channels
    chunk = max(
        math.prod(min(c, s) for c, s in zip(scale.chunk_size, scale.size, strict=True))
        for scale in info.scales
    )
    # A chunk is copied in order, encoded and compressed; a block of the source is read and mapped.
    whole = math.prod(info.scales[0].size) * info.num_channels * _LARGEST_VALUE_BYTES
    return 4 * chunk * voxel_bytes + 2 * min(BLOCK_BYTES, whole)
