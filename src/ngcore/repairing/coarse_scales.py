"""Makes a coarser scale again that is lost, from the scale before it.

Where the digests of ngcore tell, a scale is lost when its voxels differ from what was written,
and the one before is good when they are. Elsewhere nobody can tell which of two is damaged: a
scale is lost there when nothing of it is left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from ngcore.conversion.coarser import coarser_conversion
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import Downsampling
from ngcore.conversion.run import Work, write_scales
from ngcore.errors import FormatError, InputError
from ngcore.precomputed.names import PROVENANCE_NAME
from ngcore.storage.listing import walk_files
from ngcore.transaction.changes import Transaction
from ngcore.transaction.removal import remove_volume_files
from ngcore.transaction.work_folder import working_folder
from ngcore.validating.files import read_limited
from ngcore.validating.side_files import downsampling_of
from ngcore.volume.provenance import MAX_SIZE, Provenance
from ngcore.volume.read import Volume

if TYPE_CHECKING:
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.repairing.changes import Changes
    from ngcore.storage import Store
    from ngcore.validating.findings import Report

_NESTED_DEPTH = 2


def remake_coarse_scales(
    store: Store, info: VolumeInfo, report: Report, changes: Changes, workers: int | None
) -> bool:
    """Make the coarser scales again that are lost; return whether there were any.

    Parameters
    ----------
    store : Store
        Of the volume that repair wrote.
    info : VolumeInfo
    report : Report
        What `validate` says about it.
    changes : Changes
    workers : int or None
    """
    try:
        document = read_limited(store, PROVENANCE_NAME, MAX_SIZE)
        known = Provenance.from_json(document) if document is not None else Provenance()
    except FormatError:
        known = Provenance()
    is_lost = [_is_lost(store, scale, known, report) for scale in info.scales]
    if not any(is_lost[1:]) or is_lost[0]:
        return False
    method, outside_value = downsampling_of(known)
    if method is None:
        method = "majority" if info.type == "segmentation" else "average"
    has_remade = False
    index = 1
    while index < len(is_lost):
        stop = index
        while stop < len(is_lost) and is_lost[stop]:
            stop += 1
        if stop > index:
            part = replace(info, scales=info.scales[index - 1 : stop])
            try:
                _remake(store, part, Downsampling(method, outside_value), workers)
            except (InputError, FormatError) as error:
                changes.fail(info.scales[index].key, f"can't be made again: {error}")
            else:
                changes.add("coarse scale", stop - index)
                for scale in info.scales[index:stop]:
                    changes.forgive(scale.key)
                has_remade = True
        index = stop + 1
    return has_remade


def _is_lost(store: Store, scale: ScaleInfo, known: Provenance, report: Report) -> bool:
    if known.seal.scales:
        return scale.key not in report.digests and scale.encoding != "jpeg"
    files = walk_files(store, scale.key, depth=_NESTED_DEPTH)
    return next(files, None) is None


def _remake(
    store: Store, info: VolumeInfo, downsampling: Downsampling, workers: int | None
) -> None:
    """Make all scales of an info but the first from that one."""
    finest, *lost = info.scales
    sample = next(walk_files(store, finest.key, depth=_NESTED_DEPTH), "")
    layout: Literal["flat", "nested"] = "nested" if "/" in sample else "flat"
    is_sharded = all(scale.sharding is not None for scale in lost)
    options = ConvertOptions(sharding=True, workers=workers, is_uploaded=store.is_remote)
    if not is_sharded:
        gzip = sample.endswith(".gz")
        options = replace(options, sharding=False, layout=layout, gzip=gzip)
    source, conversion = coarser_conversion(
        Volume(store, info).scales[0], info, downsampling, options, store.location
    )
    with Transaction(store) as change, source:
        change.sealing.begin()
        remove_volume_files(store, replace(info, scales=tuple(lost)))
        with working_folder(store) as tmp:
            write_scales(Work(conversion, source, options), store, tmp)
