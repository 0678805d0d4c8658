"""Copies files as they are, a few MiB at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.errors import FormatError, InputError
from ngcore.storage import Store
from ngcore.storage.zip_store import ZipStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.storage import ReadableStore
    from ngcore.validating.scale import Context

    Listed = Store | ZipStore

_PIECE = 4 << 20
_MOST_DECODED = 1 << 30


def source_of(context: Context) -> Listed:
    """Return where the volume lies that is repaired, which lists its files."""
    return listed(context.store)


def listed(store: ReadableStore) -> Listed:
    """Return a store that lists its files.

    Raises
    ------
    InputError
        It is a web server.
    """
    if isinstance(store, Store | ZipStore):
        return store
    raise InputError(
        f"{store.location} is on a web server, which doesn't list its files; download the volume"
    )


def read_file(store: ReadableStore, name: str, max_size: int) -> bytes:
    """Return a file as a client gets it, decompressed where a bucket says that it must be.

    Raises
    ------
    FormatError
        It is not a file of at most `max_size` bytes.
    """
    data = store.get_whole(name, max_size)
    if data is None:
        raise FormatError(f"is not a file of at most {max_size} bytes")
    return data


def copy_file(source: ReadableStore, dest: Store, name: str, new_name: str | None = None) -> None:
    """Copy a file, whatever its size.

    Raises
    ------
    FormatError
        It is not a file, or becomes shorter meanwhile.
    StorageError
        It can't be read, or the copy not be written.
    """
    if isinstance(source, Store) and source.keeps_names and not name.endswith(".shard"):
        dest.put(new_name or name, read_file(source, name, _MOST_DECODED))
        return
    size = source.size(name)
    if size is None:
        raise FormatError("is not a file that can be read")
    dest.put_parts(new_name or name, pieces(source, name, 0, size))


def pieces(source: ReadableStore, name: str, start: int, stop: int) -> Iterator[bytes]:
    """Yield a range of a file, in pieces."""
    for first in range(start, stop, _PIECE):
        last = min(first + _PIECE, stop)
        piece = source.get(name, first, last)
        if piece is None or len(piece) != last - first:
            raise FormatError(f"{name} ends before byte {last}: it is being changed")
        yield piece
