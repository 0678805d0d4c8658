"""Whatever fsspec has a backend for, such as buckets of Google and Amazon; only read.

https://filesystem-spec.readthedocs.io/
"""

from __future__ import annotations

import posixpath
from typing import Any

import fsspec.core

from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError, NgcoreError, StorageError
from ngcore.storage.base import ReadableStore

_ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class FsspecStore(ReadableStore):
    """A folder, or a prefix of a bucket.

    Parameters
    ----------
    url : str
        Such as ``gs://bucket/volume``. Options are those of the backend's environment.

    Raises
    ------
    ImportError
        The backend is not installed.
    InputError
        There is no such backend.
    """

    def __init__(self, url: str) -> None:
        self.location = url.rstrip("/")
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.location)
        except ImportError:
            raise
        except Exception as error:  # backends have errors of their own
            raise InputError(
                f"{url} can't be opened: {_reason(error)}; check the URL and your credentials"
            ) from error

    def __repr__(self) -> str:
        return f"FsspecStore({self.location!r})"

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return bytes; see `ReadableStore.get`."""
        if stop is not None and stop <= start:
            return b"" if self.size(name) is not None else None
        data: bytes | None = self._ask(name, "cat_file", start=start or None, end=stop)
        return data

    def get_whole(self, name: str, max_size: int) -> bytes | None:
        """Return all bytes; see `ReadableStore.get_whole`.

        Buckets hold gzip under names without ``.gz``, which web clients get decompressed.
        """
        data = super().get_whole(name, max_size)
        if data is None or name.endswith(".gz") or not gzip.is_gzip(data):
            return data
        try:
            return gzip.decompress(data, max_size=max_size)
        except FormatError:
            return data  # it only looks like gzip

    def size(self, name: str) -> int | None:
        """Return a size; see `ReadableStore.size`."""
        status: dict[str, Any] | None = self._ask(name, "info")
        if status is None or status.get("type") == "directory":
            return None
        return int(status["size"])

    def _ask(self, name: str, method: str, **options: Any) -> Any:
        path = posixpath.normpath(f"{self._root}/{name}")
        try:
            return getattr(self._files, method)(path, **options)
        except _ABSENT:
            return None
        except NgcoreError:
            raise
        except Exception as error:  # backends have errors of their own
            raise StorageError(
                f"can't read {name} in {self.location}: {_reason(error)}; "
                "check the URL, your credentials and the network"
            ) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
