"""Files in a folder, written whole or not at all."""

from __future__ import annotations

import errno
import io
import itertools
import os
import re
import shutil
import stat
import threading
from contextlib import suppress
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.errors import DestinationError, InputError, StorageError
from ngcore.storage.base import TEMPORARY_SUFFIX, Store
from ngcore.storage.file_lock import LocalLock, is_locked, make_folders
from ngcore.storage.names import proper_name, refuse_links_outside
from ngcore.storage.sync import (
    SyncError,
    fsync_file,
    read_at,
    read_pieces,
    sync_files,
    sync_folder,
    sync_path,
    write_all,
    write_patched,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from typing_extensions import Buffer

    from ngcore.codecs.zip_file import Patch

WORK_FOLDER = ".ngcore"
"""Where a run keeps its notes, in the folder of the volume that it writes, until that is whole."""

WRONG_FOLDER = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
    errno.EILSEQ,
}
"""Errors for which another folder helps; others (a full disk) may go by themselves."""

_COUNTER = itertools.count()
_TEMPORARY = r"\.([0-9a-f]{8})-([0-9]+)-[0-9]+-[0-9a-f]+" + re.escape(TEMPORARY_SUFFIX)

_FOLDER_LOCKS = tuple(threading.Lock() for _ in range(64))
"""One for each folder, or for a few of them. The system changes a folder's names one by one, and
threads that wait for it there may keep their processors busy. Those that wait here leave theirs to
others."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0)
"""A pipe that lies among the files of a volume would be waited for until somebody writes to it."""
_READ = os.O_RDONLY | _AT_ONCE | getattr(os, "O_BINARY", 0)
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_NOWHERE = {errno.ENAMETOOLONG, errno.ELOOP}
"""Of names that nothing can lie under: too long, or a symbolic link to itself."""


def temporary_name() -> str:
    """Return a new name for a file that this process writes: hidden, and it tells the process."""
    return f".{_machine()}-{os.getpid()}-{next(_COUNTER)}-{os.urandom(3).hex()}{TEMPORARY_SUFFIX}"


def writer_of(name: str) -> int | None:
    """Return the process of this machine that writes a temporary file.

    None where it is another machine's, or no such file.
    """
    match = re.fullmatch(_TEMPORARY, name)
    return int(match[2]) if match and match[1] == _machine() else None


@cache
def _machine() -> str:
    """Return what process numbers are unique in: a running system, or a container of it."""
    parts = [os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()


class LocalStore(Store):
    """A folder, which need not be there before the first `put`.

    Names may not leave the folder, but for those that are only read: the `key` of a scale may
    hold ``..`` by the format's rules. Symbolic links are followed, but nothing is written or
    removed in folders to which they lead outside. Absolute names are refused.

    Parameters
    ----------
    path : str or path
    """

    has_cheap_ranges = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.location = str(self.path)
        self._root = self.location.replace(os.sep, "/")
        self._own_folders: set[str] = set()

    def __repr__(self) -> str:
        return f"LocalStore({self.location!r})"

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return the bytes of a file; see `Store.get`."""
        found = self.get_sized(name, start, stop)
        return None if found is None else found[0]

    def get_sized(self, name: str, start: int, stop: int | None) -> tuple[bytes, int] | None:
        """Return a range of a file, and its size; see `Store.get_sized`."""
        path = self._path(name)
        try:
            # A file object would make three calls more.
            descriptor = os.open(path, _READ)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    return None  # as `size` says
                size = status.st_size
                end = size if stop is None or stop > size else stop
                return (read_at(descriptor, end - start, start) if start < end else b"", size)
            finally:
                os.close(descriptor)
        except _ABSENT as error:
            if isinstance(error, FileNotFoundError) and os.path.islink(path):  # noqa: PTH114
                raise StorageError(
                    f"can't read {path}: it is a symbolic link to a file that does not exist; "
                    "fetch that (`git annex get` or `datalad get`, if it is git-annex's)"
                ) from error
            return None
        except PermissionError as error:
            # What Windows says of a folder. (`Path.is_dir` would raise if it may not look.)
            if os.path.isdir(path):  # noqa: PTH112
                return None
            raise _storage_error("read", path, error) from error
        except OSError as error:
            if error.errno in _NOWHERE:
                return None
            raise _storage_error("read", path, error) from error

    def put_parts(self, name: str, parts: Iterable[Buffer]) -> None:
        """Write a file; see `Store.put`."""
        self._put(name, partial(write_all, parts=parts), durably=False)

    def put_patched(self, name: str, parts: Iterable[Buffer | Patch]) -> None:
        """Write a file as `put_parts` does, with patches to what was written before them."""
        self._put(name, partial(write_patched, parts=parts), durably=False)

    def pieces(self, name: str) -> Iterator[memoryview]:
        """Yield a file piece by piece, in memory that the next piece overwrites.

        Raises
        ------
        StorageError
            It is absent, or can't be read.
        """
        path = self._path(name)
        try:
            with io.FileIO(path, opener=_open_at_once) as file:
                yield from read_pieces(file)
        except OSError as error:
            raise _storage_error("read", path, error) from error

    def put_durably(self, name: str, data: Buffer) -> None:
        """Write a file that survives a loss of power from the moment its name is there."""
        self._put(name, partial(write_all, parts=(data,)), durably=True)

    def append(self, name: str, data: Buffer) -> None:
        """Write at the end of a file; see `Store.append`."""
        path = self._path(name, writing=True)
        try:
            with open(path, "ab", buffering=0, opener=_open_own) as file:
                write_all(file.fileno(), (data,))
        except OSError as error:
            raise _storage_error("write", path, error) from error

    def append_durably(self, name: str, data: Buffer) -> None:
        """Write at the end of a file, and wait until that is on the disk.

        Raises
        ------
        StorageError
            The disk is full, or failed. A part of the data may have been added.
        """
        path = self._path(name, writing=True)
        try:
            is_new = not os.path.exists(path)  # noqa: PTH110 (as below)
            with open(path, "ab", buffering=0, opener=_open_own) as file:
                write_all(file.fileno(), (data,))
                fsync_file(file.fileno(), path)
            if is_new:
                sync_path(path.rpartition("/")[0])
        except OSError as error:
            raise _storage_error("write", path, error) from error

    def _put(
        self,
        name: str,
        write: Callable[[int], None],
        *,
        durably: bool,
        place: Callable[[str, str], None] = os.replace,
    ) -> None:
        path = self._path(name, writing=True)
        folder = path.rpartition("/")[0]
        temporary = f"{folder}/{temporary_name()}"
        names = _FOLDER_LOCKS[hash(folder) % len(_FOLDER_LOCKS)]
        try:
            try:
                with names:
                    descriptor = _open_new(temporary, folder)
                try:
                    write(descriptor)
                    if durably:
                        fsync_file(descriptor, path)
                finally:
                    os.close(descriptor)
                with names:
                    place(temporary, path)
                if durably:
                    sync_path(folder)
            except BaseException:
                with suppress(OSError):
                    Path(temporary).unlink()
                raise
        except StorageError:
            # From the parts, which may come from another file: that is the one to name.
            raise
        except OSError as error:
            if place is _link and isinstance(error, FileExistsError):
                raise
            raise _storage_error("write", path, error) from error

    def size(self, name: str) -> int | None:
        """Return the size of a file; see `Store.size`."""
        path = self._path(name)
        try:
            status = os.stat(path)  # noqa: PTH116 (as above)
        except _ABSENT:
            return None
        except OSError as error:
            if error.errno in _NOWHERE:
                return None
            raise _storage_error("read", path, error) from error
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def delete(self, name: str) -> None:
        """Remove a file; see `Store.delete`. Folders stay."""
        path = self._path(name, writing=True)
        try:
            os.unlink(path)  # noqa: PTH108 (a Path costs more than the call)
        except _ABSENT:
            return
        except OSError as error:
            raise _storage_error("remove", path, error) from error

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of files; see `Store.list`."""
        folder, _, start = prefix.rpartition("/")
        path = self._path(folder) if folder else self._root
        try:
            with os.scandir(path) as entries:
                found = sorted((entry.name, entry.is_dir()) for entry in entries)
        except _ABSENT:
            return
        except OSError as error:
            raise _storage_error("list", path, error) from error
        for name, is_folder in found:
            if name.startswith(start) and not name.startswith("."):
                full_name = f"{folder}/{name}" if folder else name
                if is_folder:
                    yield from self.list(full_name + "/")
                else:
                    yield full_name

    def walk(self, folder: str) -> Iterator[str]:
        """Yield names as the system has them; see `Store.walk`."""
        path = self._path(folder)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        yield from self.walk(f"{folder}/{entry.name}")
                    else:
                        yield f"{folder}/{entry.name}"
        except _ABSENT:
            return
        except OSError as error:
            raise _storage_error("list", path, error) from error

    def prune(self, folder: str) -> None:
        """Remove empty folders; see `Store.prune`."""
        path = Path(self._path(folder, writing=True))
        for parent, _, _ in os.walk(path, topdown=False):
            with suppress(OSError):
                Path(parent).rmdir()
        with suppress(OSError):
            for above in path.parents:
                if above == Path(self._root):
                    break
                above.rmdir()

    def has_any(self, folder: str) -> bool:
        """Return whether there is any file below a folder; see `Store.has_any`.

        No more names are taken than that needs: every work item asks, and there may be millions.
        """
        path = self._path(folder)
        try:
            with os.scandir(path) as entries:
                return any(
                    not entry.is_dir() or self.has_any(f"{folder}/{entry.name}")
                    for entry in entries
                    if not entry.name.startswith(".")
                )
        except _ABSENT:
            return False
        except OSError as error:
            raise _storage_error("list", path, error) from error

    def entries(self, folder: str = "") -> set[str]:
        """Return what lies directly in a folder; see `Store.entries`."""
        path = self._path(folder) if folder else self._root
        try:
            return set(os.listdir(path))  # noqa: PTH208 (as above)
        except _ABSENT:
            return set()
        except OSError as error:
            raise _storage_error("list", path, error) from error

    def delete_folder(self, folder: str) -> None:
        """Remove a folder with all that lies in it; see `Store.delete_folder`."""
        path = self._path(folder, writing=True)
        try:
            shutil.rmtree(path)
        except _ABSENT:
            return
        except OSError as error:
            raise _storage_error("remove", error.filename or path, error) from error

    def create(self, name: str, data: Buffer) -> bool:
        """Write a file that is not there yet; see `Store.create`."""
        try:
            self._put(name, partial(write_all, parts=(data,)), durably=True, place=_link)
        except FileExistsError:
            return False
        return True

    def sync(self, names: Collection[str] | None = None) -> None:
        """Wait until files are on the disk; see `Store.sync`."""
        if names is None:
            sync_folder(self.path)
        elif names:
            sync_files(self.path, names)

    def lock(self, name: str) -> LocalLock | None:
        """Lock a file, which is made if it is absent; see `Store.lock`."""
        path = Path(self._path(name, writing=True))
        try:
            return LocalLock.take(path, self.location)
        except SyncError:
            raise
        except OSError as error:
            what = f"{self.location} can't be written: {error.strerror}"
            if error.errno in WRONG_FOLDER:
                raise DestinationError(f"{what}; choose another folder") from error
            raise StorageError(f"{what}; fix that, or choose another folder") from error

    def is_locked(self, name: str) -> bool:
        """Whether another process has the lock of a file; see `Store.is_locked`."""
        return is_locked(Path(self._path(name)))

    def _path(self, name: str, *, writing: bool = False) -> str:
        """Return where a name lies, once it is known to be a proper one."""
        name = proper_name(name, self.location, writing=writing)
        if os.name == "nt" and ":" in name:
            raise InputError(f"Windows has no files with a colon in their name: {name!r}")
        if writing:
            refuse_links_outside(self._root, name.rpartition("/")[0], self._own_folders)
        return f"{self._root}/{name}"


def _link(temporary: str, path: str) -> None:
    """Give a file a name that must be free."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # file systems without hard links
        os.close(os.open(path, _NEW_FILE, 0o666))
        os.replace(temporary, path)  # noqa: PTH105 (as above)
        return
    os.unlink(temporary)  # noqa: PTH108 (as above)


def _open_own(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | _AT_ONCE)


def _open_new(path: str, folder: str) -> int:
    try:
        return os.open(path, _NEW_FILE, 0o666)
    except FileNotFoundError:
        # Only now, so that the usual file costs no call for its folder.
        make_folders(Path(folder))
        return os.open(path, _NEW_FILE, 0o666)


def _storage_error(action: str, path: str, error: OSError) -> StorageError:
    cause = error.strerror or str(error)
    return StorageError(f"can't {action} {path}: {cause}")
