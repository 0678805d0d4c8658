"""The store of a volume in a bucket.

Names and bytes are those of a folder, but that a gzipped file keeps its name and says
``Content-Encoding: gzip``. An object appears whole or not at all and stays, so there is nothing to
sync.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from ngcore.codecs.content import decode_content
from ngcore.errors import FormatError, InputError, StorageError
from ngcore.storage.base import Store
from ngcore.storage.names import media_type, proper_name
from ngcore.storage.objects.lock import ObjectLock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

    from ngcore.storage.objects.bucket import Bucket


class ObjectStore(Store):
    """A folder in a bucket.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/folder``, for messages and for other processes.
    open_bucket : callable
        Returns the bucket for the name of one.
    """

    is_remote = True
    is_durable = True
    keeps_names = True

    def __init__(self, url: str, open_bucket: Callable[[str], Bucket]) -> None:
        self.location = url.rstrip("/")
        bucket, _, root = self.location.partition("://")[2].partition("/")
        self._root = posixpath.normpath(root).strip("/") if root else ""
        if self._root.split("/", 1)[0] == "..":
            raise InputError(f"{url} leads out of its bucket; pass a URL without ..")
        self._bucket = open_bucket(bucket)
        self._open_bucket = open_bucket

    def __repr__(self) -> str:
        return f"ObjectStore({self.location!r})"

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str, Callable[[str], Bucket]]]:
        return ObjectStore, (self.location, self._open_bucket)

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return the bytes of an object as they lie; see `ReadableStore.get`."""
        data = self.get_buffer(name, start, stop)
        return None if data is None else bytes(data)

    def get_buffer(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> bytes | memoryview | None:
        """Return the bytes of an object uncopied; see `ReadableStore.get_buffer`."""
        found = self._bucket.read(self._key(name), start, stop)
        return found.data if found is not None else None

    def get_whole(self, name: str, max_size: int) -> bytes | None:
        """Return an object, decompressed by its Content-Encoding; see `ReadableStore.get_whole`.

        Some keep gzip under names without ``.gz`` and don't say so.
        """
        found = self._bucket.read(self._key(name), max_size=max_size)
        if found is None:
            return None
        if found.size > max_size:
            raise FormatError(f"larger than the {max_size} bytes expected")
        return decode_content(bytes(found.data), found.encoding, max_size=max_size)

    def size(self, name: str) -> int | None:
        """Return the size of an object; see `ReadableStore.size`."""
        found = self._bucket.head(self._key(name))
        return found.size if found is not None else None

    def get_sized(self, name: str, start: int, stop: int) -> tuple[bytes, int] | None:
        """Return a range and the size of its object; see `ReadableStore.get_sized`."""
        found = self._bucket.read(self._key(name), start, stop)
        return (bytes(found.data), found.size) if found is not None else None

    def put_parts(self, name: str, parts: Iterable[Buffer]) -> None:
        """Write an object, in parts where it is large; see `Store.put_parts`."""
        self._bucket.write(self._key(name, writing=True), parts, _headers(name))

    def put_chunk(self, name: str, data: Buffer, *, media_type: str, is_gzipped: bool) -> None:
        """Write a chunk with what browsers need to know of it; see `Store.put_chunk`."""
        headers = {"Content-Type": media_type}
        if is_gzipped:
            headers["Content-Encoding"] = "gzip"
        self._bucket.write(self._key(name, writing=True), (data,), headers)

    def delete(self, name: str) -> None:
        """Remove an object; see `Store.delete`."""
        self._bucket.delete([self._key(name, writing=True)])

    def delete_all(self, names: Iterable[str]) -> None:
        """Remove many objects in few requests; see `Store.delete_all`."""
        self._bucket.delete(self._key(name, writing=True) for name in names)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of objects; see `Store.list`."""
        folder = prefix.rpartition("/")[0]
        for name in self._names(folder):
            if name.startswith(prefix) and not name.startswith(".") and "/." not in name:
                yield name

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield names with sizes, of which a listing tells a thousand; see `Store.sizes`."""
        start = len(self._root) + 1 if self._root else 0
        for key, size in self._bucket.listed(self._folder(folder)):
            if "/." not in f"/{key[start:]}":
                yield key[start:], size

    def entries(self, folder: str = "") -> set[str]:
        """Return what lies directly in a folder; see `Store.entries`."""
        return set(self._bucket.entries(self._folder(folder)))

    def delete_folder(self, folder: str) -> None:
        """Remove all objects below a folder; see `Store.delete_folder`."""
        key = self._key(folder, writing=True)
        self._bucket.delete(self._bucket.keys(key))

    def create(self, name: str, data: Buffer) -> bool:
        """Write an object that is not there yet; see `Store.create`."""
        key = self._key(name, writing=True)
        return self._bucket.create(key, bytes(data), _headers(name)) is not None

    def lock(self, name: str) -> ObjectLock | None:
        """Lock an object, which is made if it is absent; see `Store.lock`."""
        return ObjectLock.take(self._bucket, self._key(name, writing=True))

    def is_locked(self, name: str) -> bool:
        """Whether a process that lives has the lock of an object; see `Store.is_locked`."""
        return ObjectLock.is_held_by_another(self._bucket, self._key(name))

    def delete_unfinished(self, folder: str = "") -> None:
        """Give up uploads that killed processes have begun; see `Store.delete_unfinished`."""
        self._bucket.abort_uploads(self._folder(folder))

    def check(self) -> None:
        """Raise StorageError where the bucket is absent, or may not be listed."""
        next(iter(self._bucket.entries(self._root)), None)

    def object_above(self) -> str | None:
        """Return the URL of an object where a folder should be: this one, or one that it lies in.

        Empty ones are what tools lay down for a folder.
        """
        parts = self._root.split("/") if self._root else []
        for count in range(len(parts), 0, -1):
            key = "/".join(parts[:count])
            found = self._bucket.head(key)
            if found is not None and found.size:
                return f"{self._bucket.url}/{key}"
        return None

    def _names(self, folder: str) -> Iterator[str]:
        start = len(self._root) + 1 if self._root else 0
        return (key[start:] for key in self._bucket.keys(self._folder(folder)))

    def _folder(self, folder: str) -> str:
        return self._key(folder) if folder else self._root

    def _key(self, name: str, *, writing: bool = False) -> str:
        name = proper_name(name, self.location, writing=writing)
        key = posixpath.normpath(f"{self._root}/{name}") if self._root else name
        if key.split("/", 1)[0] == "..":
            raise StorageError(f"{name!r} leads out of the bucket of {self.location}")
        return key


def _headers(name: str) -> dict[str, str]:
    headers = {"Content-Type": media_type(name)}
    if name.rpartition("/")[2] == "info":
        headers["Cache-Control"] = "no-cache"
    return headers
