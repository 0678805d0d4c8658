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

    from typing_extensions import Buffer

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
    size : int in bytes, or None
        None where only who has read it knows; it is then small enough for memory.
    pieces : callable
        Yields its bytes, the same each time it is called. A piece may be overwritten when the
        next one is asked for.
    """

    name: str
    size: int | None
    pieces: Callable[[], Iterable[Buffer]]


class Patch(NamedTuple):
    """Bytes that lie over others, which were yielded before."""

    offset: int
    data: bytes


class ChangedError(ValueError):
    """An entry gave other bytes than it had said."""


def needs_zip64(count: int, size: int) -> bool:
    """Whether a zip of so many entries and bytes needs what older programs can't read."""
    return count >= MOST_ENTRIES or size >= MOST_BYTES


class _Sum(NamedTuple):
    """The checksum and the number of some bytes."""

    crc: int = 0
    size: int = 0

    def with_piece(self, piece: Buffer) -> _Sum:
        return _Sum(isal_zlib.crc32(piece, self.crc), self.size + memoryview(piece).nbytes)


class ZipParts:
    """A zip file of stored entries, in the order given, as parts that follow each other.

    Parameters
    ----------
    entries : iterable of Entry
        With different names.

    Attributes
    ----------
    count : int
        Of the entries that were yielded.
    size : int, in bytes
        Of what was yielded.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = entries
        self.count = self.size = 0

    def in_order(self) -> Iterator[Buffer]:
        """Yield parts; entries are read twice, as a header has the checksum of what follows.

        Raises
        ------
        ChangedError
            An entry gives other bytes the second time.
        """
        directory = []
        for entry in self._entries:
            found = _sum(entry.pieces())
            directory.append(_central_header(entry.name, found, self.size))
            header = _local_header(entry.name, found)
            yield header
            again = _Sum()
            for piece in entry.pieces():
                again = again.with_piece(piece)
                yield piece
            if found != again or entry.size not in (None, found.size):
                raise ChangedError(entry.name)
            self.size += len(header) + found.size
        yield from self._directory(directory)

    def patched(self) -> Iterator[Buffer | Patch]:
        """Yield parts and patches to them; each entry is read once.

        Raises
        ------
        ChangedError
            An entry has more or fewer bytes than it had said.
        """
        directory = []
        for entry in self._entries:
            pieces = iter(entry.pieces())
            first = b"".join(map(bytes, pieces)) if entry.size is None else next(pieces, b"")
            found = _Sum().with_piece(first)
            size = found.size if entry.size is None else entry.size
            header = _local_header(entry.name, found._replace(size=size))
            yield header
            yield first
            if found.size < size:
                for piece in pieces:
                    found = found.with_piece(piece)
                    yield piece
                yield Patch(self.size, _local_header(entry.name, found))
            elif next(pieces, None):
                raise ChangedError(entry.name)
            if found.size != size:
                raise ChangedError(entry.name)
            directory.append(_central_header(entry.name, found, self.size))
            self.size += len(header) + size
        yield from self._directory(directory)

    def _directory(self, records: list[bytes]) -> Iterator[bytes]:
        start, self.count = self.size, len(records)
        length = sum(map(len, records))
        for record in (*records, *_end(self.count, start, length)):
            yield record
            self.size += len(record)


def _sum(pieces: Iterable[Buffer]) -> _Sum:
    found = _Sum()
    for piece in pieces:
        found = found.with_piece(piece)
    return found


def _local_header(text: str, found: _Sum) -> bytes:
    name, flags = _name(text)
    checksum = found.crc
    is_large = found.size >= MOST_BYTES
    extra = struct.pack("<2H2Q", 1, 16, found.size, found.size) if is_large else b""
    size = MOST_BYTES if is_large else found.size
    version = _ZIP64 if is_large else _PLAIN
    fields = (b"PK\3\4", version, flags, 0, 0, _1980, checksum, size, size, len(name), len(extra))
    return _LOCAL.pack(*fields) + name + extra


def _central_header(text: str, found: _Sum, offset: int) -> bytes:
    name, flags = _name(text)
    checksum = found.crc
    large = [found.size, found.size] if found.size >= MOST_BYTES else []
    if offset >= MOST_BYTES:
        large.append(offset)
    extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    size, version = min(found.size, MOST_BYTES), _ZIP64 if large else _PLAIN
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
