"""Chunks of which each is a file: flat or nested, gzipped or not.

Flat is what the format names, ``key/0-64_0-64_0-64``; nested, ``key/0-64/0-64/0-64``, keeps
folders small and is put right by the server. Chunks with ``.gz`` behind their name are served with
``Content-Encoding: gzip``.
"""

from __future__ import annotations

import logging
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from ngcore.codecs import gzip
from ngcore.codecs.content import BY_ENDING
from ngcore.errors import FormatError, InputError
from ngcore.precomputed.encodings import make_encoding
from ngcore.storage.base import ChunkReader, ChunkWriter, max_stored_size
from ngcore.storage.completeness import advice_on_lost, note_on_names, was_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Buffer

    from ngcore.precomputed.chunks import ChunkGrid, Vec3
    from ngcore.precomputed.encodings import Span
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.storage.base import AtOnce, ChunkGroup, Layout, ReadableStore, Store
    from ngcore.storage.uploads import Uploads

logger = logging.getLogger(__name__)


_KINDS: tuple[tuple[Layout, str], ...] = (
    ("flat", ""),
    ("nested", ".gz"),
    ("flat", ".gz"),
    ("nested", ""),
)
"""Every way a chunk may lie: layout, and ending. The usual ones come first."""

_RARE_KINDS: tuple[tuple[Layout, str], ...] = (
    ("flat", ".br"),
    ("flat", ".zst"),
    ("flat", ".zstd"),
    ("nested", ".br"),
    ("nested", ".zst"),
    ("nested", ".zstd"),
)
"""Those of other programs, on disks; servers say it in Content-Encoding."""

_PARTS = 4
"""Times as many chunks as are on their way at once are looked for in one way, then in others."""

_UPLOADS = 24
"""Chunks that are on their way to a bucket at once."""

_MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png"}


class ChunkFileReader(ChunkReader):
    """Reads chunks in whichever way each lies.

    The way that was found last is tried first, so a volume that was written at once costs one look
    per chunk.

    Parameters
    ----------
    store : Store
    scale : ScaleInfo
    max_size : int, in bytes
        Refuse chunks that are larger than this.
    """

    def __init__(self, store: ReadableStore, scale: ScaleInfo, max_size: int) -> None:
        self._store = store
        self._scale = scale
        self._key = scale.key
        self._grid = scale.grid
        self._max_size = max_size
        self._max_stored_size = max_stored_size(max_size)
        self._is_by_others = False
        self._is_told = False
        self._kinds = _KINDS if store.is_remote else _KINDS + _RARE_KINDS

    def read(self, cell: Vec3) -> bytes | None:
        """Return an encoded chunk; see `ChunkReader.read`."""
        return self._read(cell, self._kinds)

    def read_span(self, cell: Vec3, span: Span) -> tuple[bytes | None, bool]:
        """Return a chunk or a part of it; see `ChunkReader.read_span`."""
        kinds = self._kinds
        if not kinds[0][1] and self._store.has_cheap_ranges:
            name = _name(self._key, self._grid, cell, *kinds[0])
            found = self._store.get_sized(name, span.start, span.stop)
            if found is None:
                return self._read(cell, kinds[1:]), False
            if found[1] == span.size and len(found[0]) == span.stop - span.start:
                return found[0], True
        return self._read(cell, kinds), False

    def _read(self, cell: Vec3, kinds: tuple[tuple[Layout, str], ...]) -> bytes | None:
        """Return a chunk that lies in one of some ways."""
        for kind in kinds:
            name = _name(self._key, self._grid, cell, *kind)
            data = self._whole(name)
            if data is None:
                continue
            return self._taken(data, name, kind)
        self._tell_of_lost(cell)
        return None

    def in_groups(
        self, cells: Sequence[Vec3], requests: int, threads: int, at_once: AtOnce
    ) -> Sequence[ChunkGroup]:
        """Return chunks in groups for threads; see `ChunkReader.in_groups`."""
        if not self._store.asks_ahead:
            return super().in_groups(cells, requests, threads, at_once)
        ahead = max(1, requests // threads)
        return [partial(self._read_ahead, cells[n::threads], ahead) for n in range(threads)]

    def _read_ahead(
        self, cells: Sequence[Vec3], ahead: int
    ) -> Iterator[tuple[Vec3, bytes | None]]:
        """Yield chunks, so many of which are asked for at once."""
        # In parts, as the first of them tell in which way the others lie.
        for first in range(0, len(cells), _PARTS * ahead):
            left = cells[first : first + _PARTS * ahead]
            for kind in self._kinds:
                # Found in one way, a chunk is not looked for in others: those may be damaged.
                absent = []
                for cell, data in self._looked_for(left, kind, ahead):
                    if data is None:
                        absent.append(cell)
                    else:
                        yield cell, data
                left = absent
            for cell in left:
                self._tell_of_lost(cell)
                yield cell, None

    def _looked_for(
        self, cells: Sequence[Vec3], kind: tuple[Layout, str], ahead: int
    ) -> Iterator[tuple[Vec3, bytes | None]]:
        """Yield chunks as far as they lie in one way, several of which are asked for at once."""
        names = [_name(self._key, self._grid, cell, *kind) for cell in cells]
        found = self._store.get_each_whole(names, self._max_stored_size, ahead)
        for cell, name in zip(cells, names, strict=True):
            data = self._next(found, name)
            yield cell, None if data is None else self._taken(data, name, kind)

    def _next(self, found: Iterator[bytes | None], name: str) -> bytes | None:
        try:
            return next(found)
        except FormatError as error:
            raise FormatError(f"{name} in {self._store.location}: {error}") from error

    def _taken(self, data: bytes, name: str, kind: tuple[Layout, str]) -> bytes:
        """Return the chunk that a file holds, and remember in which way it lies."""
        if kind is not self._kinds[0]:
            # A tuple that is replaced whole needs no lock.
            self._kinds = (kind, *(other for other in self._kinds if other is not kind))
        try:
            return self._plain(data, kind[1])
        except FormatError as error:
            raise FormatError(f"{name} in {self._store.location}: {error}") from error

    def _tell_of_lost(self, cell: Vec3) -> None:
        loss = self._store.lost_chunks
        if loss == "ignore" or self._is_by_others or (loss == "warn" and self._is_told):
            return
        key, location = self._key, self._store.location
        is_ours = was_lost(self._store, key)
        self._is_told = True
        if is_ours is None:
            return
        if not is_ours:
            self._is_by_others = True
            note = note_on_names(self._store, self._scale)
            if note is not None:
                logger.warning("%s in %s: %s; run ngcore validate", key, location, note)
            return
        name = _name(key, self._grid, cell, "flat", "")
        if loss == "refuse":
            raise FormatError(
                f"{name} in {location}: the file is missing, but {advice_on_lost('chunk')}"
            )
        logger.warning(
            "%s in %s is missing; it and others read as zeros, but %s",
            name,
            location,
            advice_on_lost("chunk"),
        )

    def _whole(self, name: str) -> bytes | None:
        try:
            return self._store.get_whole(name, self._max_stored_size)
        except FormatError as error:
            raise FormatError(f"{name} in {self._store.location}: {error}") from error

    def _plain(self, data: bytes, ending: str) -> bytes:
        if not ending:
            return data
        decompress = BY_ENDING[ending]
        return decompress(data, max_size=self._max_size)


class ChunkFileWriter(ChunkWriter):
    """Writes each chunk to a file of its own, chunks of zeros too.

    Where the scale's folder holds files already, other copies of a chunk, left from a run with
    another layout, are removed as it is written: readers could not tell which is the newer.

    Parameters
    ----------
    store : Store
    info : VolumeInfo
    scale : ScaleInfo
    layout : "flat" or "nested"
    gzipped : bool
    may_be_stale : bool, optional
        Whether there may be such copies, where that was looked at before; default look here.
    written : callable, optional
        Called with the name of each file that is complete.
    in_background : bool
        Let chunks on their way to a bucket while the next ones are made; `finish` waits for them.
    """

    def __init__(
        self,
        store: Store,
        info: VolumeInfo,
        scale: ScaleInfo,
        layout: Layout,
        *,
        gzipped: bool,
        may_be_stale: bool | None = None,
        written: Callable[[str], None] | None = None,
        in_background: bool = False,
    ) -> None:
        if layout not in ("flat", "nested"):
            raise InputError(f"layout must be flat or nested, got {layout!r}")
        self._store = store
        self._scale = scale
        self._grid = scale.grid
        self._is_gzipped = gzipped
        self._uploads: Uploads | None = None
        if in_background and store.is_remote:
            from ngcore.storage.uploads import Uploads

            self._uploads = Uploads(_UPLOADS)
        self._kind = (layout, ".gz" if gzipped and not store.keeps_names else "")
        self._media_type = _MEDIA_TYPES.get(scale.encoding, "application/octet-stream")
        self._written = written
        self._others = [kind for kind in _KINDS if kind != self._kind]
        if not store.is_remote:
            self._others += _RARE_KINDS
        self._may_be_stale = store.has_any(scale.key) if may_be_stale is None else may_be_stale
        encoding = make_encoding(info, scale)
        channels = info.num_channels

        @lru_cache(maxsize=8)
        def stored_zeros(shape: Vec3) -> bytes:
            data = encoding.encode(np.zeros((*shape, channels), encoding.dtype, order="F"))
            return gzip.compress(data) if gzipped else data

        self._stored_zeros = stored_zeros

    def write(self, cell: Vec3, data: Buffer | None) -> None:
        """Write a chunk; see `ChunkWriter.write`."""
        if data is None:
            data = self._stored_zeros(self._grid.bounds(cell).shape)
        elif self._is_gzipped:
            data = gzip.compress(data)
        if self._uploads is not None:
            stored = bytes(data)
            self._uploads.submit(partial(self._put, cell, stored), len(stored))
        else:
            self._put(cell, data)

    def _put(self, cell: Vec3, data: Buffer) -> None:
        name = self.file_of(cell)
        self._store.put_chunk(name, data, media_type=self._media_type, is_gzipped=self._is_gzipped)
        if self._may_be_stale:
            for kind in self._others:
                self._store.delete(_name(self._scale.key, self._grid, cell, *kind))
        if self._written is not None:
            self._written(name)

    def file_of(self, cell: Vec3) -> str:
        """Return the name of a chunk's file."""
        return _name(self._scale.key, self._grid, cell, *self._kind)

    def finish(self, *, whole: bool = True) -> None:  # noqa: ARG002 (there is no more to check)
        """Wait for what is on its way; see `ChunkWriter.finish`."""
        if self._uploads is not None:
            self._uploads.finish()

    def abort(self) -> None:
        """Leave out what is not yet on its way; see `ChunkWriter.abort`."""
        if self._uploads is not None:
            self._uploads.abort()


def _name(key: str, grid: ChunkGrid, cell: Vec3, layout: Layout, ending: str) -> str:
    name = grid.name(cell) if layout == "flat" else grid.nested_name(cell)
    return f"{key}/{name}{ending}"
