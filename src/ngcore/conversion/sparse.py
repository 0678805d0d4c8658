"""Conversions of volumes of which most chunks are absent: what is empty is skipped.

Such a volume is walked in the regions of whole shards that workers of a scheduler would get, in
small blocks. Regions of which the source has nothing become empty shards at all of their scales,
without being read, downsampled or encoded. The bytes are those of any other plan.
"""

from typing import TYPE_CHECKING

import numpy as np

from ngcore.arrays.values import Counts
from ngcore.conversion.memory import INTERPRETER_BYTES
from ngcore.conversion.region import PassRun, Run, carry_out_region
from ngcore.conversion.regions import Regions
from ngcore.conversion.spread_plan import spread_plan
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.sharding import ShardGrid
from ngcore.sources.base import Source, Sparsity

if TYPE_CHECKING:
    from ngcore.conversion.options import ConvertOptions
    from ngcore.conversion.prepare import Conversion
    from ngcore.precomputed.info import ScaleInfo
    from ngcore.precomputed.sharding import ShardingSpec

MOST_EMPTY_FILES = 1 << 20
EMPTY_FILES_PER_CHUNK = 1000
"""A conversion that would write more files of nothing, in all and for each chunk that there is, is
refused: it would go on for hours with what is not there."""

_SCALES_PER_PASS = 2
_BLOCK_CHUNKS = (64, 8)


def skips_empty(conversion: "Conversion", source: Source, sparsity: Sparsity) -> bool:
    """Return whether regions of which the source has nothing can become empty shards, unread.

    Raises
    ------
    InputError
        What is written for nothing would never end.
    """
    info = conversion.info
    is_zero = sparsity.fills_zeros and _zeros_stay_zeros(conversion)
    is_left_out = is_zero and all(scale.sharding for scale in info.scales)
    files = sum(
        _shard_count(scale, scale.sharding) if scale.sharding is not None else scale.grid.count
        for scale in info.scales
    )
    if files > max(MOST_EMPTY_FILES, EMPTY_FILES_PER_CHUNK * sparsity.present):
        what, way_out = (
            "chunk files",
            "leave out --no-sharding",
        )
        if all(scale.sharding for scale in info.scales):
            what, way_out = "shard files", "correct the size that it claims"
        raise InputError(
            f"{source.name}: only {sparsity.present} of its {sparsity.total} chunks exist, but "
            f"{files} {what} would be written; ngcore refuses to write more than "
            f"{MOST_EMPTY_FILES} if that is over {EMPTY_FILES_PER_CHUNK} for each chunk: {way_out}"
        )
    return is_left_out


def sparse_plan(
    conversion: "Conversion", source: Source, sparsity: Sparsity, options: "ConvertOptions"
) -> tuple[Regions, ...] | None:
    """Return the regions of each pass where empty ones are skipped; None where none can be.

    Raises
    ------
    InputError
        What is written for nothing would never end.
    """
    info, plan = conversion.info, conversion.plan
    if not skips_empty(conversion, source, sparsity):
        return None
    budget = options.memory_bytes - INTERPRETER_BYTES - plan.scratch_bytes
    for chunks in _BLOCK_CHUNKS:
        grids = spread_plan(
            info,
            plan.factors,
            plan.stream_axis,
            scales_per_pass=_SCALES_PER_PASS,
            block_chunks=chunks,
            column_bytes=plan.column_bytes,
            first_is_read=plan.first_is_read,
        )
        if all(grid.step.memory_bytes <= budget for grid in grids):
            return grids
    return None


def carry_out_sparse_region(work: PassRun, place: Vec3) -> None:
    """Make every chunk that a region owns, block by block, without a look at what is empty."""
    if is_empty_at(work.regions, place, work.source):
        pass_over(work.run, work.regions, place)
        return
    blocks = work._replace(regions=work.regions.blocks)
    for block in work.regions.blocks_of(place):
        if is_empty_at(blocks.regions, block, work.source):
            pass_over(work.run, blocks.regions, block)
        else:
            carry_out_region(blocks, block)


def is_empty_at(regions: Regions, place: Vec3, source: Source) -> bool:
    """Whether nothing that the scales of a region are made of is there."""
    levels = regions.levels(place)
    return not levels or source.is_empty(levels[0].needed)


def pass_over(run: Run, regions: Regions, place: Vec3) -> None:
    """Write the chunks of a region, or of a block, that is empty."""
    step = regions.step
    for scale in range(step.first_scale, step.last_scale + 1):
        first, stop = regions.owned_cells(scale, place)
        if all(a < b for a, b in zip(first, stop, strict=True)):
            run.sink.write_zeros(scale, first, stop)
    run.planes_read(regions.voxels(place), Counts())
    if run.row_done is not None:
        run.row_done()


def _shard_count(scale: "ScaleInfo", spec: "ShardingSpec") -> int:
    """Return how many shard files a scale has, or a bound where that takes long to find."""
    if spec.hash == "identity":
        return ShardGrid(spec, scale.grid.shape).count
    return min(1 << spec.shard_bits, scale.grid.count)


def _zeros_stay_zeros(conversion: "Conversion") -> bool:
    """Whether stored zeros become chunks that are left out, at every scale."""
    stored = np.zeros(1, conversion.mapping.stored)
    out = np.empty(1, conversion.mapping.output)
    conversion.mapping.apply(stored, out)
    return not out.view(np.uint8).any() and not conversion.downsampling.outside_value
