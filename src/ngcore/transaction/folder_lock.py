"""The lock of a hidden folder in which a run works, and the folder's end.

Such a folder goes with the run that ends; what is in it stays if there is something to go on with.
"""

import contextlib
import logging
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from ngcore.errors import DestinationError, StorageError
from ngcore.storage.file_lock import is_at, is_locked, lock_file
from ngcore.storage.local import WRONG_FOLDER

logger = logging.getLogger(__name__)

_LOCK = "lock"


def lock_folder(folder: Path, volume: Path) -> BinaryIO:
    """Make a hidden folder of a volume, if it is not there, and lock it until `unlock_folder`.

    Parameters
    ----------
    folder : Path
    volume : Path
        The volume's own folder, for messages.

    Raises
    ------
    DestinationError, StorageError
        Another process has it, or it can't be written.
    """
    try:
        return _lock_folder(folder, volume)
    except OSError as error:
        if isinstance(error, DestinationError):
            raise
        what = f"{volume} can't be written: {error.strerror}"
        if error.errno in WRONG_FOLDER:
            raise DestinationError(f"{what}; choose another folder") from error
        raise StorageError(f"{what}; mend that, or choose another folder") from error


def _lock_folder(folder: Path, volume: Path) -> BinaryIO:
    path = folder / _LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = path.open("ab")
        except FileNotFoundError:
            continue  # a process that finished has just removed the folder
        try:
            is_ours = lock_file(lock)
        except OSError as error:
            logger.warning(
                "%s can't be locked (%s): see to it that nobody else writes to it",
                volume,
                error.strerror,
            )
            is_ours = True
        if not is_ours:
            lock.close()
            raise _in_use(volume)
        if is_at(lock, path):
            return lock
        lock.close()


def unlock_folder(folder: Path, lock: BinaryIO, *, remove: bool) -> None:
    """Let go of a folder that `lock_folder` has locked.

    Parameters
    ----------
    folder : Path
    lock : BinaryIO
    remove : bool
        Nothing in it is needed any more.
    """
    path = folder / _LOCK
    # The lock goes last: whoever comes then finds nothing of ours, and keeps what is its own.
    if remove:
        empty_folder(folder)
        if os.name != "nt":
            with contextlib.suppress(OSError):
                path.unlink()
    lock.close()
    if remove:
        with contextlib.suppress(OSError):
            if os.name == "nt":  # where a file that is open can't be removed
                path.unlink()
            folder.rmdir()


def empty_folder(folder: Path) -> None:
    """Remove all that is in a folder, but for its lock; what can't be removed stays."""
    with contextlib.suppress(OSError):
        for entry in folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != _LOCK:
                entry.unlink(missing_ok=True)


def refuse_in_use(folder: Path, volume: Path) -> None:
    """Refuse a hidden folder that another process has locked.

    Raises
    ------
    DestinationError
        One has.
    """
    if is_locked(folder / _LOCK):
        raise _in_use(volume)


def _in_use(volume: Path) -> DestinationError:
    return DestinationError(
        f"{volume} is in use by another ngcore; wait for it, or choose another folder"
    )
