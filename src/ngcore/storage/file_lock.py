"""A lock on an open file that ends with the process, however that ends."""

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import BinaryIO, Self

from ngcore.storage.base import StoreLock
from ngcore.storage.sync import sync_path

logger = logging.getLogger(__name__)

_MOST_ATTEMPTS = 100
"""To make a lock whose folder others remove; more of them mean that it can't be made."""


def is_at(file: BinaryIO, path: Path) -> bool:
    """Whether a path still names an open file, which another process may have removed."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False


if sys.platform == "win32":
    import msvcrt

    def lock_file(file: BinaryIO) -> bool:
        """Take the lock that ends with the process; False if another process has it."""
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def lock_file(file: BinaryIO) -> bool:
        """Take the lock that ends with the process; False if another process has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_locked(path: Path) -> bool:
    """Whether another process has the lock of a file; False if there is no file.

    A process that asks for the lock in the very moment of this look is refused.
    """
    with contextlib.suppress(OSError), path.open("rb") as file:
        return not lock_file(file)
    return False


class LocalLock(StoreLock):
    """The lock of a file that stands for a folder; see `take`."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    @classmethod
    def take(cls, path: Path, where: str) -> Self | None:
        """Lock a file, made with its folder if absent; None if another process has it.

        Parameters
        ----------
        path : Path
        where : str
            What is locked, for a warning where the file system has no locks.

        Raises
        ------
        OSError
            It can't be made.
        """
        attempts = 0
        while True:
            try:
                missing = [place for place in path.parent.parents if not place.exists()]
                make_folders(path.parent)
                for place in missing:  # whose names are to be durable
                    sync_path(place.absolute().parent)
                file = path.open("ab")
            except (FileNotFoundError, FileExistsError) as error:
                attempts += 1
                is_no_folder = isinstance(error, FileExistsError) and path.parent.exists()
                if is_no_folder or attempts == _MOST_ATTEMPTS:
                    raise
                continue  # a process that ended has just removed the folder
            try:
                is_ours = lock_file(file)
            except OSError as error:
                logger.warning(
                    "%s can't be locked (%s): make sure that nothing else writes to it",
                    where,
                    error.strerror,
                )
                is_ours = True
            if not is_ours:
                file.close()
                return None
            if is_at(file, path):
                return cls(path, file)
            file.close()

    def is_held(self) -> bool:
        """Whether the file that is locked still lies where it did; see `StoreLock.is_held`."""
        return is_at(self._file, self._path)

    def release(self) -> None:
        """Remove the file, and its folder if nothing else is in it; see `StoreLock.release`."""
        if os.name != "nt" and self.is_held():  # it may be in a folder that was moved away
            with contextlib.suppress(OSError):
                self._path.unlink()
        self._file.close()
        with contextlib.suppress(OSError):
            if os.name == "nt":  # where a file that is open can't be removed
                self._path.unlink()
            self._path.parent.rmdir()


def make_folders(folder: Path) -> None:
    """Make a folder and those above it that are missing.

    `Path.mkdir(parents=True)` never ends where the system makes none and says that the folder
    above is missing, as in /proc.

    Raises
    ------
    OSError
        One can't be made, or is a file.
    """
    for place in reversed(folder.parents):
        if not place.exists():
            place.mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
