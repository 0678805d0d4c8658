"""Gzip as chunks and shards hold it: one member, no name, no time, a checked end.

"gzip" means RFC 1952 wherever the precomputed format says it. Neuroglancer decodes it with the
browser's DecompressionStream, which refuses zlib streams and anything after the first member, so
both are refused here too.

https://www.rfc-editor.org/rfc/rfc1952
"""

from __future__ import annotations

import struct
import sys
import zlib
from typing import TYPE_CHECKING, cast

from isal import isal_zlib

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

    Each = Callable[[Callable[[memoryview], bytes], list[memoryview]], Iterator[bytes]]

_LEVEL = 1
"""Measured on chunks of MRI and of segmentations: level 2 saves 0.5 % at most, level 3 nothing at
a third of the speed, and level 0, which has no Huffman tables of its own, makes images larger."""

_GZIP_WRAPPER = 31
"""The `wbits` that stand for a gzip header and trailer around 32 KiB windows."""

_RAW = -15
"""The `wbits` that stand for no header and trailer."""

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""Of a member without flags, time and extra flags, from an unknown system."""

_PART_BYTES = 1 << 22
"""How much is compressed at once, so that no compressed copy of large parts is in memory."""

_PIECE_BYTES = 1 << 21
"""Of what is compressed beside others."""

_LAST_BLOCK = b"\x03\x00"
"""An empty block of deflate that ends a stream."""

_IsalError = cast("type[Exception]", isal_zlib.error)
"""Named here because isal's stubs declare the class as if it were an instance of it."""

_START_BYTES = 8
"""How much of the data is flushed before the rest follows. At levels 1 and 2, ISA-L hashes the
second position of a new stream by what a register happens to hold, an address, so that one chunk
in some thousands would come out differently from run to run. After a flush it is past that code:
the price is nine bytes, and no time."""

_MAGIC = b"\x1f\x8b\x08"
_RESERVED_FLAGS = 0xE0
_MOST_MEMBERS = 1 << 14


def compress(data: Buffer) -> bytes:
    """Compress to one gzip member whose header has no time, name or platform.

    Parameters
    ----------
    data : bytes-like

    Returns
    -------
    bytes
    """
    return b"".join(compress_parts((data,)))


def compress_parts(parts: Iterable[Buffer]) -> Iterator[bytes]:
    """Do as `compress`, with data that come, and go, in parts.

    Parameters
    ----------
    parts : iterable of bytes-like

    Yields
    ------
    bytes
    """
    deflate = _new_stream()
    checksum = size = 0
    yield _HEADER
    for piece in _pieces(parts):
        checksum = isal_zlib.crc32(piece, checksum)
        is_start = size == 0
        size += len(piece)
        yield deflate.compress(piece)
        if is_start:
            yield deflate.flush(isal_zlib.Z_SYNC_FLUSH)
    yield deflate.flush()
    yield struct.pack("<II", checksum, size & 0xFFFFFFFF)


def compress_beside(parts: Iterable[Buffer], each: Each) -> Iterator[bytes]:
    """Do as `compress_parts`, several pieces of a part at once.

    The member is a stream of pieces that don't know of each other, a little longer than one of
    `compress_parts`. It is the same whoever compresses them.

    Parameters
    ----------
    parts : iterable of bytes-like
        The next is taken when all of one has been compressed.
    each : callable
        Takes a function and a list, and yields what the function makes of each item, in order, as
        `map` does, but perhaps on several threads.

    Yields
    ------
    bytes
    """
    checksum = size = 0
    yield _HEADER
    for part in parts:
        view = memoryview(part).cast("B")
        checksum = isal_zlib.crc32(view, checksum)
        size += len(view)
        steps = range(0, len(view), _PIECE_BYTES)
        pieces = [view[first : first + _PIECE_BYTES] for first in steps]
        yield from (each if len(pieces) > 1 else map)(_compressed_piece, pieces)
    yield _LAST_BLOCK
    yield struct.pack("<II", checksum, size & 0xFFFFFFFF)


def _compressed_piece(piece: memoryview) -> bytes:
    """Return blocks of deflate, up to a whole byte, behind which others may follow."""
    deflate = _new_stream()
    sync = isal_zlib.Z_SYNC_FLUSH
    start = deflate.compress(piece[:_START_BYTES]) + deflate.flush(sync)
    return b"".join((start, deflate.compress(piece[_START_BYTES:]), deflate.flush(sync)))


def _new_stream() -> isal_zlib.Compress:
    return isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW)


def _pieces(parts: Iterable[Buffer]) -> Iterator[bytes | memoryview]:
    """Yield the first `_START_BYTES` of all parts together, then the rest in pieces."""
    start = b""
    for part in parts:
        view = memoryview(part).cast("B")
        if len(start) < _START_BYTES:
            missing = _START_BYTES - len(start)
            start += view[:missing]
            if len(start) < _START_BYTES:
                continue
            yield start
            view = view[missing:]
        for first in range(0, len(view), _PART_BYTES):
            yield view[first : first + _PART_BYTES]
    if 0 < len(start) < _START_BYTES:
        yield start


def decompress(data: Buffer, *, max_size: int) -> bytes:
    """Decompress one gzip member, and nothing that is more or less than that.

    Parameters
    ----------
    data : bytes-like
    max_size : int, in bytes
        Refuse data that decompress to more than this; no more memory than that is taken.

    Raises
    ------
    FormatError
        The data are not gzip, damaged, truncated, followed by something else, or too large.
    """
    view = memoryview(data).cast("B")
    check_start(bytes(view[:4]))
    stream = isal_zlib.decompressobj(wbits=_GZIP_WRAPPER)
    try:
        plain: bytes = stream.decompress(view, min(max_size + 1, sys.maxsize))
    except _IsalError as error:
        raise FormatError(f"damaged gzip data: {error}") from error
    if len(plain) > max_size:
        raise FormatError(f"gzip data decompress to more than the {max_size} bytes expected")
    if not stream.eof:
        raise FormatError(f"gzip data end too early, after {len(view)} bytes")
    if stream.unused_data:
        where = len(view) - len(stream.unused_data)
        raise FormatError(f"gzip data end at byte {where}, but there are {len(view)} bytes")
    return plain


def decompress_members(data: Buffer, *, max_size: int) -> bytes:
    """Decompress gzip of one member or more, as compressors that work in parallel write it.

    Parameters
    ----------
    data : bytes-like
    max_size : int, in bytes
        As in `decompress`.

    Raises
    ------
    FormatError
        The data are not gzip up to their last byte, damaged, or too large.
    """
    view = memoryview(data).cast("B")
    pieces: list[bytes] = []
    size = 0
    while view or not pieces:
        check_start(bytes(view[:4]))
        stream = zlib.decompressobj(_GZIP_WRAPPER)
        try:
            piece = stream.decompress(view, max(1, max_size + 1 - size))
        except zlib.error as error:
            raise FormatError(f"damaged gzip data: {error}") from error
        size += len(piece)
        if size > max_size:
            raise FormatError(f"gzip data decompress to more than the {max_size} bytes expected")
        if not stream.eof:
            raise FormatError(f"gzip data end too early, after {len(view)} bytes")
        pieces.append(piece)
        if len(pieces) > _MOST_MEMBERS:
            raise FormatError(f"gzip of more than {_MOST_MEMBERS} members")
        view = view[len(view) - len(stream.unused_data) :]
    return b"".join(pieces)


def decompress_zlib(data: Buffer, *, max_size: int) -> bytes:
    """Decompress a zlib stream (RFC 1950), which some write where gzip is expected.

    Parameters
    ----------
    data : bytes-like
    max_size : int, in bytes
        As in `decompress`.

    Raises
    ------
    FormatError
        The data are not a zlib stream, damaged, truncated, too large, or something follows.
    """
    view = memoryview(data).cast("B")
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(view, max_size + 1)
    except zlib.error as error:
        raise FormatError(f"damaged zlib stream: {error}") from error
    if len(plain) > max_size:
        raise FormatError(f"a zlib stream decompresses to more than {max_size} bytes")
    if not stream.eof or stream.unused_data:
        raise FormatError("a zlib stream ends too early, or something follows it")
    return plain


def wrap_zlib(data: Buffer, plain: Buffer) -> bytes:
    """Return a zlib stream as gzip, without compressing it anew.

    Parameters
    ----------
    data : bytes-like
        A valid zlib stream; see `decompress_zlib`.
    plain : bytes-like
        What it decompresses to.
    """
    view = memoryview(data).cast("B")
    trailer = struct.pack("<II", isal_zlib.crc32(plain), memoryview(plain).nbytes & 0xFFFFFFFF)
    # Two bytes of header before the deflated data, four of checksum behind them.
    return b"".join([_HEADER, view[2:-4], trailer])


def is_gzip(data: Buffer) -> bool:
    """Whether data start as gzip does."""
    return bytes(memoryview(data).cast("B")[: len(_MAGIC)]) == _MAGIC


def is_zlib(data: Buffer) -> bool:
    """Whether data start as a zlib stream does."""
    start = bytes(memoryview(data).cast("B")[:2])
    # RFC 1950: method 8, a window of 32 KiB or less, and a header divisible by 31.
    return len(start) == 2 and start[0] & 0x8F == 0x08 and (start[0] << 8 | start[1]) % 31 == 0


def check_start(start: bytes) -> None:
    """Check that data which start with these bytes, four or more, may be gzip.

    Raises
    ------
    FormatError
        They are not; the message says if they are a zlib stream.
    """
    if start[:3] != _MAGIC:
        raise FormatError(_why_not_gzip(start[:4]))
    if len(start) > 3 and start[3] & _RESERVED_FLAGS:
        raise FormatError(f"gzip header has reserved flags set (0x{start[3]:02x}) at byte 3")


def _why_not_gzip(start: bytes) -> str:
    if len(start) < len(_MAGIC) and _MAGIC.startswith(start):
        return f"gzip data end too early, after {len(start)} bytes"
    if is_zlib(start):
        return (
            f"a zlib stream where gzip is expected (it starts with {start[:2].hex(' ')}, gzip "
            "with 1f 8b); current Neuroglancer can't read it"
        )
    return f"not gzip: it starts with {start.hex(' ')}, but gzip starts with 1f 8b 08"
