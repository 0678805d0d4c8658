"""Reading a file at given places: from several threads, into given memory, without mapping it.

Pages of a mapped file count as resident memory, so files are read with `pread`-like calls. Where
the system has none (Windows), a lock guards seek and read.
"""

from __future__ import annotations

import itertools
import os
import stat
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError, StorageError

_LONGEST_POINTER = 1024
"""Bytes of a file that may be a pointer of Git LFS or git-annex."""

MAX_SINGLE_READ = 1 << 30
"""Systems limit what one call reads (2 GiB - 4 KiB on Linux)."""


def open_binary(path: str | Path, name: str) -> PositionalFile:
    """Open an input file that must be there and readable.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    InputError
        If it may not be read or is a folder.
    """
    try:
        file = PositionalFile(path, name)
        if file.size < _LONGEST_POINTER:
            refuse_pointer(file, name)
        return file
    except FileNotFoundError:
        raise missing_file(path, name) from None
    except PermissionError as error:
        if Path(path).is_dir():  # Windows says so when a folder is opened
            raise InputError(f"{name}: is a folder, expected a file; pass the file") from error
        raise InputError(f"{name}: no permission to read it; check its access rights") from error
    except IsADirectoryError:
        raise InputError(f"{name}: is a folder, expected a file; pass the file") from None
    except OSError as error:
        raise InputError(
            f"{name}: can't be opened: {error.strerror or error}; check the path and the disk"
        ) from error


def refuse_pointer(file: PositionalFile, name: str) -> None:
    """Refuse the few bytes that Git LFS and git-annex leave in place of a file.

    Raises
    ------
    InputError
        That says how to get the file itself.
    """
    head = bytearray(file.size)
    file.read_into(0, memoryview(head))
    way = None
    if head.startswith(b"version https://git-lfs"):
        way = "is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"
    elif head.lstrip().startswith(b"/annex/objects/"):
        way = f"is a pointer of git-annex, not the file itself; {_annex_get(name)}"
    if way is not None:
        file.close()
        raise InputError(f"{name}: {way}")


def _annex_get(name: str) -> str:
    return f"fetch it with `git annex get {name}` or `datalad get {name}`"


def refuse_pipe(path: Path, name: str) -> None:
    """Refuse what hands out its bytes once, or never: pipes, sockets, terminals.

    Volumes are read at any place, and by some readers more than once.

    Raises
    ------
    InputError
        If `path` is neither a file nor a folder.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return  # whoever opens it says why it can't be
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode)):
        raise InputError(
            f"{name}: is a pipe or a device, but ngcore needs to read from anywhere in a "
            "file; save its "
            "output as a file, and pass that"
        )


def missing_file(path: str | Path, name: str) -> InputNotFoundError:
    """Return the error for a file of the source `name` that is not there: it, or one beside it."""
    target = str(Path(path).readlink()) if Path(path).is_symlink() else ""
    if "annex/objects" in target.replace(os.sep, "/"):
        return InputNotFoundError(
            f"{name}: is a link of git-annex to content that is not here; {_annex_get(name)}"
        )
    if target:
        return InputNotFoundError(
            f"{name}: is a symbolic link to {target!r}, which does not exist; check the path"
        )
    other = Path(path).name
    if other != Path(name).name and Path(name).is_file():
        return InputNotFoundError(
            f"{name}: {other!r}, which belongs to it, is missing; keep both in one folder"
        )
    return InputNotFoundError(f"{name}: no such file; check the path")


def refuse_broken_link(folder: Path, name: str) -> None:
    """Refuse what is not there because it, or a folder that it lies in, is a link to nothing.

    Parameters
    ----------
    folder : Path
        That links are looked for in.
    name : str
        Of the file, from there.

    Raises
    ------
    InputNotFoundError
        That says how to get it.
    """
    path = folder
    for part in name.split("/"):
        path /= part
        if path.is_symlink() and not path.exists():
            raise missing_file(path, path.relative_to(folder).as_posix())


def refuse_folder_of_chunk(folder: Path, name: str) -> None:
    """Refuse a folder in the place of a chunk, and a file in that of a folder of chunks.

    Raises
    ------
    FormatError
        What lies there would read as the fill value.
    """
    path = folder / name
    if path.is_dir():
        raise FormatError(f"{name!r} is a folder, where a chunk should be; copy the chunk again")
    for above in itertools.takewhile(lambda above: above != folder, path.parents):
        if above.is_file():
            raise FormatError(
                f"{above.relative_to(folder).as_posix()!r} is a file, where a folder of chunks "
                "should be; copy that again"
            )


class PositionalFile:
    """An open file, read at byte offsets; safe from several threads."""

    def __init__(self, path: str | Path, name: str) -> None:
        self.path = Path(path)
        self.name = name
        self._file = self.path.open("rb", buffering=0)
        self._lock = threading.Lock()
        self.size = os.fstat(self._file.fileno()).st_size

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` from the bytes at `offset`.

        Parameters
        ----------
        offset : int, in bytes from the file's start
        buffer : memoryview of bytes, contiguous

        Raises
        ------
        FormatError
            If the file ends first.
        StorageError
            If the system can't read.
        """
        done = 0
        try:
            while done < len(buffer):
                part = buffer[done : done + MAX_SINGLE_READ]
                count = self._read_some(offset + done, part)
                if count == 0:
                    raise FormatError(
                        f"{self.name}: truncated: it ends at byte {offset + done}, "
                        f"{len(buffer) - done} bytes early; download or copy it again"
                    )
                done += count
        except OSError as error:
            raise StorageError(
                f"{self.name}: reading failed at byte {offset + done}: {error.strerror or error}; "
                f"check the disk or mount"
            ) from error

    def _read_some(self, offset: int, part: memoryview) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [part], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(part) or 0

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


def bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    """Return the memory of a C-contiguous array as bytes that can be written."""
    return array.reshape(-1).view(np.uint8).data
