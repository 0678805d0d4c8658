"""What a run shares with workers elsewhere: a hidden folder that is there while the run is.

It lies in the place that the run writes to, which is all that workers must reach. When it goes,
because the run has ended, whoever still works stops.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.errors import DestinationError, InputError, NgcoreError, StorageError
from ngcore.storage import LocalStore
from ngcore.storage.stored_path import StoredPath
from ngcore.storage.sync import SyncError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ngcore.storage import Store
    from ngcore.work.base import Executor

ALIVE = "alive"
"""The name, in a folder that is no path, of what is there while the run is."""
_SECONDS_BETWEEN_LOOKS = 5.0


def portable(store: Store) -> Store:
    """Return a store that means the same in other processes, whatever folder they work in."""
    return LocalStore(store.path.absolute()) if isinstance(store, LocalStore) else store


@contextmanager
def shared_folder(dest: Store, work: str, executor: Executor) -> Iterator[StoredPath]:
    """Make a folder that workers see, check that all do, and remove it when the block ends.

    Parameters
    ----------
    dest : Store
        `portable`.
    work : str
        A hidden folder of it.
    executor : Executor
        Is stopped where the block fails.

    Raises
    ------
    DestinationError
        A worker can't write there; the message names it.
    """
    folder = StoredPath(dest, f"{work}/{os.urandom(8).hex()}")
    dest.put((folder / ALIVE).full, b"")
    try:
        executor.everywhere(check_access, dest, folder)
        yield folder
    except BaseException:
        remove_shared(folder)
        executor.stop()
        raise
    finally:
        remove_shared(folder)


def remove_shared(folder: StoredPath) -> None:
    """Remove a folder, as far as that can be done."""
    with suppress(NgcoreError):  # it goes with all else that is hidden there
        folder.store.delete_folder(folder.full)


def check_access(dest: Store, tmp: Path | StoredPath) -> None:
    """Check that this process sees what a run shares, and may write there.

    Raises
    ------
    DestinationError
        It does not; the message names the machine and the path.
    """
    where = this_process()
    if isinstance(tmp, Path):
        folders = (dest.path, tmp) if isinstance(dest, LocalStore) else (tmp,)
        _check_folders(folders, where)
        return
    mine = tmp / f"worker-{os.urandom(8).hex()}"
    try:
        if not is_wanted(tmp):
            raise StorageError(f"{tmp} does not exist")
        dest.put(mine.full, b"")
        mine.unlink()
    except (StorageError, InputError, DestinationError) as error:
        hint = "it needs the same credentials and endpoint as the process that started this"
        if isinstance(dest, LocalStore):
            hint = "choose a folder on a file system that all workers share"
        raise DestinationError(
            f"the worker on {where} can't write to {dest.location}: {error}; {hint}"
        ) from error


def this_process() -> str:
    """Return where this is, for messages."""
    return f"{socket.gethostname()} (process {os.getpid()})"


def is_wanted(tmp: Path | StoredPath) -> bool:
    """Whether the shared folder is there: it goes when the run ends."""
    if isinstance(tmp, StoredPath):
        return tmp.store.size((tmp / ALIVE).full) is not None
    return tmp.is_dir()


def check_is_wanted(tmp: Path | StoredPath) -> None:
    """Raise StorageError where the run is over, or this process can't see its folder.

    For workers that came later and were not there to be checked.
    """
    if not is_wanted(tmp):
        raise StorageError(
            f"the worker on {socket.gethostname()} can't see {tmp}: it lacks access, such as "
            "credentials, or the run is over"
        )


class Wanted:
    """Whether somebody wants the work; a store is asked now and then only."""

    def __init__(self, tmp: Path | StoredPath) -> None:
        self._tmp = tmp
        self._asked = time.monotonic()

    def __call__(self) -> bool:
        """Return whether the shared folder was there when it was looked for last."""
        if isinstance(self._tmp, Path) or time.monotonic() < self._asked + _SECONDS_BETWEEN_LOOKS:
            return True
        self._asked = time.monotonic()
        return is_wanted(self._tmp)


def _check_folders(folders: Iterable[Path], where: str) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise DestinationError(
                f"the worker on {where} can't see {folder}; choose a folder on a file system that "
                "all workers share"
            )
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise DestinationError(
                f"the worker on {where} can't write to {folder}: {error.strerror}; "
                "check its permissions"
            ) from error


def make_durable(store: Store, names: Iterable[str]) -> None:
    """Make files durable, one by one: the system has other users, and other files.

    Raises
    ------
    SyncError
        Data may be lost.
    """
    if not isinstance(store, LocalStore):
        return
    for name in names:
        path = store.path / name
        try:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise SyncError(f"{path} could not be synced: {error.strerror}") from error
