"""Packs chunks into shard files, in whatever order they come.

A source that is read slab by slab completes a shard, which is a box, only after several slabs. The
encoded chunks wait in memory, or in a temporary file where that is too little, until the last one
of their shard has come; then the shard is laid down in the order of ids. So its bytes are the same
whatever the order of arrival was.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import InputError
from ngcore.precomputed.shard_index import ShardLayout, layout_shard
from ngcore.precomputed.sharding import ShardGrid
from ngcore.storage.base import ChunkWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from typing_extensions import Buffer

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import ScaleInfo
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage.base import Store
    from ngcore.storage.spool import Place, Spool
    from ngcore.storage.uploads import Uploads


@dataclass(slots=True)
class _Shard:
    """A shard of which some chunks have come: how many are to come, and where the others are."""

    missing: int
    chunks: dict[int, bytes | Place | None] = field(default_factory=dict)


_UPLOADS = 4
"""Shards that are on their way to a bucket at once, each in parts."""


class ShardedWriter(ChunkWriter):
    """Writes the chunks of a sharded scale.

    Every shard file that has a place on the grid is written, those without a chunk too: clients
    ask for them, and would meet errors. Nothing is compressed, read or written while others wait.

    Parameters
    ----------
    store : Store
    scale : ScaleInfo
    spec : ShardingSpec
        That of the scale.
    memory : int, in bytes
        How much of encoded chunks is kept in memory; the rest goes to a temporary file.
    spool_dir : path, optional
        Where that file is.
    written : callable, optional
        Called with the name of each shard file that is complete.
    in_background : bool
        Let shards on their way to a bucket while the next ones are made; `finish` waits for them.
    """

    def __init__(
        self,
        store: Store,
        scale: ScaleInfo,
        spec: ShardingSpec,
        *,
        memory: int,
        spool_dir: Path | None,
        written: Callable[[str], None] | None = None,
        in_background: bool = False,
    ) -> None:
        self._store = store
        self._uploads: Uploads | None = None
        if in_background and store.is_remote:
            from ngcore.storage.uploads import Uploads

            self._uploads = Uploads(_UPLOADS)
        self._key = scale.key
        self._grid = scale.grid
        self._spec = spec
        self._shards = ShardGrid(spec, self._grid.shape)
        self._spool_dir = spool_dir
        self._spool: Spool | None = None  # most runs need none
        self._written = written
        self._free_memory = memory
        self._begun: dict[int, _Shard] = {}
        self._done: set[int] = set()
        self._chunks_taken = 0
        self._lock = threading.Lock()

    def write(self, cell: Vec3, data: Buffer | None) -> None:
        """Take a chunk; see `ChunkWriter.write`. The last one of a shard writes the shard."""
        chunk_id = self._grid.chunk_id(cell)
        number, _ = self._spec.locate(chunk_id)
        stored = None
        if data is not None:
            stored = gzip.compress(data) if self._spec.data_encoding == "gzip" else bytes(data)
        with self._lock:
            shard = self._shard(number, chunk_id, cell)
            fits = stored is None or len(stored) <= self._free_memory
            if stored is not None and fits:
                self._free_memory -= len(stored)
            # Even if it does not fit, so that no other thread may bring the same chunk.
            shard.chunks[chunk_id] = stored if fits else None
            if not fits and self._spool is None:
                from ngcore.storage.spool import Spool

                self._spool = Spool(self._spool_dir)
        place = None
        if stored is not None and not fits:
            assert self._spool is not None
            place = self._spool.put(stored)
        with self._lock:
            if place is not None:
                shard.chunks[chunk_id] = place
            self._chunks_taken += 1
            shard.missing -= 1
            is_complete = shard.missing == 0
        if is_complete:
            self._complete(number, shard)

    def _complete(self, number: int, shard: _Shard) -> None:
        if self._uploads is not None:
            self._uploads.submit(partial(self._lay_down, number, shard))
        else:
            self._lay_down(number, shard)

    def write_zeros(
        self, first: Vec3, stop: Vec3, is_written: Callable[[str], bool] | None = None
    ) -> None:
        """Take a box of zeros; whole shards of it are written without a look at their chunks."""
        box = self._shards.box_shape
        ends = zip(first, stop, box or first, self._grid.shape, strict=True)
        if box is None or any(a % side or (b % side and b != count) for a, b, side, count in ends):
            super().write_zeros(first, stop, is_written)
            return
        for z, y, x in itertools.product(*map(range, first[::-1], stop[::-1], box[::-1])):
            number = self._shards.shard_of((x, y, z))
            if is_written is not None and is_written(self._name(number)):
                continue
            count = self._shards.chunk_count(number)
            with self._lock:
                self._shard(number, self._grid.chunk_id((x, y, z)), (x, y, z)).missing = 0
                self._chunks_taken += count
            self._complete(number, self._begun[number])

    def file_of(self, cell: Vec3) -> str:
        """Return the name of the shard file of a chunk."""
        return self._name(self._shards.shard_of(cell))

    def finish(self, *, whole: bool = True) -> None:
        """Check that every shard is written; see `ChunkWriter.finish`."""
        if self._uploads is not None:
            self._uploads.finish()
        with self._lock:
            unfinished = sorted(self._begun)
            missing = self._grid.count - self._chunks_taken
        if unfinished:
            shard = self._begun[unfinished[0]]
            raise InputError(
                f"{len(unfinished)} shards of {self._key} lack chunks, such as "
                f"{self._spec.file_name(unfinished[0])}, which lacks {shard.missing}"
            )
        if whole and missing:
            raise InputError(f"{missing} of {self._grid.count} chunks of {self._key} are missing")
        self.abort()

    def abort(self) -> None:
        """Forget the shards that are not complete; see `ChunkWriter.abort`."""
        if self._uploads is not None:
            self._uploads.abort()
        if self._spool is not None:
            self._spool.close()
        with self._lock:
            self._begun.clear()

    def _shard(self, number: int, chunk_id: int, cell: Vec3) -> _Shard:
        """Return the shard that waits for a chunk, or begin it."""
        shard = self._begun.get(number)
        if number in self._done or (shard is not None and chunk_id in shard.chunks):
            raise InputError(f"chunk {self._grid.name(cell)} of {self._key} was written twice")
        if shard is None:
            shard = self._begun[number] = _Shard(self._shards.chunk_count(number))
        return shard

    def _lay_down(self, number: int, shard: _Shard) -> None:
        present = {
            chunk_id: chunk for chunk_id, chunk in shard.chunks.items() if chunk is not None
        }
        layout = layout_shard(
            self._spec,
            {
                chunk_id: len(chunk) if isinstance(chunk, bytes) else chunk[0]
                for chunk_id, chunk in present.items()
            },
        )
        name = self._name(number)
        self._store.put_parts(name, self._parts(layout, present))
        in_memory = sum(len(chunk) for chunk in present.values() if isinstance(chunk, bytes))
        for chunk in present.values():
            if not isinstance(chunk, bytes):
                assert self._spool is not None
                self._spool.free(chunk)
        with self._lock:
            self._free_memory += in_memory
            self._done.add(number)
            del self._begun[number]
        if self._written is not None:
            self._written(name)

    def _name(self, shard: int) -> str:
        return f"{self._key}/{self._spec.file_name(shard)}"

    def _parts(self, layout: ShardLayout, chunks: dict[int, bytes | Place]) -> Iterator[Buffer]:
        yield layout.header
        for chunk_id in layout.ids:
            chunk = chunks[chunk_id]
            if not isinstance(chunk, bytes):
                assert self._spool is not None
                chunk = self._spool.get(chunk)
            yield chunk
        yield layout.trailer
