"""Reads the indexes of a shard as far as they make sense, where they break the format's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.shard_index import (
    MINISHARD_INDEX_ENTRY,
    SHARD_INDEX_ENTRY,
    parse_shard_index,
)
from ngcore.repairing.stored import unpack_index
from ngcore.validating.shard_file import MAX_MINISHARD_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.repairing.changes import Changes
    from ngcore.storage import ReadableStore

_MOST_MINISHARD_BITS = 24
_MOST_REPEATS = 4
"""Entries may share bytes, but those of a valid shard don't. More than this is an attack."""


class Entry(NamedTuple):
    """Where the data of an id lie in a shard file."""

    chunk_id: int
    start: int
    stop: int


def read_entries(
    store: ReadableStore, name: str, number: int, spec: ShardingSpec, changes: Changes
) -> list[Entry]:
    """Return what a shard holds, by id; entries that make no sense are reported and left out.

    Raises
    ------
    FormatError
        The shard index itself makes no sense.
    """
    size = store.size(name) or 0
    if spec.minishard_bits > _MOST_MINISHARD_BITS or size < spec.shard_index_size:
        raise FormatError(
            f"{size} bytes, but {spec.shard_index_size} are expected for the shard index alone"
        )
    entries: dict[int, Entry] = {}
    room = _MOST_REPEATS * size
    for minishard, start, stop in _index_ranges(store, name, spec, size, changes):
        where = f"{name}: bytes {start}-{stop}, index of minishard {minishard}"
        try:
            if stop - start > MAX_MINISHARD_INDEX:
                raise FormatError(f"{stop - start} bytes, too large for any client to fetch")
            data = store.get(name, start, stop) or b""
            is_gzip_due = spec.minishard_index_encoding == "gzip"
            plain, kind = unpack_index(data, is_gzip_due=is_gzip_due, max_size=MAX_MINISHARD_INDEX)
            if len(plain) % MINISHARD_INDEX_ENTRY:
                raise FormatError(f"{len(plain)} bytes are not a whole number of entries")
        except FormatError as error:
            changes.fail(where, f"{error}; its chunks are lost")
            continue
        if kind is not None:
            changes.add(kind)
        room -= int(np.frombuffer(plain, "<u8")[-len(plain) // 24 :].sum(dtype=np.float64))
        if room < 0:
            raise FormatError("its entries claim the same bytes many times over")
        for entry in _listed(plain, spec, size, where, changes):
            if spec.locate(entry.chunk_id)[0] != number:
                changes.fail(where, f"id {entry.chunk_id} belongs to another shard; left out")
            elif _is_news(entries, entry, where, changes):
                entries[entry.chunk_id] = entry
    return [entries[chunk_id] for chunk_id in sorted(entries)]


def _index_ranges(
    store: ReadableStore, name: str, spec: ShardingSpec, size: int, changes: Changes
) -> Iterator[tuple[int, int, int]]:
    """Yield (minishard, start, stop) of minishard indexes that lie in the file."""
    seen: set[tuple[int, int]] = set()
    data = store.get(name, 0, spec.shard_index_size) or b""
    used = np.frombuffer(data, "<u8").reshape(-1, 2)
    for minishard in np.flatnonzero(used[:, 0] != used[:, 1]).tolist():
        entry = data[minishard * SHARD_INDEX_ENTRY : (minishard + 1) * SHARD_INDEX_ENTRY]
        try:
            ranges = parse_shard_index(entry, spec, file_size=size, first_minishard=minishard)
        except FormatError as error:
            changes.fail(name, f"{error}; its chunks are lost")
            continue
        start, stop = ranges[0].tolist()
        if (start, stop) in seen:
            raise FormatError(f"several minishards share the index at byte {start}")
        seen.add((start, stop))
        yield minishard, start, stop


def _listed(
    plain: bytes, spec: ShardingSpec, size: int, where: str, changes: Changes
) -> Iterator[Entry]:
    """Yield the entries of a minishard index; offsets may wrap around, as some writers have it."""
    table = np.frombuffer(plain, "<u8").astype(np.uint64).reshape(3, -1)
    ids = np.cumsum(table[0], dtype=np.uint64)
    edges = np.cumsum(table[1:].T.reshape(-1), dtype=np.uint64) + np.uint64(spec.shard_index_size)
    starts, stops = edges[0::2], edges[1::2]
    changes.add("phantom", int(np.count_nonzero(table[2] == 0)))
    is_sorted = not (ids[1:] <= ids[:-1]).any() and not (edges[1:] < edges[:-1]).any()
    changes.add("index", int(not is_sorted))
    is_sound = (starts < stops) & (stops <= np.uint64(size))
    for chunk_id in ids[~is_sound & (table[2] != 0)].tolist():
        changes.fail(where, f"the data of id {chunk_id} lie outside of the file; they are lost")
    rows = np.column_stack([ids, starts, stops])[is_sound]
    yield from (Entry(*row) for row in rows.tolist())


def _is_news(entries: dict[int, Entry], entry: Entry, where: str, changes: Changes) -> bool:
    earlier = entries.get(entry.chunk_id)
    if earlier is None:
        return True
    if earlier == entry:
        changes.add("twice")
    else:
        changes.fail(
            where, f"id {entry.chunk_id} is listed twice, with different bytes: the first is kept"
        )
    return False
