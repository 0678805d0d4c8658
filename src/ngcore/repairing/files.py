"""Copies files as they are, a few MiB at a time."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.storage import LocalStore, open_store
from ngcore.storage.zip_store import ZipStore

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from ngcore.storage import ReadableStore, Store
    from ngcore.validating.scale import Context

_PIECE = 4 << 20


def source_of(context: Context) -> LocalStore:
    """Return the folder of the volume that is repaired: only folders are."""
    assert isinstance(context.store, LocalStore)
    return context.store


def is_zip(source: str | os.PathLike[str]) -> bool:
    """Whether a volume is a zip file."""
    path = Path(source)
    return path.suffix.lower() == ".zip" and path.is_file()


@contextlib.contextmanager
def unpacked(source: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a folder that holds what a zip file does; it goes at the end."""
    store = open_store(source)
    assert isinstance(store, ZipStore)
    with tempfile.TemporaryDirectory(prefix="ngcore-repair-") as temporary:
        folder = Path(temporary) / Path(source).stem
        for name in list(store.list()):
            copy_file(store, LocalStore(folder), name)
        yield folder


def copy_file(source: ReadableStore, dest: Store, name: str, new_name: str | None = None) -> None:
    """Copy a file, whatever its size.

    Raises
    ------
    FormatError
        It is not a file, or becomes shorter meanwhile.
    StorageError
        It can't be read, or the copy not be written.
    """
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
