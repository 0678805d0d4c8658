"""Names of files as a system lists them: nothing is held, so a folder may have any number."""

from __future__ import annotations

import errno
import itertools
import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from ngcore.errors import StorageError
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from ngcore.storage.base import Store
    from ngcore.storage.zip_store import ZipStore

_LOOKED_AT = 1 << 12
"""As many names tell whether files are called as chunks are."""


class NamesSeen(NamedTuple):
    """What the first names of files tell: how many are chunks', and which are not."""

    chunks: int
    strays: list[str]
    is_all: bool

    def note(self, what: str, example: str, fill: str) -> str | None:
        """Return what to warn of: that files are not read, or that nothing is there.

        Parameters
        ----------
        what : "chunk" or "shard"
        example : str
            The name of one.
        fill : str
            As what voxels read that are not there.
        """
        if not self.strays:
            if self.chunks or not self.is_all:
                return None
            return f"it has no {what}s: all of its voxels read as {fill}"
        stray = self.strays[0]
        if not self.chunks:
            return (
                f"no file is named like a {what}, such as {example!r}; there are other files, "
                f"such as {stray!r}, which are not read: all of its voxels read as {fill}"
            )
        is_one = len(self.strays) == 1
        found = f"the file {stray!r}" if is_one else f"{len(self.strays)} files such as {stray!r}"
        return (
            f"{found} {'is' if is_one else 'are'} not named like a {what}, such as "
            f"{example!r}, and "
            f"{'is' if is_one else 'are'} not read; {what}s that are missing read as {fill}"
        )


def look_at_names(
    names: Iterable[str],
    is_chunk: Callable[[str], object],
    may_be_meant: Callable[[str], object] | None = None,
) -> NamesSeen:
    """Look at the first of some names.

    Parameters
    ----------
    names : iterable of str
    is_chunk : callable
        Whether a name is that of a chunk, or of a shard.
    may_be_meant : callable, optional
        Whether another name counts; default all do.
    """
    chunks, strays, looked_at = 0, [], 0
    for name in itertools.islice(names, _LOOKED_AT):
        looked_at += 1
        if is_chunk(name):
            chunks += 1
        elif may_be_meant is None or may_be_meant(name):
            strays.append(name)
    return NamesSeen(chunks, strays, looked_at < _LOOKED_AT)


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
