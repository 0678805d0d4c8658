"""A single file that a command writes: refused before any work is done for it, then durable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.errors import DestinationError, StorageError
from ngcore.storage import LocalStore, url_of_path, writable_store
from ngcore.storage.file_lock import make_folders
from ngcore.storage.local import WRONG_FOLDER
from ngcore.transaction.places import is_same_file
from ngcore.transaction.stale import remove_stale

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer


def check_output_folder(folder: str | os.PathLike[str]) -> None:
    """Check that files can be made in a folder, which need not be there yet.

    Parameters
    ----------
    folder : str or path
        Or the URL of one in a bucket.

    Raises
    ------
    DestinationError
        They can't; a part of its path may be a file.
    StorageError
        The bucket can't be reached.
    """
    store = writable_store(folder)
    if not isinstance(store, LocalStore):
        store.entries()
        return
    folder = store.path
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    except OSError as error:  # a folder above may not be entered, a name is too long
        raise DestinationError(
            f"{str(folder)!r} can't be written: {error.strerror}; choose another place"
        ) from error
    if not existing.is_dir():
        raise DestinationError(f"{str(existing)!r} is a file, not a folder; choose another place")
    if not _may(existing, os.W_OK | os.X_OK):
        raise DestinationError(f"{str(existing)!r} can't be written; choose another place")


def check_output_file(
    out: Path, *, overwrite: bool, sources: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Check that a file can be written, in a folder which need not be there yet.

    Parameters
    ----------
    out : Path
    overwrite : bool
        It may be there already, and is replaced.
    sources : iterable of path
        What it is made from: none of them may be replaced.

    Raises
    ------
    DestinationError
        The file is a folder, exists already and not to be replaced, is a source, or can't be
        written.
    """
    url = url_of_path(out)
    if url is not None:
        _check_output_object(url, overwrite=overwrite, sources=sources)
        return
    check_output_folder(out.parent)
    if out.is_dir():
        raise DestinationError(f"{str(out)!r} is a folder; name the file to write")
    for source in sources:
        if is_same_file(out, Path(source)):
            raise DestinationError(
                f"{str(out)!r} is the source {os.fspath(source)!r}; name another file to write"
            )
    if out.exists() and not overwrite:
        raise DestinationError(f"{str(out)!r} exists already; pass --overwrite to replace it")


def _check_output_object(
    url: str, *, overwrite: bool, sources: Iterable[str | os.PathLike[str]]
) -> None:
    folder, _, name = url.rpartition("/")
    for source in sources:
        if os.fspath(source) == url:
            raise DestinationError(f"{url!r} is the source; name another file to write")
    if writable_store(folder).size(name) is not None and not overwrite:
        raise DestinationError(f"{url!r} exists already; pass --overwrite to replace it")


def make_folder(folder: Path) -> None:
    """Make a folder for what is written, with those above it.

    Raises
    ------
    DestinationError, StorageError
        It can't be made.
    """
    try:
        make_folders(folder)
    except OSError as error:
        what = f"{folder} can't be made: {error.strerror}"
        if error.errno in WRONG_FOLDER:
            raise DestinationError(f"{what}; choose another place") from error
        raise StorageError(f"{what}; make room, or choose another place") from error


def write_output(out: Path, *parts: Buffer) -> None:
    """Write a file that `check_output_file` has let pass; it is durable when this returns.

    Raises
    ------
    StorageError
        The disk is full, or failed. What was there is still there.
    """
    write_output_parts(out, parts)


def write_output_parts(out: Path, parts: Iterable[Buffer]) -> None:
    """Do as `write_output`, with parts that are taken as they are needed, a few MiB at a time."""
    url = url_of_path(out)
    if url is not None:
        folder, _, name = url.rpartition("/")
        writable_store(folder).put_parts(name, parts)
        return
    store = LocalStore(out.parent)
    remove_stale(out.parent)
    store.put_parts(out.name, parts)
    store.sync([out.name])


def _may(path: Path, mode: int) -> bool:
    """Whether this process, with the rights it has now, may do something."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
