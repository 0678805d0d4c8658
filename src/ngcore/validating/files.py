"""Files of a volume as they are listed and read while nothing in them is trusted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import StorageError
from ngcore.storage import LocalStore
from ngcore.storage.base import max_stored_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ngcore.storage import ReadableStore


def walk_files(store: LocalStore, folder: str, *, depth: int = 0) -> Iterator[str]:
    """Yield the names of files in a folder, relative to it, in the order the system has them.

    Hidden files too. Nothing is held but the folders that are being read, so a folder may have any
    number of files.

    Parameters
    ----------
    store : LocalStore
    folder : str
        Its name in the store.
    depth : int
        How many levels of folders in it are looked into; folders below are yielded by their names.

    Raises
    ------
    StorageError
        A folder can't be read.
    """
    try:
        yield from _walk(store.path / folder, "", depth)
    except OSError as error:
        raise StorageError(
            f"can't list {error.filename}: {error.strerror}; check its access rights"
        ) from error


def read_limited(store: ReadableStore, name: str, max_size: int) -> bytes | None:
    """Return the content of a small file, or of the gzipped ``NAME.gz``; None where it is absent.

    Raises
    ------
    FormatError
        It is larger than `max_size` bytes, or not the gzip that its name says.
    StorageError
        It can't be read.
    """
    data = store.get_whole(name, max_size)
    if data is None and isinstance(store, LocalStore):
        # Web servers show it under its name, or not at all.
        data = store.get(f"{name}.gz", 0, max_stored_size(max_size))
        return None if data is None else gzip.decompress(data, max_size=max_size)
    return data


def _walk(path: Path, prefix: str, depth: int) -> Iterator[str]:
    try:
        entries = os.scandir(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            if entry.is_dir() and depth:
                yield from _walk(path / entry.name, f"{prefix}{entry.name}/", depth - 1)
            else:
                yield prefix + entry.name
