"""Chunks that were read last, up to a number of bytes, shared by the threads of a volume.

It keeps what the next read needs least time with: encoded bytes where any box of them can be
decoded alone, else voxels; None where a chunk is absent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable


_ABSENT_BYTES = 100
"""What it costs to know that a chunk is absent."""


class ChunkCache:
    """Keeps chunks until newer ones need their room. Safe to use from several threads at once.

    Parameters
    ----------
    max_bytes : int
        Bytes of chunks; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._chunks: OrderedDict[tuple[int, Hashable], tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, scale: int, key: Hashable) -> tuple[Any] | None:
        """Return what is kept of a chunk, in a tuple; None where nothing is known of it."""
        if not self.max_bytes:
            return None
        with self._lock:
            found = self._chunks.get((scale, key))
            if found is None:
                return None
            self._chunks.move_to_end((scale, key))
            return (found[0],)

    def put(self, scale: int, key: Hashable, chunk: Any) -> None:
        """Keep a chunk, unless it alone is larger than the cache."""
        if chunk is None:
            size = _ABSENT_BYTES
        else:
            size = len(chunk) if isinstance(chunk, bytes) else chunk.nbytes
        if size > self.max_bytes:
            return
        with self._lock:
            before = self._chunks.pop((scale, key), None)
            self._chunks[scale, key] = (chunk, size)
            self._bytes += size - (before[1] if before is not None else 0)
            while self._bytes > self.max_bytes:
                _, (_, old_size) = self._chunks.popitem(last=False)
                self._bytes -= old_size

    def drop(self, scale: int, key: Hashable) -> None:
        """Let go of what is kept of a chunk, if anything is."""
        with self._lock:
            found = self._chunks.pop((scale, key), None)
            if found is not None:
                self._bytes -= found[1]

    def __reduce__(self) -> tuple[type[ChunkCache], tuple[int]]:
        return ChunkCache, (self.max_bytes,)
