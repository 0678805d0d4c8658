"""Making what was written survive a loss of power."""

import ctypes
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from ngcore.errors import StorageError
from ngcore.storage.base import TEMPORARY_SUFFIX


def sync_folder(path: Path) -> None:
    """Make all that was written below `path` durable.

    Others may write there meanwhile: what is unfinished then, or goes, need not be durable.

    Raises
    ------
    StorageError
        If the system reports that data was lost.
    """
    _sync_together(path, _below(path), may_go=True)


def sync_files(folder: Path, names: Collection[str]) -> None:
    """Make some files of a folder durable, and their names, its own with them.

    Parameters
    ----------
    folder : Path
    names : collection of str
        Of files below it, parts separated by slashes.

    Raises
    ------
    StorageError
        If one is not there, or the system reports that data was lost.
    """
    files = [folder / name for name in names]
    folders = {parent for name in names for parent in PurePosixPath(name).parents}
    inner_first = sorted(folders, key=lambda path: len(path.parts), reverse=True)
    paths = (*files, *(folder / path for path in inner_first), folder.absolute().parent)
    _sync_together(folder, paths, may_go=False)


def _sync_together(folder: Path, paths: Iterable[Path], *, may_go: bool) -> None:
    """Sync files and folders that lie below a folder, or at least these.

    One call for the whole file system where there is one, since syncing file by file takes several
    times as long. (`os.sync` would wait for every other disk too, and tells of no errors.)
    """
    syncfs = _syncfs()
    try:
        if syncfs is None:
            for path in paths:
                try:
                    _sync(path)
                except FileNotFoundError:
                    if not may_go:
                        raise
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            if syncfs(descriptor):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
    except OSError as error:
        where = error.filename or folder
        raise StorageError(
            f"{where} could not be synced: {error.strerror}; check the disk"
        ) from error


def sync_path(path: str | Path) -> None:
    """Make one file durable, or the entries of one folder; Windows can't do that to folders.

    Raises
    ------
    StorageError
        If the system can't, or reports that data was lost.
    """
    try:
        _sync(path)
    except OSError as error:
        raise StorageError(
            f"{path} could not be synced: {error.strerror}; check the disk"
        ) from error


def _sync(path: str | Path) -> None:
    if sys.platform == "win32":
        if not Path(path).is_dir():
            with Path(path).open("rb+") as file:
                os.fsync(file.fileno())
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _below(path: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(path, topdown=False):
        # Windows does not let others open those that are temporary by the system's means.
        yield from (Path(parent) / name for name in names if not name.endswith(TEMPORARY_SUFFIX))
        yield Path(parent)
    yield path.absolute().parent


@cache
def _syncfs() -> Any:
    """Return the system's `syncfs`, None where it has none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
