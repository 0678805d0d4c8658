"""Finds chunks in shard files.

A chunk takes three reads, of a shard index, of a minishard index and of itself; both indexes are
remembered.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.precomputed.morton import morton_bits
from ngcore.precomputed.shard_index import (
    MINISHARD_INDEX_ENTRY,
    SHARD_INDEX_ENTRY,
    MinishardIndex,
    parse_minishard_index,
    parse_shard_index,
)
from ngcore.storage.base import ChunkReader, max_stored_size
from ngcore.storage.completeness import is_by_ngcore

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import ScaleInfo
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage.base import ReadableStore

_CACHE_BYTES = 32 << 20
_INDEX_BLOCK = 4096
"""Entries of a shard index that are read at once; with many minishards it has millions."""

_MAX_MINISHARD_INDEX = 1 << 30


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
        self._grid = scale.grid
        self._spec = spec
        self._max_size = max_size
        ids = 1 << len(morton_bits(self._grid.shape))
        self._max_index_size = min(MINISHARD_INDEX_ENTRY * ids, _MAX_MINISHARD_INDEX)
        self._is_by_ngcore: bool | None = None
        self._indexes = _Cache()
        self._minishards = _Cache()

    def read(self, cell: Vec3) -> bytes | None:
        """Return an encoded chunk; see `ChunkReader.read`."""
        data = self.read_stored(cell)
        if data is None or self._spec.data_encoding == "raw":
            return data
        with self._located(self._shard_name(cell), f"chunk {self._grid.name(cell)}"):
            return gzip.decompress(data, max_size=self._max_size)

    def read_stored(self, cell: Vec3) -> bytes | None:
        """Return a chunk as it lies in its shard: compressed, if the shards' data are."""
        chunk_id = self._grid.chunk_id(cell)
        shard, minishard = self._spec.locate(chunk_id)
        index = self._minishard_index(shard, minishard)
        place = index.find(chunk_id) if index is not None else None
        # Some writers list chunks without data, where they have none.
        if place is None or place[0] == place[1]:
            return None
        name = self._shard_name(cell)
        with self._located(name, f"chunk {self._grid.name(cell)}"):
            return self._range(name, *place, self._max_size)

    def _minishard_index(self, shard: int, minishard: int) -> MinishardIndex | None:
        key = (shard, minishard)
        index: MinishardIndex | None = self._minishards.get(key)
        if index is not None:
            return index
        name = f"{self._key}/{self._spec.file_name(shard)}"
        with self._located(name, f"minishard {minishard}"):
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
        found: tuple[int, NDArray[Any]] | None = self._indexes.get((shard, block))
        if found is None:
            file_size = self._store.size(name)
            if file_size is None:
                self._refuse_lost()
                return None
            first = block * _INDEX_BLOCK
            last = min(first + _INDEX_BLOCK, 1 << self._spec.minishard_bits)
            data = self._range(
                name,
                first * SHARD_INDEX_ENTRY,
                last * SHARD_INDEX_ENTRY,
                _INDEX_BLOCK * SHARD_INDEX_ENTRY,
            )
            ranges = parse_shard_index(
                data, self._spec, file_size=file_size, first_minishard=first
            )
            found = (file_size, ranges)
            self._indexes.put((shard, block), found, ranges.nbytes)
        file_size, ranges = found
        return file_size, int(ranges[entry, 0]), int(ranges[entry, 1])

    def _refuse_lost(self) -> None:
        if self._is_by_ngcore is None:
            self._is_by_ngcore = is_by_ngcore(self._store, self._key)
        if self._is_by_ngcore:
            raise FormatError("the file is missing, and ngcore writes every shard: it was lost")

    def _range(self, name: str, start: int, stop: int, max_size: int) -> bytes:
        if stop - start > max_stored_size(max_size):
            raise FormatError(f"{stop - start} bytes, where {max_size} are the most expected")
        data = self._store.get(name, start, stop)
        if data is None or len(data) != stop - start:
            raise FormatError(
                f"bytes {start} to {stop} are expected, but the file ends before: it is truncated"
            )
        return data

    def _shard_name(self, cell: Vec3) -> str:
        shard, _ = self._spec.locate(self._grid.chunk_id(cell))
        return f"{self._key}/{self._spec.file_name(shard)}"

    @contextmanager
    def _located(self, name: str, what: str) -> Iterator[None]:
        """Say in errors of the format where they are."""
        try:
            yield
        except FormatError as error:
            raise FormatError(f"{name} in {self._store.location}: {what}: {error}") from error


class _Cache:
    """The values used last, up to a number of bytes."""

    def __init__(self) -> None:
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def put(self, key: Hashable, value: Any, size: int) -> None:
        with self._lock:
            if key not in self._values:
                self._values[key] = (value, size)
                self._size += size
            # The newest stays, however large it is.
            while self._size > _CACHE_BYTES and len(self._values) > 1:
                _, (_, old_size) = self._values.popitem(last=False)
                self._size -= old_size
