"""A single file that a command writes: refused before any work is done for it, then durable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.codecs.zip_file import ChangedError
from ngcore.errors import DestinationError, StorageError
from ngcore.storage import LocalStore, Store, is_url, split_place, writable_store
from ngcore.storage.file_lock import make_folders
from ngcore.storage.local import WRONG_FOLDER
from ngcore.transaction.places import is_same_place
from ngcore.transaction.presence import refuse_object
from ngcore.transaction.stale import remove_stale

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from ngcore.codecs.zip_file import ZipParts


def check_output_folder(folder: Store | str | os.PathLike[str]) -> None:
    """Check that files can be made in a folder, which need not be there yet.

    Parameters
    ----------
    folder : Store, path or URL

    Raises
    ------
    DestinationError
        They can't; a part of its path may be a file.
    StorageError
        The bucket can't be reached.
    """
    store = folder if isinstance(folder, Store) else writable_store(folder)
    if not isinstance(store, LocalStore):
        store.entries()
        refuse_object(store)
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
    out: str | os.PathLike[str],
    *,
    overwrite: bool,
    sources: Iterable[str | os.PathLike[str]] = (),
) -> None:
    """Check that a file can be written, in a folder which need not be there yet.

    Parameters
    ----------
    out : path or URL
    overwrite : bool
        It may be there already, and is replaced.
    sources : iterable of path
        What it is made from: none of them may be replaced.

    Raises
    ------
    DestinationError
        The file is a folder, already exists and not to be replaced, is a source, or can't be
        written.
    """
    text = os.fspath(out)
    store, name = _placed(out)
    check_output_folder(store)
    if isinstance(store, LocalStore) and Path(out).is_dir():
        raise DestinationError(f"{text!r} is a folder; name the file to write")
    for source in sources:
        if is_same_place(out, source):
            raise DestinationError(
                f"{text!r} is the source {os.fspath(source)!r}; name another file to write"
            )
    is_there = (
        Path(out).exists() if isinstance(store, LocalStore) else store.size(name) is not None
    )
    if is_there and not overwrite:
        raise DestinationError(f"{text!r} already exists; pass --overwrite to replace it")


def _placed(out: str | os.PathLike[str]) -> tuple[Store, str]:
    folder, name = split_place(out)
    return writable_store(folder), name


def folder_beside(out: str | os.PathLike[str]) -> Path:
    """Return the folder for temporary files of what a file is made of: its own, which is made.

    For a file in a bucket it is the system's.

    Raises
    ------
    DestinationError, StorageError
        It can't be made.
    """
    if is_url(out):
        import tempfile

        return Path(tempfile.gettempdir())
    folder = Path(out).parent
    make_folder(folder)
    return folder


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
        what = f"{folder} can't be created: {error.strerror}"
        if error.errno in WRONG_FOLDER:
            raise DestinationError(f"{what}; choose another place") from error
        raise StorageError(f"{what}; free some space, or choose another place") from error


def write_output(out: str | os.PathLike[str], *parts: Buffer) -> None:
    """Write a file that `check_output_file` has let pass; it is durable when this returns.

    Raises
    ------
    StorageError
        The disk is full, or failed. What was there is still there.
    """
    write_output_parts(out, parts)


def write_output_parts(out: str | os.PathLike[str], parts: Iterable[Buffer]) -> None:
    """Do as `write_output`, with parts that are taken as they are needed, a few MiB at a time."""
    store, name = _placed(out)
    if isinstance(store, LocalStore):
        remove_stale(store.path)
    store.put_parts(name, parts)
    store.sync([name])


def write_zip_file(out: str | os.PathLike[str], parts: ZipParts) -> None:
    """Do as `write_output`, with a zip: entries are read once where a file here is written.

    Raises
    ------
    StorageError
        An entry was changed meanwhile, too.
    """
    store, name = _placed(out)
    try:
        if isinstance(store, LocalStore):
            remove_stale(store.path)
            store.put_patched(name, parts.patched())
        else:
            store.put_parts(name, parts.in_order())
    except ChangedError as error:
        raise StorageError(
            f"{error} was changed while {os.fspath(out)} was written; write it again while "
            "nothing else "
            "writes to it"
        ) from error
    store.sync([name])


def _may(path: Path, mode: int) -> bool:
    """Whether this process, with the rights it has now, may do something."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
