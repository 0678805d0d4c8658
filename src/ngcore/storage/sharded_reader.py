"""Finds chunks in shard files.

A chunk takes three reads, of a shard index, of a minishard index and of itself; both indexes are
remembered, and threads that need the same one wait for the first to read it. From far away, chunks
that lie side by side are read at once.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.precomputed.chunks import morton_bits
from ngcore.precomputed.shard_index import (
    MINISHARD_INDEX_ENTRY,
    SHARD_INDEX_ENTRY,
    MinishardIndex,
    parse_minishard_index,
    parse_shard_index,
)
from ngcore.storage.base import LARGEST_REQUEST, ChunkReader, max_stored_size
from ngcore.storage.completeness import advice_on_lost, note_on_names, was_lost

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import ScaleInfo
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage.base import Ahead, AtOnce, ChunkGroup, ReadableStore

logger = logging.getLogger(__name__)

_CACHE_BYTES = 32 << 20
_INDEX_BLOCK = 4096
"""Entries of a shard index that are read at once; with many minishards it has millions."""

_MAX_MINISHARD_INDEX = 1 << 30

_SMALL_REQUEST = 256 << 10
"""Bytes that take about as long as the way to a server and back."""


class ShardedReader(ChunkReader):
    """Reads the chunks of a sharded scale.

    A shard file that is not there holds zeros, unless ngcore wrote it: then it was lost.

    Parameters
    ----------
    store : ReadableStore
    scale : ScaleInfo
    spec : ShardingSpec
        That of the scale.
    max_size : int, in bytes
        Refuse chunks that are larger than this.
    """

    def __init__(
        self, store: ReadableStore, scale: ScaleInfo, spec: ShardingSpec, max_size: int
    ) -> None:
        self._store = store
        self._key = scale.key
        self._scale = scale
        self._grid = scale.grid
        self._spec = spec
        self._max_size = max_size
        ids = 1 << len(morton_bits(self._grid.shape))
        self._max_index_size = min(MINISHARD_INDEX_ENTRY * ids, _MAX_MINISHARD_INDEX)
        self._is_by_ngcore: bool | None = None
        self._is_told = False
        self._indexes = _Cache()
        self._minishards = _Cache()

    def read(self, cell: Vec3) -> bytes | None:
        """Return an encoded chunk; see `ChunkReader.read`."""
        place = self._place(cell)
        if place is None:
            return None
        with self._located(place.name, f"chunk {self._grid.name(cell)}"):
            return self._plain(self._range(*place, self._max_size))

    def read_stored(self, cell: Vec3) -> bytes | None:
        """Return a chunk as it lies in its shard: compressed, if the shards' data are."""
        place = self._place(cell)
        if place is None:
            return None
        with self._located(place.name, f"chunk {self._grid.name(cell)}"):
            return bytes(self._range(*place, self._max_size))

    def in_groups(
        self, cells: Sequence[Vec3], requests: int, threads: int, at_once: AtOnce
    ) -> Sequence[ChunkGroup]:
        """Return chunks by the requests that get them; see `ChunkReader.in_groups`."""
        if not self._store.is_remote or len(cells) < 2:
            return super().in_groups(cells, requests, threads, at_once)
        asks_ahead = self._store.asks_ahead  # as it was when `threads` was chosen
        by_index: dict[tuple[int, int], list[tuple[int, Vec3]]] = {}
        for cell in cells:
            chunk_id = self._grid.chunk_id(cell)
            by_index.setdefault(self._spec.locate(chunk_id), []).append((chunk_id, cell))
        absent: list[Vec3] = []
        there: list[tuple[_Place, Vec3]] = []

        def find(key: tuple[int, int]) -> None:
            index = self._minishard_index(*key)
            for chunk_id, cell in by_index[key]:
                place = self._place_in(index, chunk_id, key[0])
                if place is None:
                    absent.append(cell)
                else:
                    there.append((place, cell))

        unknown = []
        for key in by_index:
            if self._minishards.get(key) is None:
                unknown.append(key)
            else:
                find(key)
        if unknown:
            at_once(unknown, find, min(requests, len(unknown)))
        runs = list(_runs(sorted(there), -(-len(there) // requests)))
        count = min(threads, len(runs)) if asks_ahead else len(runs)
        parts = [runs[n::count] for n in range(count)]
        groups: list[ChunkGroup] = [
            partial(self._read_runs, part, max(1, requests // threads)) for part in parts
        ]
        if absent:
            groups.append(lambda: ((cell, None) for cell in absent))
        return groups

    def _read_runs(
        self, runs: Sequence[Sequence[tuple[_Place, Vec3]]], ahead: int
    ) -> Iterator[tuple[Vec3, bytes]]:
        """Yield the data of chunks, of each run those that lie side by side in one shard."""
        ranges = []
        for run in runs:
            (name, start, _), cell = run[0]
            stop = run[-1][0].stop
            with self._located(name, f"chunk {self._grid.name(cell)}"):
                _check_size(start, stop, self._max_size if len(run) == 1 else LARGEST_REQUEST)
            ranges.append((name, start, stop))
        found = self._store.get_each(ranges, ahead)
        for run, (name, start, stop) in zip(runs, ranges, strict=True):
            with self._located(name, f"chunk {self._grid.name(run[0][1])}"):
                data = _check_length(next(found), start, stop)
            for place, cell in run:
                with self._located(name, f"chunk {self._grid.name(cell)}"):
                    _check_size(place.start, place.stop, self._max_size)
                    plain = self._plain(data[place.start - start : place.stop - start])
                yield cell, plain

    def _plain(self, data: bytes | memoryview) -> bytes:
        if self._spec.data_encoding == "raw":
            return bytes(data)
        return gzip.decompress(data, max_size=self._max_size)

    def _place(self, cell: Vec3) -> _Place | None:
        """Return where a chunk lies, None where it is absent."""
        chunk_id = self._grid.chunk_id(cell)
        shard, minishard = self._spec.locate(chunk_id)
        return self._place_in(self._minishard_index(shard, minishard), chunk_id, shard)

    def _place_in(self, index: MinishardIndex | None, chunk_id: int, shard: int) -> _Place | None:
        place = index.find(chunk_id) if index is not None else None
        # Some writers list chunks without data, where they have none.
        if place is None or place[0] == place[1]:
            return None
        return _Place(f"{self._key}/{self._spec.file_name(shard)}", *place)

    def ids_of(self, shards: Iterable[int], ahead: Ahead) -> Iterator[NDArray[np.uint64]]:
        """Yield the ids of the chunks that shards hold, some at a time.

        Parameters
        ----------
        shards : iterable of int
            Those that are there.
        ahead : callable
            Does as `map`; from far away, several at once.

        Raises
        ------
        FormatError
            An index is damaged; the message names the file.
        """
        blocks = range(-(-(1 << self._spec.minishard_bits) // _INDEX_BLOCK))
        places = itertools.product(shards, blocks)
        for ids in ahead(self._ids_in, itertools.chain.from_iterable(ahead(self._used, places))):
            if ids is not None:
                yield ids

    def _used(self, place: tuple[int, int]) -> list[tuple[int, int]]:
        """Return the minishards of a part of a shard index that hold something."""
        shard, block = place
        name, first = f"{self._key}/{self._spec.file_name(shard)}", block * _INDEX_BLOCK
        with self._located(name, f"minishard {first}"):
            found = self._index_block(name, shard, block)
        ranges = np.empty((0, 2)) if found is None else found[1]
        used = np.flatnonzero(ranges[:, 0] != ranges[:, 1])
        return [(shard, first + entry) for entry in used.tolist()]

    def _ids_in(self, place: tuple[int, int]) -> NDArray[np.uint64] | None:
        index = self._minishard_index(*place)
        return None if index is None else index.ids[index.starts != index.stops]

    def _minishard_index(self, shard: int, minishard: int) -> MinishardIndex | None:
        key = (shard, minishard)
        index: MinishardIndex | None = self._minishards.get(key)
        if index is not None:
            return index
        name = f"{self._key}/{self._spec.file_name(shard)}"
        with self._minishards.made_by_one(key), self._located(name, f"minishard {minishard}"):
            index = self._minishards.get(key)
            if index is not None:
                return index
            found = self._shard_index(name, shard, minishard)
            if found is None:
                return None
            file_size, start, stop = found
            if start == stop:
                return None
            data = self._range(name, start, stop, self._max_index_size)
            if self._spec.minishard_index_encoding == "gzip":
                data = gzip.decompress(data, max_size=self._max_index_size)
            index = parse_minishard_index(data, self._spec, file_size=file_size)
            self._minishards.put(key, index, MINISHARD_INDEX_ENTRY * len(index))
        return index

    def _shard_index(self, name: str, shard: int, minishard: int) -> tuple[int, int, int] | None:
        """Return the size of a shard file and where a minishard index starts and stops in it."""
        block, entry = divmod(minishard, _INDEX_BLOCK)
        found = self._index_block(name, shard, block)
        if found is None:
            return None
        file_size, ranges = found
        return file_size, int(ranges[entry, 0]), int(ranges[entry, 1])

    def _index_block(
        self, name: str, shard: int, block: int
    ) -> tuple[int, NDArray[np.uint64]] | None:
        """Return the size of a shard file and a part of its index; None if there is no file."""
        found: tuple[int, NDArray[np.uint64]] | None = self._indexes.get((shard, block))
        if found is None:
            with self._indexes.made_by_one((shard, block)):
                found = self._indexes.get((shard, block)) or self._read_shard_index(name, block)
                if found is None:
                    return None
                self._indexes.put((shard, block), found, found[1].nbytes)
        return found

    def _read_shard_index(self, name: str, block: int) -> tuple[int, NDArray[Any]] | None:
        """Return the size of a shard file, and ranges of minishard indexes in it."""
        first = block * _INDEX_BLOCK
        last = min(first + _INDEX_BLOCK, 1 << self._spec.minishard_bits)
        start, stop = first * SHARD_INDEX_ENTRY, last * SHARD_INDEX_ENTRY
        found = self._store.get_sized(name, start, stop)
        if found is None:
            self._refuse_lost()
            return None
        data, file_size = found
        _check_length(data, start, stop)
        return file_size, parse_shard_index(
            data, self._spec, file_size=file_size, first_minishard=first
        )

    def _refuse_lost(self) -> None:
        loss = self._store.lost_chunks
        if self._is_by_ngcore is None and (loss == "refuse" or not self._is_told):
            self._is_by_ngcore = was_lost(self._store, self._key)
            self._is_told = True
            if self._is_by_ngcore is False and loss != "ignore":
                note = note_on_names(self._store, self._scale)
                if note is not None:
                    logger.warning(
                        "%s in %s: %s; run ngcore validate", self._key, self._store.location, note
                    )
        if self._is_by_ngcore:
            raise FormatError(f"the file is missing, but {advice_on_lost('shard')}")

    def _range(self, name: str, start: int, stop: int, max_size: int) -> bytes | memoryview:
        _check_size(start, stop, max_size)
        data = self._store.get_buffer(name, start, stop)
        return _check_length(data, start, stop)

    @contextmanager
    def _located(self, name: str, what: str) -> Iterator[None]:
        """Say in errors of the format where they are."""
        try:
            yield
        except FormatError as error:
            raise FormatError(f"{name} in {self._store.location}: {what}: {error}") from error


def _runs(there: Sequence[tuple[_Place, Vec3]], most: int) -> Iterator[list[tuple[_Place, Vec3]]]:
    """Yield sorted chunks by the requests that get them: `most`, or more where they are small."""
    run: list[tuple[_Place, Vec3]] = []
    for place, cell in there:
        if run:
            (name, start, _), before = run[0][0], run[-1][0]
            is_beside = place.name == name and place.start == before.stop
            size = place.stop - start
            is_small = size <= _SMALL_REQUEST or (len(run) < most and size <= LARGEST_REQUEST)
            if not is_beside or not is_small:
                yield run
                run = []
        run.append((place, cell))
    if run:
        yield run


def _check_size(start: int, stop: int, max_size: int) -> None:
    """Refuse a range that no honest writer makes of so many bytes."""
    if stop - start > max_stored_size(max_size):
        raise FormatError(f"{stop - start} bytes, but at most {max_size} are expected")


def _check_length(data: bytes | memoryview | None, start: int, stop: int) -> bytes | memoryview:
    """Return a range that was read, once it is known to be all of it."""
    if data is None or len(data) != stop - start:
        raise FormatError(
            f"expected bytes {start} to {stop}, but the file ends before: it is truncated"
        )
    return data


class _Place(NamedTuple):
    """Where a chunk lies: in which file, from which byte to which."""

    name: str
    start: int
    stop: int


class _Cache:
    """The values used last, up to a number of bytes."""

    def __init__(self) -> None:
        # Locks of keys, some of which share one.
        self._makers = [threading.Lock() for _ in range(64)]
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def made_by_one(self, key: Hashable) -> threading.Lock:
        """Return the lock under which the value of a key is made, so that others wait for it."""
        return self._makers[hash(key) % len(self._makers)]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        with self._lock:
            if key not in self._values:
                self._values[key] = (value, size)
                self._size += size
            # The newest stays, however large it is.
            while self._size > _CACHE_BYTES and len(self._values) > 1:
                _, (_, old_size) = self._values.popitem(last=False)
                self._size -= old_size
