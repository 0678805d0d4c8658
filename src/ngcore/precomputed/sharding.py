"""The sharded layout ``neuroglancer_uint64_sharded_v1``: which file holds which id.

With the identity hash each bit of a shard number is one bit of one coordinate of the cell (see
`ngcore.precomputed.chunks`), so a shard is a product of three sets of coordinates, and is counted
without visiting its cells, however large the grid. A true hash leaves no way but to visit all.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import InputError
from ngcore.precomputed.chunks import compressed_morton_code, compressed_morton_codes, morton_bits
from ngcore.precomputed.json_members import (
    check_enum,
    check_extra,
    check_integer,
    check_object,
    check_type_tag,
    fail,
    set_field,
    take,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3


_TYPE = "neuroglancer_uint64_sharded_v1"
_HASHES = ("identity", "murmurhash3_x86_128")
_ENCODINGS = ("raw", "gzip")
_ID_BITS = 64
_LARGEST_MINISHARD_BITS = 9
_LARGEST_CHUNK_BITS = 18
_PYRAMID_BITS = (9, 6, 3, 0)
_LARGE_PYRAMID_BITS = (12, 9, 6, 4)
_MOST_SINGLE_CHUNKS = 512
_CELLS_PER_STEP = 1 << 18
_MEMBERS = (
    "preshift_bits",
    "hash",
    "minishard_bits",
    "shard_bits",
    "minishard_index_encoding",
    "data_encoding",
)


@dataclass(frozen=True, slots=True)
class ShardingSpec:
    """How ids are spread over shards and minishards.

    An id is shifted right by `preshift_bits` and hashed. The low `minishard_bits` of the hash are
    the minishard, the next `shard_bits` the shard.

    Attributes
    ----------
    preshift_bits, minishard_bits, shard_bits : int
        0 or more, and at most 64 together.
    hash : {'identity', 'murmurhash3_x86_128'}
    minishard_index_encoding, data_encoding : {'raw', 'gzip'}
    extra : dict
        Members that others wrote and ngcore does not know; kept as they are.

    Raises
    ------
    FormatError
        A value breaks these rules.

    Examples
    --------
    >>> spec = ShardingSpec(preshift_bits=3, hash="identity", minishard_bits=6, shard_bits=5)
    >>> spec.locate(0x1234)
    (9, 6)
    >>> spec.file_name(9)
    '09.shard'
    """

    preshift_bits: int
    hash: str
    minishard_bits: int
    shard_bits: int
    minishard_index_encoding: str = "raw"
    data_encoding: str = "raw"
    extra: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        total = 0
        for name in ("preshift_bits", "minishard_bits", "shard_bits"):
            bits = check_integer(getattr(self, name), name, 0, _ID_BITS)
            set_field(self, name, bits)
            total += bits
        if total > _ID_BITS:
            fail("preshift_bits + minishard_bits + shard_bits", "at most 64 together", total)
        for name, allowed in (
            ("hash", _HASHES),
            ("minishard_index_encoding", _ENCODINGS),
            ("data_encoding", _ENCODINGS),
        ):
            set_field(self, name, check_enum(getattr(self, name), name, allowed))
        check_extra(self.extra, _MEMBERS)

    @classmethod
    def from_json(cls, value: object) -> ShardingSpec:
        """Check a parsed JSON value, the member ``sharding`` of a scale.

        Raises
        ------
        FormatError
            It breaks the format's rules. The message starts with the path inside `value`.
        """
        members = dict(check_object(value, "sharding"))
        check_type_tag(take(members, "@type"), _TYPE)
        return cls(
            preshift_bits=take(members, "preshift_bits"),
            hash=take(members, "hash"),
            minishard_bits=take(members, "minishard_bits"),
            shard_bits=take(members, "shard_bits"),
            minishard_index_encoding=members.pop("minishard_index_encoding", "raw"),
            data_encoding=members.pop("data_encoding", "raw"),
            extra=members,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds: an object whose members stand in the field's usual order."""
        return {"@type": _TYPE} | {name: getattr(self, name) for name in _MEMBERS} | self.extra

    @property
    def shard_index_size(self) -> int:
        """Bytes of the shard index, which opens every shard file."""
        return 16 << self.minishard_bits

    def locate(self, chunk_id: int) -> tuple[int, int]:
        """Return the shard and the minishard of an id.

        Raises
        ------
        InputError
            The id is not an unsigned 64-bit integer.
        """
        if not 0 <= chunk_id < 1 << _ID_BITS:
            raise InputError(f"an id is an unsigned 64-bit integer, got {chunk_id}")
        hashed = chunk_id >> self.preshift_bits
        if self.hash != "identity":
            from ngcore.precomputed.murmurhash import murmurhash3_x86_128

            hashed = murmurhash3_x86_128(hashed)
        minishard = hashed & ((1 << self.minishard_bits) - 1)
        shard = hashed >> self.minishard_bits & ((1 << self.shard_bits) - 1)
        return shard, minishard

    def locate_many(
        self, ids: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the shards and the minishards of many ids.

        Parameters
        ----------
        ids : ndarray of uint64

        Returns
        -------
        shards, minishards : ndarray of uint64, shape as `ids`
        """
        hashed = _shifted_right(ids, self.preshift_bits)
        if self.hash != "identity":
            from ngcore.precomputed.murmurhash import murmurhash3_x86_128

            hashed = murmurhash3_x86_128(hashed)
        minishards = hashed & np.uint64((1 << self.minishard_bits) - 1)
        shards = _shifted_right(hashed, self.minishard_bits)
        return shards & np.uint64((1 << self.shard_bits) - 1), minishards

    def file_name(self, shard: int) -> str:
        """Return the name of a shard's file in the folder of its scale."""
        if not 0 <= shard < 1 << self.shard_bits:
            raise InputError(f"there is no shard {shard} with {self.shard_bits} shard bits")
        return f"{shard:0{-(-self.shard_bits // 4)}x}.shard"


def choose_sharding(grid_shape: Vec3, *, gzip: bool, chunk_bits: int = 9) -> ShardingSpec:
    """Choose a sharding whose shards are boxes of 2^`chunk_bits` chunks.

    The lowest bits of a compressed Morton code are whole boxes of cells, so the identity hash
    makes shards boxes; on a grid that is flat or thin they are longer along its other axes. A
    minishard holds 512 chunks at most, whose index takes 12 KiB before it is compressed: for a
    client that costs less than the request for it.

    Parameters
    ----------
    grid_shape : tuple of int, (x, y, z), in cells
    gzip : bool
        Compress chunks and minishard indexes.
    chunk_bits : int, 0 to 18
        Of an id, to tell the chunks of a shard apart. Fewer are taken where the grid is small.

    Raises
    ------
    InputError
        `chunk_bits` is out of range, or the grid needs ids of more than 64 bits.

    Examples
    --------
    >>> spec = choose_sharding((32, 32, 20), gzip=True)
    >>> spec.preshift_bits, spec.minishard_bits, spec.shard_bits
    (9, 0, 6)
    """
    if not 0 <= chunk_bits <= _LARGEST_CHUNK_BITS:
        raise InputError(
            f"chunks of a shard take 0 to {_LARGEST_CHUNK_BITS} bits of an id, got {chunk_bits}"
        )
    id_bits = len(morton_bits(grid_shape))
    within_shard = min(chunk_bits, 3 * -(-id_bits // 3))
    preshift = min(within_shard, _LARGEST_MINISHARD_BITS)
    encoding = "gzip" if gzip else "raw"
    return ShardingSpec(
        preshift_bits=preshift,
        hash="identity",
        minishard_bits=within_shard - preshift,
        shard_bits=max(0, id_bits - within_shard),
        minishard_index_encoding=encoding,
        data_encoding=encoding,
    )


def pyramid_chunk_bits(chunk_counts: Sequence[int]) -> list[int]:
    """Return how many bits of a chunk's id tell the chunks of a shard apart, for each scale.

    One box of chunks of a scale holds whole shards of the next three scales: they are half as wide
    from scale to scale, as are the scales. Where that would make hundreds of shards of one chunk,
    all are larger.

    Parameters
    ----------
    chunk_counts : sequence of int
        Of each scale, finest first.

    Examples
    --------
    >>> pyramid_chunk_bits([4096, 512, 64, 8, 1])
    [9, 6, 3, 0, 9]
    >>> pyramid_chunk_bits([4096 << 9, 512 << 9, 64 << 9, 8 << 9, 1 << 9])
    [12, 9, 6, 4, 12]
    """
    bits = _PYRAMID_BITS
    if max(chunk_counts[len(bits) - 1 :], default=0) > _MOST_SINGLE_CHUNKS:
        bits = _LARGE_PYRAMID_BITS
    return [bits[number % len(bits)] for number in range(len(chunk_counts))]


def _shifted_right(values: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Shift, by 64 bits too: C leaves that undefined, and so does NumPy."""
    return values >> np.uint64(bits) if bits < _ID_BITS else np.zeros_like(values)


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
    _low: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _high: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Per axis, the bits of a coordinate below those of the shard number, and those in all.
        # Bits above these are in no shard number: cells that differ only there share a shard.
        skipped = self.spec.preshift_bits + self.spec.minishard_bits
        axes = [axis for axis, _ in morton_bits(self.grid_shape)]
        low = tuple(axes[:skipped].count(axis) for axis in range(3))
        high = tuple(axes[: skipped + self.spec.shard_bits].count(axis) for axis in range(3))
        set_field(self, "_low", low)
        set_field(self, "_high", high)

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
        (x, y, z), (low_x, low_y, low_z) = self._values_per_axis(), self._low
        for k, j, i in itertools.product(range(z), range(y), range(x)):
            yield self.shard_of((i << low_x, j << low_y, k << low_z))

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
        return prod(
            _coordinates_with(bits, low, high, count)
            for bits, low, high, count in zip(
                fixed, self._low, self._high, self.grid_shape, strict=True
            )
        )

    @property
    def box_shape(self) -> Vec3 | None:
        """Cells per axis of the box that a shard is, powers of two; None where it is not a box.

        Boxes start at multiples of their shape. Those at the upper edges are clipped by the grid.
        """
        if self.spec.hash != "identity":
            return None
        if any(n > 1 << bits for n, bits in zip(self.grid_shape, self._high, strict=True)):
            return None
        x, y, z = (1 << bits for bits in self._low)
        return x, y, z

    def _values_per_axis(self) -> tuple[int, int, int]:
        """How many values an axis's bits of the shard number take on the grid."""
        x, y, z = (
            min(1 << (b - a), -(-n >> a))
            for n, a, b in zip(self.grid_shape, self._low, self._high, strict=True)
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
