"""What shards, or files of their own, hold under ids: entries of annotation indexes, skeletons.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.precomputed.shard_index import (
    SHARD_INDEX_ENTRY,
    MinishardIndex,
    parse_minishard_index,
    parse_shard_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage.base import ReadableStore, Store
    from ngcore.storage.zip_store import ZipStore

_MAX_INDEX = 1 << 30
_ID = re.compile(r"[0-9]{1,20}")


def read_entry(
    store: ReadableStore, folder: str, spec: ShardingSpec, number: int, *, max_size: int
) -> bytes | None:
    """Return what the shards of a folder hold under an id; None where that is nothing.

    Raises
    ------
    FormatError
        A shard is damaged, or the entry is larger than `max_size` bytes; the message names it.
    """
    shard, minishard = spec.locate(number)
    name = f"{folder}/{spec.file_name(shard)}"
    size = store.size(name)
    if size is None:
        return None
    try:
        index = _index(store, name, spec, minishard, size)
        place = None if index is None else index.find(number)
        if place is None or place[0] == place[1]:
            return None
        return _data(store, name, spec, *place, max_size)
    except FormatError as error:
        raise FormatError(f"{name} in {store.location}, id {number}: {error}") from error


def all_entries(
    store: Store | ZipStore, folder: str, spec: ShardingSpec | None, *, max_size: int
) -> Iterator[tuple[int, bytes]]:
    """Yield every id and what is under it, in the order of files.

    Raises
    ------
    FormatError
        A shard is damaged, or an entry is larger than `max_size` bytes; the message names it.
    """
    prefix = "" if folder == "." else f"{folder}/"
    if spec is None:
        for name in store.list(prefix):
            file = name[len(prefix) :]
            if _ID.fullmatch(file):
                yield int(file), store.get_whole(name, max_size) or b""
        return
    for shard in range(1 << spec.shard_bits):
        name = f"{prefix}{spec.file_name(shard)}"
        size = store.size(name)
        if size is None:
            continue
        for minishard in range(1 << spec.minishard_bits):
            try:
                index = _index(store, name, spec, minishard, size)
                places = () if index is None else zip(index.ids, index.starts, index.stops)  # noqa: B905
                for number, start, stop in places:
                    yield int(number), _data(store, name, spec, int(start), int(stop), max_size)
            except FormatError as error:
                raise FormatError(f"{name} in {store.location}: {error}") from error


def _index(
    store: ReadableStore, name: str, spec: ShardingSpec, minishard: int, size: int
) -> MinishardIndex | None:
    first = minishard * SHARD_INDEX_ENTRY
    header = store.get(name, first, first + SHARD_INDEX_ENTRY) or b""
    if len(header) != SHARD_INDEX_ENTRY:
        raise FormatError("the shard index is truncated")
    ranges = parse_shard_index(header, spec, file_size=size, first_minishard=minishard)
    start, stop = ranges[0].tolist()
    if start == stop:
        return None
    data = store.get(name, start, stop) or b""
    if spec.minishard_index_encoding == "gzip":
        data = gzip.decompress(data, max_size=_MAX_INDEX)
    return parse_minishard_index(data, spec, file_size=size)


def _data(
    store: ReadableStore, name: str, spec: ShardingSpec, start: int, stop: int, max_size: int
) -> bytes:
    if stop - start > max_size:
        raise FormatError(f"{stop - start} bytes, but at most {max_size} are expected")
    data = store.get(name, start, stop) or b""
    if len(data) != stop - start:
        raise FormatError(f"bytes {start} to {stop} are missing: the file is truncated")
    return gzip.decompress(data, max_size=max_size) if spec.data_encoding == "gzip" else data
