"""The hidden folder in which a run works: its lock, its end, and the run's temporary files.

It goes with the run that ends; what is in it stays if there is something to go on with.

A folder for temporary files is in it too, or where `--tmp` says. One that lies elsewhere is noted
in the hidden folder before it is made, so that the next run on the same volume finds it. Its name
holds a hash of the volume's path: a copy of an unfinished volume has the note too, but must not
touch what the original still works with.

The classic steps don't lock the volume, and several may work on it at once. Each has a folder of
its own there, with a lock that ends with the process: who finds one that nobody has removes it.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ngcore.errors import DestinationError, InputError, StorageError
from ngcore.storage.file_lock import is_at, lock_file
from ngcore.storage.local import WRONG_FOLDER, LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.storage.base import Store, StoreLock


_LOCK = "lock"
_PLAN = "plan.json"
_PAUSE = 0.02
_NOTE = "temporary"
_OWNED = ".ngcore-step-"


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
            with suppress(StorageError):  # it harms nothing but the room it takes
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


@contextmanager
def temporary_folder(work_folder: Path, tmp: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Make the folder of a run for the time of a `with` block.

    Parameters and errors are those of `choose_temporary_folder` and `make_temporary_folder`.
    """
    folder = choose_temporary_folder(work_folder, tmp)
    make_temporary_folder(folder, work_folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def owned_folder(parent: Path) -> Iterator[Path]:
    """Make a folder of this process in one that others write to, for the time of a `with` block.

    What processes that are gone left there is removed first.

    Raises
    ------
    DestinationError, StorageError
        If it can't be made.
    """
    _remove_orphans(parent)
    try:
        folder, lock = _make_owned(parent)
    except OSError as error:
        what = f"{parent} can't be written: {error.strerror}"
        if error.errno in WRONG_FOLDER:
            raise DestinationError(f"{what}; check its permissions") from error
        raise StorageError(f"{what}; free some space there, or check the disk") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)  # Windows removes no file that is open


@contextmanager
def working_folder(store: Store, tmp: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Make a folder of this process for a step that writes to a place; see `owned_folder`.

    Parameters
    ----------
    store : Store
        A folder, in which it is made; for a bucket it is made here.
    tmp : path, optional
        Where it is made for a bucket; default the system's folder for temporary files.
    """
    if isinstance(store, LocalStore):
        parent = store.path
    else:
        import tempfile

        parent = Path(tmp or tempfile.gettempdir())
    with owned_folder(parent) as folder:
        yield folder


def lasting_folder(store: Store, tmp: str | os.PathLike[str] | None = None) -> Path:
    """Return a folder here for what goes to a bucket and must outlast a run that is interrupted.

    The next run of this user on this machine, with the same `tmp`, finds what is in it.

    Parameters
    ----------
    store : Store
        The bucket's.
    tmp : path, optional
        Where it is to be; default the system's folder for temporary files.
    """
    import tempfile

    name = blake2b(f"{_user()} {store.location}".encode(), digest_size=8).hexdigest()
    return Path(tmp or tempfile.gettempdir()).absolute() / f".ngcore-of-{name}"


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def make_lasting_folder(folder: Path) -> None:
    """Make a folder that `lasting_folder` has named, unless it is there.

    Raises
    ------
    DestinationError, StorageError
        It can't be made, or is another user's.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        is_ours = not folder.is_symlink() and (os.name == "nt" or folder.stat().st_uid == _user())
    except OSError as error:
        what = f"{folder} can't be created: {error.strerror}"
        if error.errno in WRONG_FOLDER:
            raise DestinationError(f"{what}; pass another folder for temporary files") from error
        raise StorageError(f"{what}; free some space there") from error
    if not is_ours:
        raise DestinationError(
            f"{folder} belongs to another user; pass another folder for temporary files"
        )


def _make_owned(parent: Path) -> tuple[Path, BinaryIO]:
    while True:
        folder = parent.absolute() / f"{_OWNED}{os.urandom(6).hex()}"
        folder.mkdir(mode=0o700)
        try:
            lock = (folder / _LOCK).open("ab")
        except FileNotFoundError:
            continue  # taken for left behind, and removed
        try:
            is_ours = lock_file(lock) and is_at(lock, folder / _LOCK)
        except OSError:  # no locks on this file system: nobody will take it for left behind
            is_ours = True
        if is_ours:
            return folder, lock
        lock.close()


def _remove_orphans(parent: Path) -> None:
    for folder in parent.glob(f"{_OWNED}*"):
        with suppress(OSError), (folder / _LOCK).open("rb+") as lock:
            if lock_file(lock):
                shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            folder.rmdir()  # what Windows left


def choose_temporary_folder(work_folder: Path, tmp: str | os.PathLike[str] | None) -> Path:
    """Return the absolute path of a new folder for the temporary files of a run.

    Parameters
    ----------
    work_folder : Path
        The volume's hidden folder, or another that is there.
    tmp : path or None
        Where it is to be instead.
    """
    parent = work_folder if tmp is None else Path(tmp)
    return parent.absolute() / f"{_prefix(work_folder)}{os.urandom(6).hex()}"


def make_temporary_folder(folder: Path, work_folder: Path) -> None:
    """Make a folder that was chosen, unless it is there; nobody else may read what lies in it.

    Raises
    ------
    InputError
        If its parent can't hold it.
    StorageError
        If the disk is full, or failed.
    """
    try:
        if folder.parent != work_folder.absolute():
            with (work_folder / _NOTE).open("ab") as note:
                note.write(os.fsencode(folder) + b"\0")
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        what = f"{folder.parent} can't hold temporary files: {error.strerror}"
        if error.errno not in WRONG_FOLDER:
            raise StorageError(f"{what}; free some space there, or pass --tmp DIR") from error
        raise InputError(f"{what}; pass another folder as --tmp DIR") from error


def remove_left_behind(work_folder: Path) -> None:
    """Remove the noted folders of runs that are gone; call it with the volume locked.

    A folder that can't be removed stays: it harms nothing but the room it takes.
    """
    note = work_folder / _NOTE
    try:
        noted = note.read_bytes()
    except FileNotFoundError:
        return
    prefix = _prefix(work_folder)
    for name in noted.split(b"\0")[:-1]:  # a last name without an end was cut off
        folder = Path(os.fsdecode(name))
        if folder.is_absolute() and folder.name.startswith(prefix) and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
    note.unlink()


def _prefix(work_folder: Path) -> str:
    path = os.fsencode(work_folder.resolve())
    return f".ngcore-{blake2b(path, digest_size=6).hexdigest()}-"
