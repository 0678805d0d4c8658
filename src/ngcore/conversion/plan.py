"""What a conversion will do, decided before it starts.

A volume is walked in rows of chunks along the *stream axis*, the slowest axis of its source. While
a row passes, every coarser scale fills up behind it, so memory holds a row or two of each scale.
Where even that is too much, the other two axes are cut into *regions*: each is walked on its own,
up to the coarsest scale of which it still completes whole chunks; a second, much smaller *pass*
starts from that scale. What is written never depends on the cuts. A plan is pure and picklable;
`spread_plan` has that of work items for other processes.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ngcore.arrays.values import ValueMapping
from ngcore.conversion.memory import (
    INTERPRETER_BYTES,
    MEBIBYTE,
    SHARD_SHARE,
    bytes_per_thread,
    mapped_bytes,
    shard_memory,
    upload_memory,
)
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.regions import Pass, Regions, region_sides, row_bytes, whole_chunks
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3, vec3
from ngcore.precomputed.info import VolumeInfo
from ngcore.sources.base import Source


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
                f"--memory {math.ceil(needed / MEBIBYTE)}M, or smaller --chunk-size"
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
        sides = region_sides(info, factors, first, last, widths)
        memory = row_bytes(info, factors, stream_axis, first, sides) * row_buffers
        memory += math.prod(sides[0]) // sides[0][stream_axis] * column_bytes
        return Pass(first, last, vec3(widths), row_buffers, memory)

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
    waiting = shard_memory(options) + upload_memory(options)
    for threads in _thread_counts(info, options, waiting):
        scratch, column = bytes_per_thread(info) * threads + waiting, 0
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
            scratch_share=SHARD_SHARE if options.sharding else 0,
            column_bytes=column,
            threads=threads,
        )
        try:
            plan = make(scratch_bytes=scratch)
            if source is None or mapping is None:
                return plan
            if plan.is_cut:
                return plan
            mapped = mapped_bytes(source, mapping, plan.passes[0].widths, threads)
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
            f"{source.name}: a plane must be unpacked whole, but does not fit in --memory "
            f"{options.memory_bytes // MEBIBYTE}M; pass at least --memory "
            f"{math.ceil(needed / MEBIBYTE)}M"
        )


def _thread_counts(info: VolumeInfo, options: ConvertOptions, waiting: int) -> Iterator[int]:
    """Yield how many threads to try with, until a plan fits beside the bytes that wait.

    As many as were asked for; else as there are processors, as long as half of the memory, or all
    that four don't need, is left for rows of chunks; and fewer where that is too little.
    """
    threads = options.thread_count
    if options.workers is None:
        free = options.memory_bytes - INTERPRETER_BYTES - waiting
        threads = min(threads, max(4, free // 2 // bytes_per_thread(info)))
    while threads > 1:
        yield threads
        threads = threads * 2 // 3
    yield 1
