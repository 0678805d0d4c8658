"""Stores of zarr, read-only: ngcore's own (web servers, buckets), and folders.

Zarr takes what is not there for a chunk of the fill value. Of a folder, a link to what is not
there, as git-annex leaves it, is an error instead, of a chunk or of a folder of them; so is a
folder in the place of a chunk.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.storage import LocalStore

from ngcore.sources.files import refuse_broken_link, refuse_folder_of_chunk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from zarr.core.buffer import Buffer, BufferPrototype

    from ngcore.storage import ReadableStore

_METADATA = {".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json"}


class ZarrStore(Store):
    """A store that can't be listed: groups are known by their metadata alone."""

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, store: ReadableStore) -> None:
        super().__init__(read_only=True)
        self._store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ZarrStore) and other._store is self._store

    def __repr__(self) -> str:
        return f"ZarrStore({self._store.location!r})"

    __hash__ = None  # type: ignore[assignment]

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of a key, or a range of them; None where there is none."""
        data = await asyncio.to_thread(self._bytes, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    def _bytes(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        match byte_range:
            case RangeByteRequest():
                return self._store.get(key, byte_range.start, byte_range.end)
            case OffsetByteRequest():
                return self._store.get(key, byte_range.offset)
            case SuffixByteRequest():
                size = self._store.size(key)
                start = None if size is None else max(0, size - byte_range.suffix)
                return None if start is None else self._store.get(key, start)
            case _:
                return self._store.get(key)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return several ranges."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Return whether there is such a key."""
        return await asyncio.to_thread(self._store.size, key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: the store is only read."""
        raise NotImplementedError(key, value)

    async def delete(self, key: str) -> None:
        """Refuse: the store is only read."""
        raise NotImplementedError(key)

    def list(self) -> AsyncIterator[str]:
        """List nothing."""
        return _nothing()

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List nothing."""
        del prefix
        return _nothing()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List nothing."""
        del prefix
        return _nothing()


class _FolderStore(LocalStore):
    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the bytes of a key, or a range of them; None where there is none."""
        found = await super().get(key, prototype, byte_range)
        if found is None:
            await asyncio.to_thread(_refuse_what_hides, self.root, key)
        return found


def _refuse_what_hides(root: Path, key: str) -> None:
    refuse_broken_link(root, key)
    if key.rpartition("/")[2] not in _METADATA:
        refuse_folder_of_chunk(root, key)


def folder_store(path: Path) -> Store:
    """Return a folder as a store; a link to what is not there can't be read."""
    return _FolderStore(path, read_only=True)


async def _nothing() -> AsyncIterator[Any]:
    nothing: tuple[str, ...] = ()
    for name in nothing:
        yield name
