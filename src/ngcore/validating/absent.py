"""Checks chunks that are not there: they read as zeros, which is legal, if zeros they are.

A digest knows. Without one, the scales next to it may: what is zero at one scale is zero at all.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ngcore.errors import NgcoreError
from ngcore.precomputed.info import scale_factors
from ngcore.validating.findings import LISTED
from ngcore.validating.regions import downsampled, fits_memory, floor_box, scaled_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.precomputed.chunks import Box, Vec3
    from ngcore.validating.scale import Context, ScaleCheck
    from ngcore.volume.read import Volume

_MOST_COMPARED = 1024
_HUGE_GRID = 1 << 24
_SPARSEST = 4096
"""A huge grid of which less than one in so many chunks is there is a lie, not a sparse volume."""


def check_absent(context: Context, volume: Volume, checks: Sequence[ScaleCheck]) -> None:
    """Report absent chunks; `checks` are those of all scales, with their chunks counted."""
    # Shards without a chunk are what a volume of zeros has.
    if not any(check.presence.found or check.found_files or check.is_damaged for check in checks):
        context.findings.error("absent", "info: scales", "no chunk of any scale is there")
        return
    for check in checks:
        _check_scale(context, volume, check)
    context.work.drain()


def _check_scale(context: Context, volume: Volume, check: ScaleCheck) -> None:
    missing, total = check.presence.missing, check.grid.count
    is_certain = context.is_ours and not check.is_verified
    for name in check.missing_names if context.is_ours else ():
        report = context.findings.error if is_certain else context.findings.warning
        report("absent", name, "is missing, but ngcore writes every shard")
    if not missing:
        return
    is_digest_enough = check.is_verified or (context.quick and check.has_digest)
    if check.scale.sharding is not None and is_digest_enough:
        return
    where = check.scale.key
    lost = " or lost with damaged files" if check.is_damaged else ""
    share = f"{missing} of {total} chunks {'is' if missing == 1 else 'are'} absent{lost}"
    if total > _HUGE_GRID and check.presence.found * _SPARSEST < total:
        context.findings.error("absent", where, f"{share}: info claims more than there is")
    elif is_certain and check.scale.sharding is None:
        for cell in check.presence.absent_cells(LISTED):
            name = f"{where}/{check.grid.name(cell)}"
            context.findings.error("absent", name, "is missing, but ngcore writes every chunk")
        context.findings.error("absent", where, share)
    else:
        context.findings.warning("absent", where, f"{share}, and read as zeros")
        if not context.quick and not check.is_verified:
            for cell in check.presence.absent_cells(_MOST_COMPARED):
                context.work.submit(partial(_compare, context, volume, check, cell))


def _compare(context: Context, volume: Volume, check: ScaleCheck, cell: Vec3) -> None:
    box = check.grid.bounds(cell)
    for neighbour in (check.index + 1, check.index - 1):
        if 0 <= neighbour < len(volume.scales) and _shows_data(
            volume, check.index, neighbour, box
        ):
            context.findings.error(
                "absent",
                f"{check.scale.key}/{check.grid.name(cell)}",
                f"is absent, but scale {volume.scales[neighbour].key} shows data there",
            )
            return


def _shows_data(volume: Volume, index: int, neighbour: int, box: Box) -> bool:
    """Whether no downsampling could have made the neighbouring scale if `box` were zeros."""
    fine, coarse = sorted((index, neighbour))
    factors = scale_factors(volume.info.scales[fine], volume.info.scales[coarse])
    if factors is None:
        return False
    array = volume.scales[neighbour]
    try:
        if neighbour > index:
            # Only cells that lie in the chunk as a whole.
            inner = floor_box(box, factors).intersection(array.info.bounds)
            return bool(inner) and fits_memory(volume, neighbour) and bool(array.read(inner).any())
        region = scaled_box(box, factors).intersection(array.info.bounds)
        if not region or not fits_memory(volume, neighbour, region):
            return False
        # Where all voxels of a cell are above 0, so is every kind of average of them.
        return bool((downsampled(array.read(region), factors, "min", region.start) > 0).any())
    except NgcoreError:
        return False  # damage, or an encoding unknown, which is reported where it is found
