"""How many chunks, folders, files and bytes a volume comes to, by its `info` alone."""

import math
import os
from dataclasses import asdict, dataclass

from ngcore.classic.folder import open_volume
from ngcore.precomputed.chunks import ChunkGrid
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.precomputed.sharding import ShardGrid, ShardingSpec

_MOST_HASHED = 1 << 20
"""How many chunks are hashed to see which shards they fall into."""


@dataclass(frozen=True, slots=True)
class ScaleStats:
    """One scale.

    Attributes
    ----------
    key : str
    chunks : int
    folders : int
        Inside the scale's own folder, in the nested layout; none where it is sharded.
    files : int
        Shards, or chunks. Where a hash spreads millions of chunks over shards, how many shards
        there may be: that some stay empty is next to impossible, or makes no odds.
    bytes : int
        Of the voxels before they are encoded.
    """

    key: str
    chunks: int
    folders: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class VolumeStats:
    """A volume: its scales, and their sums."""

    scales: tuple[ScaleStats, ...]
    chunks: int
    folders: int
    files: int
    bytes: int

    def to_json(self) -> dict[str, object]:
        """Return what JSON holds."""
        return asdict(self)


def scale_stats(dest: str | os.PathLike[str]) -> VolumeStats:
    """Count what a volume's `info` amounts to, at once and whatever its size.

    Parameters
    ----------
    dest : path
        Folder with an `info` file; chunks need not be there.

    Raises
    ------
    InputNotFoundError, FormatError
        If there is no `info`, or a broken one.
    """
    info = open_volume(dest).info
    scales = tuple(_stats_of(info, scale) for scale in info.scales)
    return VolumeStats(
        scales,
        chunks=sum(scale.chunks for scale in scales),
        folders=sum(scale.folders for scale in scales),
        files=sum(scale.files for scale in scales),
        bytes=sum(scale.bytes for scale in scales),
    )


def _stats_of(info: VolumeInfo, scale: ScaleInfo) -> ScaleStats:
    x, y, _ = scale.grid.shape
    chunks = scale.grid.count
    folders, files = x * (1 + y), chunks
    if scale.sharding is not None:
        folders, files = 0, _shard_count(scale.sharding, scale.grid)
    size = math.prod(scale.size) * info.num_channels * info.dtype.itemsize
    return ScaleStats(scale.key, chunks, folders, files, size)


def _shard_count(spec: ShardingSpec, grid: ChunkGrid) -> int:
    if spec.hash != "identity" and grid.count > _MOST_HASHED:
        return min(1 << spec.shard_bits, grid.count)
    return ShardGrid(spec, grid.shape).count
