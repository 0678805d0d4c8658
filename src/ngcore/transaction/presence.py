"""Whether all files of a volume are there: every chunk, or every shard, that its `info` means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.precomputed.shard_grid import ShardGrid
from ngcore.transaction.removal import is_chunk_file

if TYPE_CHECKING:
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.storage.base import Store


def lacking(store: Store, info: VolumeInfo) -> str | None:
    """Return what files of a volume that ngcore wrote are not there; None where all are.

    Names are listed and counted, no file is read.

    Returns
    -------
    str or None
        Such as ``3 of the 512 files of 8_8_8``.
    """
    for scale in info.scales:
        expected = _file_count(scale)
        start = len(scale.key) + 1
        found = sum(is_chunk_file(scale, name[start:]) for name in store.walk(scale.key))
        if found < expected:
            return f"{expected - found} of the {expected} files of {scale.key}"
    return None


def _file_count(scale: ScaleInfo) -> int:
    if scale.sharding is None:
        return scale.grid.count
    return ShardGrid(scale.sharding, scale.grid.shape).count
