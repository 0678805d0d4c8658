"""The two indexes of a shard file, and the order in which a shard is laid down.

A shard file opens with the shard index: per minishard where its own index lies. A minishard index
is an array [3, n] of uint64: ids (each less the one before), starts (each less the end before) and
sizes. On disk every offset counts from the end of the shard index; here all of them are plain
offsets in the file.

ngcore lays a shard down as the shard index, the chunks in the order of (minishard, id), and the
minishard indexes.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.codecs.gzip import compress
from ngcore.errors import FormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ngcore.precomputed.sharding import ShardingSpec

SHARD_INDEX_ENTRY = 16
"""Bytes per minishard in a shard index."""
MINISHARD_INDEX_ENTRY = 24
"""Bytes per id in a minishard index, before it is compressed."""

_MOST_MINISHARD_BITS = 24

_Offsets = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True, slots=True, eq=False)
class MinishardIndex:
    """What a minishard holds.

    Attributes
    ----------
    ids : ndarray of uint64, shape (n,)
        Strictly increasing.
    starts, stops : ndarray of uint64, shape (n,), in bytes from the start of the file
        Where the data of each id lie. They may be equal: some writers list ids without data.
    """

    ids: _Offsets
    starts: _Offsets
    stops: _Offsets

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, chunk_id: int) -> tuple[int, int] | None:
        """Return where the data of an id start and stop in the file; None if it is not listed."""
        # For one number that is quicker than NumPy's search.
        ids = self.ids.data
        position = bisect_left(ids, chunk_id)
        if position == len(ids) or ids[position] != chunk_id:
            return None
        return int(self.starts[position]), int(self.stops[position])


def parse_shard_index(
    data: bytes, spec: ShardingSpec, *, file_size: int, first_minishard: int = 0
) -> _Offsets:
    """Return where minishard indexes lie.

    Parameters
    ----------
    data : bytes
        The shard index, or any run of whole entries of it.
    spec : ShardingSpec
    file_size : int, in bytes
        Of the shard file; ranges that pass its end are refused.
    first_minishard : int
        The minishard whose entry comes first in `data`.

    Returns
    -------
    ndarray of uint64, shape (minishards, 2)
        Start and stop in bytes from the start of the file; (0, 0) where a minishard is empty.

    Raises
    ------
    FormatError
        An entry is truncated, ends before it starts, or lies outside of the file.
    """
    if len(data) % SHARD_INDEX_ENTRY:
        raise FormatError(
            f"shard index: {len(data)} bytes are not a whole number of {SHARD_INDEX_ENTRY}-byte "
            "entries; the file is truncated"
        )
    room = _room_for_data(spec, file_size)
    relative = np.frombuffer(data, "<u8").astype(np.uint64).reshape(-1, 2)
    starts, stops = relative[:, 0], relative[:, 1]
    is_used = starts != stops
    is_wrong = is_used & ((starts > stops) | (stops > np.uint64(room)))
    if is_wrong.any():
        entry = int(np.argmax(is_wrong))
        minishard = first_minishard + entry
        raise FormatError(
            f"shard index: byte {minishard * SHARD_INDEX_ENTRY}: the index of minishard "
            f"{minishard} is listed at bytes {starts[entry]} to {stops[entry]} of the {room} "
            "after the shard index"
        )
    return np.where(is_used[:, np.newaxis], relative + np.uint64(spec.shard_index_size), 0)


def build_shard_index(ranges: _Offsets, spec: ShardingSpec) -> bytes:
    """Return the shard index; the inverse of `parse_shard_index`.

    Parameters
    ----------
    ranges : ndarray of uint64, shape (2**minishard_bits, 2)
        Start and stop of each minishard index in the file; equal where a minishard is empty.
    spec : ShardingSpec
    """
    is_used = (ranges[:, 0] != ranges[:, 1])[:, np.newaxis]
    relative = np.where(is_used, ranges - np.uint64(spec.shard_index_size), 0)
    return relative.astype("<u8").tobytes()


def parse_minishard_index(
    data: bytes | memoryview, spec: ShardingSpec, *, file_size: int
) -> MinishardIndex:
    """Return what a minishard holds.

    Parameters
    ----------
    data : bytes
        The minishard index, decompressed.
    spec : ShardingSpec
    file_size : int, in bytes
        Of the shard file; ranges that pass its end are refused.

    Raises
    ------
    FormatError
        It is truncated, ids do not increase, or data lie outside of the file; the message names
        the byte offset in `data`.
    """
    if len(data) % MINISHARD_INDEX_ENTRY:
        raise FormatError(
            f"minishard index: {len(data)} bytes are not a whole number of "
            f"{MINISHARD_INDEX_ENTRY}-byte entries"
        )
    room = _room_for_data(spec, file_size)
    table = np.frombuffer(data, "<u8").astype(np.uint64).reshape(3, -1)
    count = table.shape[1]
    # Sums of uint64 wrap around; a sum that is less than the one before has done so.
    ids = np.cumsum(table[0], dtype=np.uint64)
    stuck = np.flatnonzero(ids[1:] <= ids[:-1]) + 1
    if stuck.size:
        entry = int(stuck[0])
        raise FormatError(
            f"minishard index: byte {8 * entry}: ids must increase, but {ids[entry]} follows "
            f"{ids[entry - 1]}"
        )
    edges = np.cumsum(table[1:].T.reshape(-1), dtype=np.uint64)
    is_wrong = edges > np.uint64(room)
    is_wrong[1:] |= edges[1:] < edges[:-1]
    if is_wrong.any():
        entry, row = divmod(int(np.argmax(is_wrong)), 2)
        raise FormatError(
            f"minishard index: byte {8 * ((row + 1) * count + entry)}: the data of id "
            f"{ids[entry]} lie outside of the file, or before those of a lower id"
        )
    edges += np.uint64(spec.shard_index_size)
    return MinishardIndex(ids, edges[0::2], edges[1::2])


def build_minishard_index(index: MinishardIndex, spec: ShardingSpec) -> bytes:
    """Return a minishard index, not compressed; the inverse of `parse_minishard_index`."""
    table = np.empty((3, len(index)), np.uint64)
    table[0] = np.diff(index.ids, prepend=np.uint64(0))
    table[1, :1] = index.starts[:1] - np.uint64(spec.shard_index_size)
    table[1, 1:] = index.starts[1:] - index.stops[:-1]
    table[2] = index.stops - index.starts
    return table.astype("<u8").tobytes()


class ShardLayout(NamedTuple):
    """A shard file before its chunks are put in: `header`, the data of `ids` in turn, `trailer`.

    What leads an id goes right before its data.

    Attributes
    ----------
    header : bytes
        The shard index.
    ids : tuple of int
        In the order of their data in the file.
    trailer : bytes
        The minishard indexes, encoded.
    """

    header: bytes
    ids: tuple[int, ...]
    trailer: bytes


def layout_shard(
    spec: ShardingSpec, sizes: Mapping[int, int], leads: Mapping[int, int] | None = None
) -> ShardLayout:
    """Lay out a shard, so that a writer can stream it without holding it.

    The result depends on ids and sizes alone, not on their order.

    Parameters
    ----------
    spec : ShardingSpec
    sizes : mapping of int to int
        Bytes of each chunk as it is stored (compressed, where `data_encoding` is gzip), by id.
        None at all make the shard of an empty grid: a zeroed index.
    leads : mapping of int to int, optional
        Bytes of what lies right before the data of each id and is in no index, such as the
        fragments of a mesh before their manifest.

    Raises
    ------
    InputError
        Ids belong to different shards, a chunk has no bytes, or there are too many minishards.
    """
    ids = np.fromiter(sizes.keys(), np.uint64, len(sizes))
    lengths = np.fromiter(sizes.values(), np.uint64, len(sizes))
    before = None
    if leads is not None:
        before = np.array([leads[number] for number in ids.tolist()], np.uint64)
    layout = layout_shard_of(spec, ids, lengths, before)
    return ShardLayout(layout.header, tuple(ids[layout.order].tolist()), layout.trailer)


class ShardOrder(NamedTuple):
    """As `ShardLayout`, with `order`: the places of the ids, as they were given, in the file."""

    header: bytes
    order: NDArray[np.int64]
    trailer: bytes


def layout_shard_of(
    spec: ShardingSpec, ids: _Offsets, lengths: _Offsets, leads: _Offsets | None = None
) -> ShardOrder:
    """Do as `layout_shard`, with arrays of ids, sizes and leads.

    Parameters
    ----------
    spec : ShardingSpec
    ids, lengths, leads : ndarray of uint64, shape (n,)
    """
    if spec.minishard_bits > _MOST_MINISHARD_BITS:
        raise InputError(
            f"sharding: every shard would open with an index of {spec.shard_index_size} bytes; "
            f"use at most {_MOST_MINISHARD_BITS} minishard_bits"
        )
    shards, minishards = spec.locate_many(ids)
    if (shards != shards[:1]).any():
        raise InputError(f"expected ids of one shard, got ids of {np.unique(shards).size} shards")
    if not lengths.all():
        raise InputError(
            f"chunk {ids[np.argmin(lengths)]} has no bytes; leave it out of the shard"
        )
    order = np.lexsort((ids, minishards))
    ids, lengths, minishards = ids[order], lengths[order], minishards[order]
    taken = lengths if leads is None else lengths + leads[order]
    stops = np.cumsum(taken, dtype=np.uint64) + np.uint64(spec.shard_index_size)
    starts = stops - lengths

    ranges = np.zeros((1 << spec.minishard_bits, 2), np.uint64)
    position = int(stops[-1]) if stops.size else spec.shard_index_size
    trailer = bytearray()
    used, firsts = np.unique(minishards, return_index=True)
    edges = [*firsts.tolist(), ids.size]
    for minishard, first, stop in zip(used.tolist(), edges[:-1], edges[1:], strict=True):
        run = slice(first, stop)
        index = build_minishard_index(MinishardIndex(ids[run], starts[run], stops[run]), spec)
        if spec.minishard_index_encoding == "gzip":
            index = compress(index)
        ranges[minishard] = (
            position + len(trailer),
            position + len(trailer) + len(index),
        )
        trailer += index
    return ShardOrder(build_shard_index(ranges, spec), order, bytes(trailer))


def _room_for_data(spec: ShardingSpec, file_size: int) -> int:
    """Return how many bytes follow the shard index: the bound of every relative offset."""
    room = file_size - spec.shard_index_size
    if room < 0:
        raise FormatError(
            f"shard index: the file has {file_size} bytes, fewer than the {spec.shard_index_size} "
            "of its shard index"
        )
    return room
