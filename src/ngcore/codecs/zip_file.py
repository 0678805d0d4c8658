"""Zip files of stored entries, laid down in one go, the same bytes each time.

No times, modes or systems: every entry is of the first moment that a zip can name. What is read
goes through Python's zipfile.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR_64 = struct.Struct("<4sIQI")
_PLAIN, _ZIP64 = 20, 45
_UTF8 = 0x800
_1980 = 0x21
"""The first of January, as the date of an entry."""
_REGULAR_FILE = 0o100644 << 16
_UNIX = 3 << 8
MOST_BYTES = (1 << 32) - 1
MOST_ENTRIES = (1 << 16) - 1
"""From these on a zip is zip64, which older programs can't read."""


class Entry(NamedTuple):
    """A file in a zip.

    Attributes
    ----------
    name : str
    size : int, in bytes
    pieces : callable
        Yields its bytes, the same each time: it is called twice.
    """

    name: str
    size: int
    pieces: Callable[[], Iterable[bytes]]


def needs_zip64(count: int, size: int) -> bool:
    """Whether a zip of so many entries and bytes needs what older programs can't read."""
    return count >= MOST_ENTRIES or size >= MOST_BYTES


def zip_parts(entries: Iterable[Entry]) -> Iterator[bytes]:
    """Yield a zip file of stored entries, in the order given.

    Parameters
    ----------
    entries : iterable of Entry
        With different names.

    Yields
    ------
    bytes

    Raises
    ------
    ValueError
        An entry gives another number of bytes than it said.
    """
    directory = []
    offset = 0
    for entry in entries:
        checksum = size = 0
        for piece in entry.pieces():
            checksum = isal_zlib.crc32(piece, checksum)
            size += len(piece)
        if size != entry.size:
            raise ValueError(f"{entry.name} has {size} bytes, not {entry.size}")
        header = _local_header(entry, checksum)
        directory.append(_central_header(entry, checksum, offset))
        yield header
        yield from entry.pieces()
        offset += len(header) + size
    start, length = offset, 0
    for record in directory:
        yield record
        length += len(record)
    yield from _end(len(directory), start, length)


def _local_header(entry: Entry, checksum: int) -> bytes:
    name, flags = _name(entry.name)
    is_large = entry.size >= MOST_BYTES
    extra = struct.pack("<2H2Q", 1, 16, entry.size, entry.size) if is_large else b""
    size = MOST_BYTES if is_large else entry.size
    version = _ZIP64 if is_large else _PLAIN
    fields = (b"PK\3\4", version, flags, 0, 0, _1980, checksum, size, size, len(name), len(extra))
    return _LOCAL.pack(*fields) + name + extra


def _central_header(entry: Entry, checksum: int, offset: int) -> bytes:
    name, flags = _name(entry.name)
    large = [entry.size, entry.size] if entry.size >= MOST_BYTES else []
    if offset >= MOST_BYTES:
        large.append(offset)
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size, version = min(entry.size, MOST_BYTES), _ZIP64 if large else _PLAIN
    return (
        _CENTRAL.pack(
            *(b"PK\1\2", _UNIX | version, version, flags, 0, 0, _1980, checksum, size, size),
            *(len(name), len(extra), 0, 0, 0, _REGULAR_FILE, min(offset, MOST_BYTES)),
        )
        + name
        + extra
    )


def _name(text: str) -> tuple[bytes, int]:
    return text.encode(), 0 if text.isascii() else _UTF8


def _end(count: int, start: int, length: int) -> Iterator[bytes]:
    if count >= MOST_ENTRIES or start >= MOST_BYTES or length >= MOST_BYTES:
        sizes = (count, count, length, start)
        yield _END_64.pack(b"PK\6\6", 44, _UNIX | _ZIP64, _ZIP64, 0, 0, *sizes)
        yield _LOCATOR_64.pack(b"PK\6\7", 0, start + length, 1)
    few = min(count, MOST_ENTRIES)
    yield _END.pack(b"PK\5\6", 0, 0, few, few, min(length, MOST_BYTES), min(start, MOST_BYTES), 0)
