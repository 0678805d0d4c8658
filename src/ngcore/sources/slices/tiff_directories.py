"""The chain of a TIFF file's directories, one per page, followed to its end.

tifffile stops where a chain is truncated and says so only in its log; a stack would then lose its
last slices without a word.

https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf (section 2)
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from ngcore.sources.files import PositionalFile

_NEW_SUBFILE_TYPE = 254
_REDUCED = 1
_SHORT = 3
_MOST_TAGS = 4096
_DESCRIPTIONS = {270: 1, 50838: 4, 50839: 1}
"""Tags with metadata of OME and ImageJ, whose loss tifffile only logs: bytes of one value."""


class Directory(NamedTuple):
    """A directory: the byte where it starts, and whether its page is a coarser copy."""

    offset: int
    is_reduced: bool


def directories_of(file: PositionalFile) -> list[Directory]:
    """Follow the chain of directories of a TIFF or BigTIFF file.

    Raises
    ------
    FormatError
        If the file is no TIFF, or the chain leads out of the file or back into itself.
    """
    header = _read(file, 0, min(16, file.size))
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    version = struct.unpack(f"{order or '<'}H", header[2:4])[0] if len(header) >= 8 else 0
    if order is None or version not in (42, 43):
        raise FormatError(f"{file.name}: not a TIFF file, though its name says so")
    is_big = version == 43
    count_format = struct.Struct(f"{order}{'Q' if is_big else 'H'}")
    offset_format = struct.Struct(f"{order}{'Q' if is_big else 'I'}")
    tag = struct.Struct(f"{order}HH{'QQ' if is_big else 'II'}")
    found: list[Directory] = []
    seen: set[int] = set()
    position = offset_format.unpack_from(header.ljust(16, b"\0"), 8 if is_big else 4)[0]
    while position:
        number = len(found)
        if position in seen:
            raise FormatError(
                f"{file.name}: page {number} leads back to byte {position}; the file is damaged"
            )
        seen.add(position)
        _check_within(file, position + count_format.size, number)
        tags = count_format.unpack(_read(file, position, count_format.size))[0]
        end = position + count_format.size + tags * tag.size
        _check_within(file, end + offset_format.size, number)
        size = min(tags, _MOST_TAGS) * tag.size
        is_reduced = False
        for entry in tag.iter_unpack(_read(file, position + count_format.size, size)):
            code, kind, count, value = entry
            if code == _NEW_SUBFILE_TYPE:
                if kind == _SHORT and order == ">":  # it lies in the upper bytes
                    value >>= 48 if is_big else 16
                is_reduced = bool(value & _REDUCED)
            elif code in _DESCRIPTIONS and count > 8:
                _check_within(file, value + count * _DESCRIPTIONS[code], number)
        found.append(Directory(position, is_reduced))
        position = offset_format.unpack(_read(file, end, offset_format.size))[0]
    if not found:
        raise FormatError(f"{file.name}: a TIFF file without pages; the file is damaged")
    return found


def _check_within(file: PositionalFile, end: int, number: int) -> None:
    if end > file.size:
        raise FormatError(
            f"{file.name}: truncated: the tags of page {number} reach byte {end}, the file ends "
            f"at {file.size}; copy or download it again"
        )


def _read(file: PositionalFile, offset: int, size: int) -> bytes:
    buffer = bytearray(size)
    file.read_into(offset, memoryview(buffer))
    return bytes(buffer)
