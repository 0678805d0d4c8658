"""Which chunks of a scale belong together in a shard: how many there are, and of what shape.

With the identity hash each bit of a shard number is one bit of one coordinate of the cell (see
`ngcore.precomputed.morton`), so a shard is a product of three sets of coordinates, and is counted
without visiting its cells, however large the grid. A true hash leaves no way but to visit all.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md#sharded-chunk-storage
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from ngcore.precomputed.morton import compressed_morton_code, compressed_morton_codes, morton_bits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.sharding import ShardingSpec

_CELLS_PER_STEP = 1 << 18


@dataclass(frozen=True, slots=True)
class ShardGrid:
    """The shards of one scale.

    Attributes
    ----------
    spec : ShardingSpec
    grid_shape : tuple of int, (x, y, z), in cells

    Raises
    ------
    InputError
        The grid is empty, or needs ids of more than 64 bits.

    Examples
    --------
    >>> from ngcore.precomputed.sharding import ShardingSpec
    >>> spec = ShardingSpec(preshift_bits=3, hash="identity", minishard_bits=0, shard_bits=2)
    >>> shards = ShardGrid(spec, (4, 3, 2))
    >>> shards.box_shape
    (2, 2, 2)
    >>> {shard: shards.chunk_count(shard) for shard in shards}
    {0: 8, 1: 8, 2: 4, 3: 4}
    """

    spec: ShardingSpec
    grid_shape: Vec3

    def __post_init__(self) -> None:
        morton_bits(self.grid_shape)

    def shard_of(self, cell: Vec3) -> int:
        """Return the shard that holds the chunk at `cell`."""
        return self.spec.locate(compressed_morton_code(cell, self.grid_shape))[0]

    @property
    def count(self) -> int:
        """Shards that hold a chunk, or could: these are the shard files of the scale."""
        if self.spec.hash != "identity":
            return len(_hashed_counts(self.spec, self.grid_shape))
        return prod(self._values_per_axis())

    def __iter__(self) -> Iterator[int]:
        """Yield each shard once, always in the same order."""
        if self.spec.hash != "identity":
            yield from _hashed_counts(self.spec, self.grid_shape)
            return
        low, _ = self._bits_per_axis()
        x, y, z = self._values_per_axis()
        for k, j, i in itertools.product(range(z), range(y), range(x)):
            yield self.shard_of((i << low[0], j << low[1], k << low[2]))

    def chunk_count(self, shard: int) -> int:
        """Return how many cells of the grid belong to `shard`; 0 where none do."""
        if self.spec.hash != "identity":
            return _hashed_counts(self.spec, self.grid_shape).get(shard, 0)
        if not 0 <= shard < 1 << self.spec.shard_bits:
            return 0
        skipped = self.spec.preshift_bits + self.spec.minishard_bits
        bits = morton_bits(self.grid_shape)
        if shard >> max(0, len(bits) - skipped):
            return 0
        fixed = [0, 0, 0]
        for position, (axis, bit) in enumerate(bits[skipped : skipped + self.spec.shard_bits]):
            fixed[axis] |= (shard >> position & 1) << bit
        low, high = self._bits_per_axis()
        return prod(
            _coordinates_with(fixed[axis], low[axis], high[axis], self.grid_shape[axis])
            for axis in range(3)
        )

    @property
    def box_shape(self) -> Vec3 | None:
        """Cells per axis of the box that a shard is, powers of two; None where it is not a box.

        Boxes start at multiples of their shape. Those at the upper edges are clipped by the grid.
        """
        if self.spec.hash != "identity":
            return None
        low, high = self._bits_per_axis()
        if any(n > 1 << bits for n, bits in zip(self.grid_shape, high, strict=True)):
            return None
        x, y, z = (1 << bits for bits in low)
        return x, y, z

    def _bits_per_axis(self) -> tuple[list[int], list[int]]:
        """Per axis, the bits of a coordinate below those of the shard number, and those in all.

        Bits above the second are in no shard number: cells that differ only there share a shard.
        """
        skipped = self.spec.preshift_bits + self.spec.minishard_bits
        axes = [axis for axis, _ in morton_bits(self.grid_shape)]
        low = [axes[:skipped].count(axis) for axis in range(3)]
        high = [axes[: skipped + self.spec.shard_bits].count(axis) for axis in range(3)]
        return low, high

    def _values_per_axis(self) -> tuple[int, int, int]:
        """How many values an axis's bits of the shard number take on the grid."""
        low, high = self._bits_per_axis()
        x, y, z = (
            min(1 << (b - a), -(-n >> a))
            for n, a, b in zip(self.grid_shape, low, high, strict=True)
        )
        return x, y, z


def _coordinates_with(fixed: int, low: int, high: int, count: int) -> int:
    """Count coordinates below `count` whose bits from `low` up to `high` are those of `fixed`."""
    periods, rest = count >> high, count & ((1 << high) - 1)
    return (periods << low) + min(max(0, rest - fixed), 1 << low)


@lru_cache(maxsize=4)
def _hashed_counts(spec: ShardingSpec, grid_shape: Vec3) -> dict[int, int]:
    """Count the cells of every shard by visiting all cells."""
    counts: dict[int, int] = {}
    x, y, _ = grid_shape
    total = prod(grid_shape)
    for start in range(0, total, _CELLS_PER_STEP):
        number = np.arange(start, min(start + _CELLS_PER_STEP, total), dtype=np.uint64)
        cells = np.stack([number % x, number // x % y, number // (x * y)], axis=1)
        ids = compressed_morton_codes(cells.astype(np.uint64), grid_shape)
        shards, sizes = np.unique(spec.locate_many(ids)[0], return_counts=True)
        for shard, size in zip(shards.tolist(), sizes.tolist(), strict=True):
            counts[shard] = counts.get(shard, 0) + size
    return dict(sorted(counts.items()))
