"""The lock of a hidden folder in which a run works, and the folder's end.

Such a folder goes with the run that ends; what is in it stays if there is something to go on with.
"""

import contextlib
import time

from ngcore.errors import DestinationError, StorageError
from ngcore.storage.base import Store, StoreLock

_LOCK = "lock"
_PLAN = "plan.json"
_PAUSE = 0.02


def lock_folder(store: Store, work: str, *, patience: float = 0) -> StoreLock:
    """Lock a hidden folder of a volume until `unlock_folder`.

    Parameters
    ----------
    store : Store
        The volume's.
    work : str
        The hidden folder in it, made if it is not there.
    patience : float, in seconds
        How long to wait for a run that has not begun anything long: such end in a moment.

    Raises
    ------
    DestinationError, StorageError
        Another process has it, or it can't be written.
    """
    deadline = time.monotonic() + patience
    while True:
        lock = store.lock(f"{work}/{_LOCK}")
        if lock is not None:
            return lock
        if time.monotonic() > deadline or store.size(f"{work}/{_PLAN}") is not None:
            raise _in_use(store)
        time.sleep(_PAUSE)


def unlock_folder(store: Store, work: str, lock: StoreLock, *, remove: bool) -> None:
    """Let go of a folder that `lock_folder` has locked.

    Parameters
    ----------
    store : Store
    work : str
    lock : StoreLock
    remove : bool
        Nothing in it is needed any more.
    """
    # The lock goes last: whoever comes then finds nothing of ours, and keeps what is its own.
    try:
        if remove and lock.is_held():
            with contextlib.suppress(StorageError):  # it harms nothing but the room it takes
                empty_folder(store, work)
    finally:
        lock.release()


def empty_folder(store: Store, work: str) -> None:
    """Remove all that is in a hidden folder, but for its lock and its folders' own locks.

    Raises
    ------
    StorageError
        Something can't be removed.
    """
    for entry in store.entries(work) - {_LOCK}:
        name = f"{work}/{entry}"
        if store.size(name) is not None:
            store.delete(name)
        else:
            store.delete_folder(name)


def refuse_in_use(store: Store, work: str) -> None:
    """Refuse a hidden folder that another process has locked.

    Raises
    ------
    DestinationError
        One has.
    """
    if store.is_locked(f"{work}/{_LOCK}"):
        raise _in_use(store)


def _in_use(store: Store) -> DestinationError:
    return DestinationError(
        f"{store.location} is in use by another ngcore; wait for it, or choose another folder"
    )
