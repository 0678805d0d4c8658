"""Names of files as a system lists them: nothing is held, so a folder may have any number."""

from __future__ import annotations

import errno
import os
import posixpath
from typing import TYPE_CHECKING

from ngcore.errors import StorageError
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ngcore.storage.base import Store
    from ngcore.storage.zip_store import ZipStore


def walk_files(
    store: Store | ZipStore, folder: str, *, depth: int = 0, skip: Collection[str] = ()
) -> Iterator[str]:
    """Yield the names of files in a folder, relative to it, in the order the system has them.

    Hidden files too. Nothing is held but the folders that are being read, so a folder may have any
    number of files.

    Parameters
    ----------
    store : Store
        In a bucket or a zip, hidden files are left out.
    folder : str
        Its name in the store.
    depth : int
        How many levels of folders in it are looked into; folders below are yielded by their names.
    skip : collection of str
        Names directly in the folder that are not looked at.

    Raises
    ------
    StorageError
        A folder can't be read.
    """
    if not isinstance(store, LocalStore):
        start = len(folder) + 1
        names = (name[start:] for name in store.list(f"{folder}/"))
        yield from (name for name in names if name.split("/", 1)[0] not in skip)
        return
    try:
        yield from _walk(store.path / folder, "", depth, skip)
    except OSError as error:
        raise StorageError(
            f"can't list {error.filename}: {error.strerror}; check its access rights"
        ) from error


def is_listed_name(folder: str) -> bool:
    """Whether a bucket or a zip lists what lies in a folder under the name that it is read by.

    Hidden names are left out there, and others than the shortest are not the beginning of any.
    """
    is_hidden = any(part.startswith(".") for part in folder.split("/"))
    return not is_hidden and posixpath.normpath(folder) == folder


def _walk(path: Path, prefix: str, depth: int, skip: Collection[str] = ()) -> Iterator[str]:
    try:
        entries = os.scandir(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return  # nothing can lie there
        raise
    with entries:
        for entry in entries:
            if entry.name in skip:
                continue
            if depth and _is_folder(entry):
                yield from _walk(path / entry.name, f"{prefix}{entry.name}/", depth - 1)
            else:
                yield prefix + entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link to itself
        return False
