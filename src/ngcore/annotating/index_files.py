"""The files of an index: sorted entries to shards, or to a file for each key.

Of a shard what is done waits in a temporary file until its last entry has come, so that a list
may be of any length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from ngcore.precomputed.annotation_records import Records, interleaved, offsets_of
from ngcore.precomputed.chunks import morton_bits
from ngcore.precomputed.shard_index import layout_shard_of
from ngcore.precomputed.sharding import ShardingSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from ngcore.annotating.sorting import Entries
    from ngcore.precomputed.chunks import Vec3
    from ngcore.storage.spool import Place, Spool

_SHARD_BYTES = 32 << 20
_SHARD_ENTRIES = 1 << 18
"""Laying down a shard takes some 100 bytes for each."""
_MINISHARD_ENTRIES = 512
"""The client reads the index of a minishard as a whole."""
_WAITING_BYTES = 4 << 20
_CELL_SHARD_BITS = 10
_SHARD_CELL_BITS = 6
EMPTY_LIST = bytes(8)
_MOST_EMPTY_BITS = 12
"""Of so many shards those without an entry are written too: who asks for one gets no 404."""


def hashed_sharding(keys: int, size: int) -> ShardingSpec:
    """Choose the sharding of an index by ids.

    Parameters
    ----------
    keys : int
        About how many entries there are.
    size : int, in bytes
        About what they take together.
    """
    shards = max(-(-size // _SHARD_BYTES), -(-keys // _SHARD_ENTRIES))
    shard_bits = max(0, shards - 1).bit_length()
    minishards = -(-keys // (_MINISHARD_ENTRIES << shard_bits))
    return ShardingSpec(
        preshift_bits=0,
        hash="murmurhash3_x86_128",
        minishard_bits=max(0, minishards - 1).bit_length(),
        shard_bits=shard_bits,
        minishard_index_encoding="gzip",
        data_encoding="raw",
    )


def cell_sharding(shape: Vec3) -> ShardingSpec:
    """Choose the sharding of a level of the spatial index: at most 1024 boxes of cells.

    A shard has the lists of 64 cells or more. Of a level of many cells most are empty.
    """
    bits = len(morton_bits(shape))
    shard_bits = min(_CELL_SHARD_BITS, max(0, bits - _SHARD_CELL_BITS))
    return ShardingSpec(
        preshift_bits=bits - shard_bits,
        hash="identity",
        minishard_bits=0,
        shard_bits=shard_bits,
        minishard_index_encoding="gzip",
        data_encoding="raw",
    )


def file_order(spec: ShardingSpec, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return what sorts keys by shard and minishard."""
    shards, minishards = spec.locate_many(keys)
    return shards << np.uint64(spec.minishard_bits) | minishards


class Files(Protocol):
    """Where files go; a `Store` is one."""

    def put(self, name: str, *parts: Buffer) -> None:
        """Write a file of some parts."""

    def put_parts(self, name: str, parts: Iterable[Buffer]) -> None:
        """Write a file of parts that are taken as they are needed."""


class Part(NamedTuple):
    """What belongs to some keys that are complete, in the order of the file.

    Attributes
    ----------
    keys : ndarray of uint64
    sizes : ndarray of int64, in bytes
    pieces : list of bytes or Place
        One after the other.
    """

    keys: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    pieces: list[bytes | Place]


def single_parts(batches: Iterable[Entries], key: int) -> Iterator[Part]:
    """Yield entries that are alone under their key, which is this one of their sort keys."""
    for batch in batches:
        sizes = 4 * batch.records.lengths
        yield Part(batch.keys[key], sizes, [batch.records.words.tobytes()])


def list_parts(batches: Iterable[Entries], keys: int, spool: Spool) -> Iterator[Part]:
    """Yield lists of the entries that share the first so many sort keys, in their order.

    The last of these keys is that of the list. A list that goes over several batches waits in the
    spool.
    """
    first: tuple[int, ...] | None = None
    open_list = _OpenList(spool)
    for batch in batches:
        is_new = np.zeros(len(batch.ids), np.bool_)
        for key in batch.keys[:keys]:
            is_new[1:] |= key[1:] != key[:-1]
        is_new[0] = first != tuple(int(key[0]) for key in batch.keys[:keys])
        starts = np.flatnonzero(is_new)
        head = int(starts[0]) if starts.size else len(batch.ids)
        if head:
            open_list.add(batch.part(0, head))
        if not starts.size:
            continue
        if first is not None:
            yield open_list.close(first[-1])
        last = int(starts[-1])
        if last > head:
            yield _whole_lists(batch.part(head, last), starts[:-1] - head, keys)
        open_list.add(batch.part(last, len(batch.ids)))
        first = tuple(int(key[last]) for key in batch.keys[:keys])
    if first is not None:
        yield open_list.close(first[-1])


def _whole_lists(batch: Entries, starts: NDArray[np.int64], keys: int) -> Part:
    bounds = np.append(starts, len(batch.ids))
    counts = np.diff(bounds).astype(np.uint64)
    even = np.arange(len(starts) + 1, dtype=np.int64)
    words = interleaved(
        [
            Records(counts.astype("<u8").view(np.uint32), 2 * even),
            Records(batch.records.words, batch.records.offsets[bounds]),
            Records(np.ascontiguousarray(batch.ids, "<u8").view(np.uint32), 2 * bounds),
        ]
    )
    return Part(batch.keys[keys - 1][starts], 4 * words.lengths, [words.words.tobytes()])


class _OpenList:
    """A list that is not complete yet: its records and its ids."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._count = 0
        self._records: list[bytes | Place] = []
        self._ids: list[bytes | Place] = []
        self._size = self._waiting = 0

    def add(self, entries: Entries) -> None:
        self._count += len(entries.ids)
        self._records.append(entries.records.words.tobytes())
        self._ids.append(entries.ids.astype("<u8").tobytes())
        size = len(self._records[-1]) + len(self._ids[-1])
        self._size += size
        self._waiting += size
        if self._waiting > _WAITING_BYTES:
            for pieces in (self._records, self._ids):
                pieces[:] = _spooled(pieces, self._spool)
            self._waiting = 0

    def close(self, key: int) -> Part:
        head = self._count.to_bytes(8, "little")
        pieces = [head, *self._records, *self._ids]
        size = len(head) + self._size
        self._count = self._size = self._waiting = 0
        self._records, self._ids = [], []
        return Part(np.array([key], np.uint64), np.array([size], np.int64), pieces)


def write_shards(
    parts: Iterable[Part],
    store: Files,
    folder: str,
    spec: ShardingSpec,
    spool: Spool,
    shards: range | None = None,
) -> None:
    """Write the shards of an index.

    Parameters
    ----------
    parts : iterable of Part
        In the order of shards, minishards and keys.
    store : Files
    folder : str
    spec : ShardingSpec
    spool : Spool
        Holds what does not fit in memory of a shard.
    shards : range, optional
        Those that are written; default all.
    """
    current: int | None = None
    waiting: list[Part] = []
    written = set()
    for part in parts:
        numbers, _ = spec.locate_many(part.keys)
        firsts = np.flatnonzero(np.append(True, numbers[1:] != numbers[:-1]))
        for start, stop in zip(firsts, [*firsts[1:], len(numbers)], strict=True):
            shard = int(numbers[start])
            if shard != current:
                if current is not None:
                    _write_shard(waiting, store, folder, spec, current, spool)
                current, waiting = shard, []
                written.add(shard)
            waiting.append(_cut(part, int(start), int(stop)))
            _keep_small(waiting, spool)
    if current is not None:
        _write_shard(waiting, store, folder, spec, current, spool)
    if spec.shard_bits <= _MOST_EMPTY_BITS:
        for shard in set(shards or range(1 << spec.shard_bits)) - written:
            store.put(f"{folder}/{spec.file_name(shard)}", bytes(spec.shard_index_size))


def _cut(part: Part, start: int, stop: int) -> Part:
    if (start, stop) == (0, len(part.keys)):
        return part
    (piece,) = part.pieces  # of several there is but one key
    assert isinstance(piece, bytes)
    ends = offsets_of(part.sizes)
    piece = piece[ends[start] : ends[stop]]
    return Part(part.keys[start:stop], part.sizes[start:stop], [piece])


def _keep_small(parts: list[Part], spool: Spool) -> None:
    """Put what is in memory of a shard into the spool, if it is much."""
    size = sum(len(p) for part in parts for p in part.pieces if isinstance(p, bytes))
    if size > 2 * _WAITING_BYTES:
        for part in parts:
            part.pieces[:] = _spooled(part.pieces, spool)


def _spooled(pieces: list[bytes | Place], spool: Spool) -> list[bytes | Place]:
    return [spool.put(piece) if isinstance(piece, bytes) else piece for piece in pieces]


def _unspooled(pieces: Iterable[bytes | Place], spool: Spool) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        else:
            yield spool.get(piece)
            spool.free(piece)


def _write_shard(
    parts: list[Part],
    store: Files,
    folder: str,
    spec: ShardingSpec,
    shard: int,
    spool: Spool,
) -> None:
    keys = np.concatenate([part.keys for part in parts])
    sizes = np.concatenate([part.sizes for part in parts]).astype(np.uint64)
    layout = layout_shard_of(spec, keys, sizes)
    assert np.array_equal(layout.order, np.arange(len(keys)))

    def content() -> Iterator[bytes]:
        yield layout.header
        yield from _unspooled((piece for part in parts for piece in part.pieces), spool)
        yield layout.trailer

    store.put_parts(f"{folder}/{spec.file_name(shard)}", content())


def write_files(
    parts: Iterable[Part],
    store: Files,
    folder: str,
    name: Callable[[NDArray[np.uint64]], list[str]],
    spool: Spool,
    empty: Iterable[str] = (),
) -> None:
    """Write a file for each key, named by `name`, and an empty list for those of `empty`."""
    left = set(empty)
    for part in parts:
        names = name(part.keys)
        left.difference_update(names)
        if len(names) == 1:
            store.put_parts(f"{folder}/{names[0]}", _unspooled(part.pieces, spool))
            continue
        (piece,) = part.pieces
        assert isinstance(piece, bytes)
        ends = offsets_of(part.sizes).tolist()
        for number, file in enumerate(names):
            store.put(f"{folder}/{file}", memoryview(piece)[ends[number] : ends[number + 1]])
    for file in sorted(left):
        store.put(f"{folder}/{file}", EMPTY_LIST)
