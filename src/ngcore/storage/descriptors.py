"""Bytes through file descriptors: all of them, in few calls, and in memory that is used again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable, Iterator

    from typing_extensions import Buffer

    from ngcore.codecs.zip_file import Patch

_BATCH_BYTES = 8 << 20
_BATCH_PARTS = 512
"""How much is handed to the system at once; POSIX promises 1024 parts nowhere, but all have it."""

_MAX_WRITE = 1 << 30
"""macOS refuses writes of 2 GiB and more."""

_PIECE = 1 << 20
"""Little enough to stay in the processor's cache from reading to writing."""


def read_at(descriptor: int, size: int, offset: int) -> bytes:
    """Read `size` bytes from `offset` on, or what there is up to the end."""
    data = _read_some(descriptor, size, offset)
    if len(data) == size:
        return data
    pieces = [data]  # one call may return fewer
    while data and size > sum(map(len, pieces)):
        done = sum(map(len, pieces))
        data = _read_some(descriptor, size - done, offset + done)
        pieces.append(data)
    return b"".join(pieces)


def _read_some(descriptor: int, size: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, size, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # the descriptor is its caller's alone
    return os.read(descriptor, size)


def read_pieces(file: io.FileIO) -> Iterator[memoryview]:
    """Yield a file to its end; each piece is overwritten by the next one."""
    view = memoryview(bytearray(_PIECE))
    while count := file.readinto(view):
        yield view[:count]


def write_all(descriptor: int, parts: Iterable[Buffer]) -> None:
    """Write parts one after the other, some MiB of them at once."""
    batch: list[memoryview] = []
    size = 0
    for part in parts:
        view = memoryview(part).cast("B")
        for offset in range(0, len(view), _MAX_WRITE):
            piece = view[offset : offset + _MAX_WRITE]
            batch.append(piece)
            size += len(piece)
            if size >= _BATCH_BYTES or len(batch) == _BATCH_PARTS:
                _write_batch(descriptor, batch)
                batch, size = [], 0
    _write_batch(descriptor, batch)


def write_patched(descriptor: int, parts: Iterable[Buffer | Patch]) -> None:
    """Write parts, and patches over what they were; a part may change when the next is taken."""
    from ngcore.codecs.zip_file import Patch  # packing alone has them

    waiting: list[bytes] = []
    size = 0
    for part in parts:
        if isinstance(part, bytes):
            waiting.append(part)
            size += len(part)
            if size < _BATCH_BYTES:
                continue
        write_all(descriptor, waiting)
        waiting, size = [], 0
        if isinstance(part, Patch):
            end = os.lseek(descriptor, 0, os.SEEK_CUR)
            os.lseek(descriptor, part.offset, os.SEEK_SET)
            write_all(descriptor, [part.data])
            os.lseek(descriptor, end, os.SEEK_SET)
        elif not isinstance(part, bytes):
            write_all(descriptor, [part])
    write_all(descriptor, waiting)


def _write_batch(descriptor: int, batch: list[memoryview]) -> None:
    """Write every byte; the system may take fewer at a time."""
    while batch:
        if hasattr(os, "writev"):
            written = os.writev(descriptor, batch)
        else:
            written = os.write(descriptor, batch[0])
        done = 0
        while done < len(batch) and written >= len(batch[done]):
            written -= len(batch[done])
            done += 1
        batch = batch[done:]
        if batch and written:
            batch[0] = batch[0][written:]
