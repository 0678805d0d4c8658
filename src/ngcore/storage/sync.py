"""Making what was written survive a loss of power."""

import ctypes
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ngcore.errors import StorageError


def sync_folder(path: Path) -> None:
    """Make all that was written below `path` durable.

    One call for the whole file system where there is one, since syncing file by file takes several
    times as long. (`os.sync` would wait for every other disk too, and tells of no errors.)

    Raises
    ------
    StorageError
        If the system reports that data was lost.
    """
    syncfs = _syncfs()
    try:
        if syncfs is None:
            for name in _below(path):
                _sync(name)
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if syncfs(descriptor):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{path} could not be synced: {error.strerror}") from error


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
        raise StorageError(f"{path} could not be synced: {error.strerror}") from error


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
        yield from (Path(parent) / name for name in names)
        yield Path(parent)
    yield path.absolute().parent


@cache
def _syncfs() -> Any:
    """Return the system's `syncfs`, None where it has none."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
