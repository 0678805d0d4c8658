"""Bytes on their way to the disk: through file descriptors, and safe from a loss of power.

They are read and written whole, in few calls, and in memory that is used again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ngcore.errors import StorageError
from ngcore.storage.base import TEMPORARY_SUFFIX

if TYPE_CHECKING:
    import io
    from collections.abc import Collection, Iterable, Iterator

    from typing_extensions import Buffer

    from ngcore.codecs.zip_file import Patch


_FEW = 16
"""So many files are synced one by one: the whole file system may have more to write."""

_CANT_SYNC_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}
"""What SMB and some FUSE file systems answer where names need, or know, no sync."""

_BATCH_BYTES = 8 << 20
_BATCH_PARTS = 512
"""How much is handed to the system at once; POSIX promises 1024 parts nowhere, but all have it."""

_MAX_WRITE = 1 << 30
"""macOS refuses writes of 2 GiB and more."""

_PIECE = 1 << 20
"""Little enough to stay in the processor's cache from reading to writing."""


class SyncError(StorageError):
    """The system says that data was lost, or may be: what was written can't be trusted.

    The kernel tells of a failed write once, and may take the lost pages for written afterwards.
    """


def sync_folder(path: Path) -> None:
    """Make all that was written below `path` durable.

    Others may write there meanwhile: what is unfinished then, or goes, need not be durable.

    Raises
    ------
    SyncError
        If the system reports that data was lost.
    """
    _sync_together(path, _below(path), may_go=True)


def sync_files(folder: Path, names: Collection[str]) -> None:
    """Make some files of a folder durable, and their names, its own with them.

    Parameters
    ----------
    folder : Path
    names : collection of str
        Of files below it, parts separated by slashes. One that ends in a slash is a folder: what
        it names is made durable, and what it no longer does.

    Raises
    ------
    SyncError
        If one is not there, or the system reports that data was lost.
    """
    files = [folder / name for name in names if not name.endswith("/")]
    folders = {parent for name in names for parent in PurePosixPath(f"{name}x").parents}
    inner_first = sorted(folders, key=lambda path: len(path.parts), reverse=True)
    paths = (*files, *(folder / path for path in inner_first), folder.absolute().parent)
    _sync_together(folder, paths, may_go=False, one_by_one=len(names) <= _FEW)


def _sync_together(
    folder: Path, paths: Iterable[Path], *, may_go: bool, one_by_one: bool = False
) -> None:
    """Sync files and folders that lie below a folder, or at least these.

    One call for the whole file system where there is one, since syncing file by file takes several
    times as long. (`os.sync` would wait for every other disk too, and tells of no errors.)
    """
    try:
        if not one_by_one and _sync_file_system(folder):
            return
        for path in paths:
            try:
                _sync(path)
            except FileNotFoundError:
                if not may_go:
                    raise
    except OSError as error:
        raise _sync_error(error.filename or folder, error) from error


def _sync_file_system(folder: Path) -> bool:
    """Sync the whole file system of a folder; False where there is no such call."""
    syncfs = _syncfs()
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not syncfs(descriptor):
            return True
        number = ctypes.get_errno()
        if number in _CANT_SYNC_FOLDERS:
            return False
        raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _sync_error(where: object, error: OSError) -> SyncError:
    return SyncError(f"{where} could not be synced: {error.strerror}; check the disk")


def fsync_file(descriptor: int, path: str | Path) -> None:
    """Make an open file durable.

    Raises
    ------
    SyncError
        If the system reports that data was lost.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise _sync_error(path, error) from error


def sync_path(path: str | Path) -> None:
    """Make one file durable, or the entries of one folder; Windows can't do that to folders.

    Raises
    ------
    SyncError
        If the system can't, or reports that data was lost.
    """
    try:
        _sync(path)
    except OSError as error:
        raise _sync_error(path, error) from error


def _sync(path: str | Path) -> None:
    if sys.platform == "win32":
        if not Path(path).is_dir():
            with Path(path).open("rb+") as file:
                os.fsync(file.fileno())
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if not (is_folder and error.errno in _CANT_SYNC_FOLDERS):
            raise
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


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read `size` bytes from `offset` on, or what there is up to the end."""
    data = _read_some(descriptor, size, offset)
    if len(data) == size:
        return data
    pieces = [data]  # one call may return fewer
    while data and size > sum(map(len, pieces)):
        done = sum(map(len, pieces))
        data = _read_some(descriptor, size - done, offset + done)
        pieces.append(data)
    return b"".join(pieces)


def _read_some(descriptor: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # the descriptor is its caller's alone
    return os.read(descriptor, size)


def read_pieces(file: io.FileIO) -> Iterator[memoryview]:
    """Yield a file to its end; each piece is overwritten by the next one."""
    view = memoryview(bytearray(_PIECE))
    while count := file.readinto(view):
        yield view[:count]


def write_all(descriptor: int, parts: Iterable[Buffer]) -> None:
    """Write parts one after the other, some MiB of them at once."""
    batch: list[memoryview] = []
    size = 0
    for part in parts:
        view = memoryview(part).cast("B")
        for offset in range(0, len(view), _MAX_WRITE):
            piece = view[offset : offset + _MAX_WRITE]
            batch.append(piece)
            size += len(piece)
            if size >= _BATCH_BYTES or len(batch) == _BATCH_PARTS:
                _write_batch(descriptor, batch)
                batch, size = [], 0
    _write_batch(descriptor, batch)


def write_patched(descriptor: int, parts: Iterable[Buffer | Patch]) -> None:
    """Write parts, and patches over what they were; a part may change when the next is taken."""
    from ngcore.codecs.zip_file import Patch  # packing alone has them

    waiting: list[bytes] = []
    size = 0
    for part in parts:
        if isinstance(part, bytes):
            waiting.append(part)
            size += len(part)
            if size < _BATCH_BYTES:
                continue
        write_all(descriptor, waiting)
        waiting, size = [], 0
        if isinstance(part, Patch):
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, part.offset, os.SEEK_SET)
            write_all(descriptor, [part.data])
            os.lseek(descriptor, end, os.SEEK_SET)
        elif not isinstance(part, bytes):
            write_all(descriptor, [part])
    write_all(descriptor, waiting)


def _write_batch(descriptor: int, batch: list[memoryview]) -> None:
    """Write every byte; the system may take fewer at a time."""
    while batch:
        if hasattr(os, "writev"):
            written = os.writev(descriptor, batch)
        else:
            written = os.write(descriptor, batch[0])
        done = 0
        while done < len(batch) and written >= len(batch[done]):
            written -= len(batch[done])
            done += 1
        batch = batch[done:]
        if batch and written:
            batch[0] = batch[0][written:]
