"""A temporary file that holds pieces of bytes until they are asked for.

Room that is given back is used again, so the file grows no larger than what it held at once. It
has no name where the system allows that, and is gone when the process is, however that ends.
"""

from __future__ import annotations

import os
import threading
from typing import IO, TYPE_CHECKING

from ngcore.errors import StorageError
from ngcore.storage.base import TEMPORARY_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Buffer

_PAGE = 4096

Place = tuple[int, ...]
"""Where a piece lies: its size in bytes; then, of each run of pages, the first and how many."""


class Spool:
    """Pieces of bytes in a temporary file. Safe to use from several threads at once.

    Parameters
    ----------
    folder : path, optional
        Where the file is made, with the first piece; the system's folder for temporary files if
        not given.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        # Runs of free pages, none next to another: how many by the first, the first by the end.
        self._free: dict[int, int] = {}
        self._free_until: dict[int, int] = {}
        self._pages = 0
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes that the file takes."""
        return self._pages * _PAGE

    def put(self, data: Buffer) -> Place:
        """Keep a piece, and return where it lies.

        Raises
        ------
        StorageError
            The disk is full, or failed.
        """
        view = memoryview(data).cast("B")
        count = -(-len(view) // _PAGE)
        try:
            with self._lock:
                file = self._opened()
                place = (len(view), *self._take(count))
            done = 0
            for offset, length in _parts(place):
                self._write(file, view[done : done + length], offset)
                done += length
        except OSError as error:
            raise self._error("write", error) from error
        return place

    def get(self, place: Place) -> bytes:
        """Return a piece."""
        file = self._file
        if file is None:
            raise ValueError("the spool is closed")
        try:
            return b"".join(self._read(file, length, offset) for offset, length in _parts(place))
        except OSError as error:
            raise self._error("read", error) from error

    def free(self, place: Place) -> None:
        """Give the room of a piece back."""
        with self._lock:
            if self._file is not None:
                for first, count in _runs(place):
                    self._add_free(first, count)

    def close(self) -> None:
        """Remove the file and all that it holds."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file, self._pages = None, 0
            self._free.clear()
            self._free_until.clear()

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            import tempfile

            self._file = tempfile.TemporaryFile(  # noqa: SIM115 (it stays open until close)
                dir=self._folder, prefix=".", suffix=TEMPORARY_SUFFIX, buffering=0
            )
        return self._file

    def _take(self, count: int) -> Iterator[int]:
        """Yield the first page and the length of each run that holds so many pages in all."""
        while count and self._free:
            first, length = self._free.popitem()
            del self._free_until[first + length]
            taken = min(count, length)
            if taken < length:
                self._add_free(first + taken, length - taken)
            yield from (first, taken)
            count -= taken
        if count:
            yield from (self._pages, count)
            self._pages += count

    def _add_free(self, first: int, count: int) -> None:
        stop = first + count
        first = self._free_until.pop(first, first)
        self._free.pop(first, None)
        if stop in self._free:
            stop += self._free.pop(stop)
        self._free[first] = stop - first
        self._free_until[stop] = first

    def _write(self, file: IO[bytes], view: memoryview, offset: int) -> None:
        while view:
            if hasattr(os, "pwrite"):
                written = os.pwrite(file.fileno(), view, offset)
            else:
                with self._lock:
                    file.seek(offset)
                    written = file.write(view)
            view, offset = view[written:], offset + written

    def _read(self, file: IO[bytes], length: int, offset: int) -> bytes:
        pieces = []
        while length:
            if hasattr(os, "pread"):
                piece = os.pread(file.fileno(), length, offset)
            else:
                with self._lock:
                    file.seek(offset)
                    piece = file.read(length)
            if not piece:
                raise OSError("it is shorter than what was written to it")
            pieces.append(piece)
            length, offset = length - len(piece), offset + len(piece)
        return b"".join(pieces)

    def _error(self, action: str, error: OSError) -> StorageError:
        import tempfile

        folder = self._folder or tempfile.gettempdir()
        return StorageError(
            f"can't {action} a temporary file in {folder}: {error.strerror or error}"
        )


def _runs(place: Place) -> Iterator[tuple[int, int]]:
    """Yield (first page, pages) of the parts of a piece that lie in one place each."""
    return zip(place[1::2], place[2::2], strict=True)


def _parts(place: Place) -> Iterator[tuple[int, int]]:
    """Yield (offset, bytes) of those parts."""
    left = place[0]
    for first, count in _runs(place):
        length = min(left, count * _PAGE)
        yield first * _PAGE, length
        left -= length
