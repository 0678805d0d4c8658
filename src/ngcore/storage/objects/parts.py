"""Bytes on their way to a bucket: large objects go up in parts, of which few are in memory."""

from __future__ import annotations

import mmap
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ngcore.storage.uploads import room_to_send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

PART_BYTES = 8 << 20
"""More than this goes up in parts of this size, several at once. S3 allows 10,000 parts."""
PARTS_AT_ONCE = 3
"""Of one object; while they are on their way, the next one is filled."""


@contextmanager
def room_for(parts: Iterable[Buffer]) -> Iterator[Callable[[int], None]]:
    """Wait until there is memory for an upload; see `room_to_send`."""
    most = (PARTS_AT_ONCE + 1) * PART_BYTES
    size = known_size(parts)
    with room_to_send(most if size is None else min(size, most)) as keep:
        yield keep


def known_size(parts: Iterable[Buffer]) -> int | None:
    """Return how many bytes parts have that are all in memory; None of others."""
    if isinstance(parts, tuple | list):
        return sum(memoryview(part).nbytes for part in parts)
    return None


def pieces_of(parts: Iterable[Buffer]) -> Iterator[Buffer]:
    """Join or cut parts into pieces of `PART_BYTES` each, but for the last.

    What fills a piece by itself is not copied. Others are copied into memory of the system's own,
    which goes back to it as soon as a piece is sent: pieces that are made by one thread and freed
    by another leave holes in the heap that are as large as they.
    """
    size = known_size(parts)
    if size is not None and size <= PART_BYTES:
        if size:
            views = [memoryview(part).cast("B") for part in parts]
            yield views[0] if len(views) == 1 else b"".join(views)
        return
    waiting, filled = memoryview(b""), 0
    for part in parts:
        left = memoryview(part).cast("B")
        while left:
            if not filled and len(left) >= PART_BYTES:
                yield left[:PART_BYTES]
                left = left[PART_BYTES:]
                continue
            if not filled:
                waiting = memoryview(mmap.mmap(-1, PART_BYTES))
            taken = left[: PART_BYTES - filled]
            waiting[filled : filled + len(taken)] = taken
            left, filled = left[len(taken) :], filled + len(taken)
            if filled == PART_BYTES:
                full, waiting, filled = [waiting], memoryview(b""), 0
                yield full.pop()  # so that nothing here holds it while it is on its way
    if filled:
        yield waiting[:filled]
