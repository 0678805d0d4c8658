"""A temporary file that lies in a store, for those who share nothing but that store.

It does what such files are asked for of a path, so that whoever reads and writes them need not
know where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ngcore.errors import InputNotFoundError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ngcore.storage.base import Store

_PIECE = 8 << 20


@dataclass(frozen=True)
class StoredPath:
    """The name of a file, or of a folder of such, in a store; picklable as the store is.

    Attributes
    ----------
    store : Store
    full : str
        The name in it.
    """

    store: Store
    full: str

    def __truediv__(self, name: str) -> StoredPath:
        return StoredPath(self.store, f"{self.full}/{name}")

    def __str__(self) -> str:
        return f"{self.store.location}/{self.full}"

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.full.rpartition("/")[2]

    def absolute(self) -> StoredPath:
        """Return the same: it means the same everywhere."""
        return self

    def unlink(self) -> None:
        """Remove the file."""
        self.store.delete(self.full)

    def upload(self, path: Path) -> None:
        """Put the content of a file here."""

        def pieces() -> Iterator[bytes]:
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece

        try:
            self.store.put_parts(self.full, pieces())
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"can't read {path}: {error.strerror}") from error

    def open(self) -> StoredFile:
        """Return what reads the file in ranges.

        Raises
        ------
        InputNotFoundError
            It is not there.
        """
        size = self.store.size(self.full)
        if size is None:
            raise InputNotFoundError(f"no file {self}")
        return StoredFile(self, size)


class StoredFile:
    """Reads a file that lies in a store; safe to use from several threads at once."""

    def __init__(self, path: StoredPath, size: int) -> None:
        self.path = path
        self.size = size

    def read_into(self, offset: int, view: memoryview) -> None:
        """Fill memory with the file's bytes from an offset on."""
        flat = view.cast("B")
        data = self.path.store.get_buffer(self.path.full, offset, offset + len(flat))
        if data is None or len(data) != len(flat):
            raise StorageError(f"{self.path} was removed or truncated while it was read")
        flat[:] = data

    def close(self) -> None:
        """Do nothing: nothing is open."""
