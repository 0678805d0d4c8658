"""The chunks of a PNG file, checked before anyone decodes it.

Pillow compares no checksums of pixel data, and takes pixels that are missing for zeros. So here
every checksum is compared, and the pixels are decompressed once to count them, part by part.

https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Colour types."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STORED_SAMPLES = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
_BIT_DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGBA: (8, 16),
}
# First column and row, and the steps between those of one pass.
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_PART_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What the first chunk says.

    Attributes
    ----------
    columns, rows : int
    bit_depth : int
        Bits per sample.
    colour : int
        Colour type, such as `GREY`.
    is_interlaced : bool
    """

    columns: int
    rows: int
    bit_depth: int
    colour: int
    is_interlaced: bool

    @property
    def packed_bytes(self) -> int:
        """Bytes of the decompressed rows, each of which starts with the number of its filter."""
        bits = self.bit_depth * _STORED_SAMPLES[self.colour]
        total = 0
        for left, top, column_step, row_step in _ADAM7 if self.is_interlaced else _WHOLE:
            columns = -(-max(0, self.columns - left) // column_step)
            rows = -(-max(0, self.rows - top) // row_step)
            if columns:
                total += rows * (1 + (columns * bits + 7) // 8)
        return total


def check_png(file: BinaryIO, where: str) -> PngHeader:
    """Read a whole PNG file and return its header.

    Raises
    ------
    FormatError
        If the file is truncated, a checksum is wrong, or there are too few pixels or too many.
    """
    from isal.isal_zlib import crc32

    size = file.seek(0, 2)
    file.seek(0)
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise FormatError(f"{where}: not a PNG file, though its name says so")
    header: PngHeader | None = None
    pixels: _PixelCounter | None = None
    position = len(_SIGNATURE)
    name = b""
    while name != b"IEND":
        start = file.read(8)
        length, name = int.from_bytes(start[:4], "big"), start[4:]
        if position + 12 + length > size:
            raise FormatError(f"{where}: truncated: the file ends at byte {size} in a PNG chunk")
        checksum = crc32(name)
        if header is None or pixels is None:
            content = file.read(min(length, 13))
            checksum = crc32(content, checksum)
            header = _parse_header(name, length, content, where)
            pixels = _PixelCounter(header.packed_bytes, where)
        else:
            for part in _parts(file, length):
                checksum = crc32(part, checksum)
                if name == b"IDAT":
                    pixels.feed(part)
        if int.from_bytes(file.read(4), "big") != checksum:
            raise FormatError(
                f"{where}: wrong checksum in the PNG chunk at byte {position}; the file is damaged"
            )
        position += 12 + length
    if header is None or pixels is None:
        raise FormatError(f"{where}: a PNG file without a header; the file is damaged")
    pixels.finish()
    return header


class _PixelCounter:
    """Decompresses pixels a part at a time, only to count them."""

    def __init__(self, expected: int, where: str) -> None:
        from isal import isal_zlib

        self._stream = isal_zlib.decompressobj()
        self._error = cast("type[Exception]", isal_zlib.error)
        self._expected = expected
        self._count = 0
        self._where = where

    def feed(self, data: bytes) -> None:
        try:
            while data and not self._stream.eof and self._count <= self._expected:
                self._count += len(self._stream.decompress(data, _PART_BYTES))
                data = self._stream.unconsumed_tail
        except self._error as error:
            raise FormatError(
                f"{self._where}: its pixels can't be decompressed ({error}); the file is damaged"
            ) from error

    def finish(self) -> None:
        while not self._stream.eof and self._count <= self._expected:
            part = len(self._stream.decompress(b"", _PART_BYTES))
            if part == 0:
                break
            self._count += part
        if self._count != self._expected or not self._stream.eof:
            amount = "more than" if self._count > self._expected else f"{self._count} bytes, not"
            raise FormatError(
                f"{self._where}: its pixels decompress to {amount} {self._expected} bytes; "
                f"the file is damaged"
            )


def _parse_header(name: bytes, length: int, content: bytes, where: str) -> PngHeader:
    if name != b"IHDR" or length != 13:
        raise FormatError(f"{where}: a PNG file without a header; the file is damaged")
    columns, rows, depth, colour, compression, filtering, interlacing = struct.unpack(
        ">IIBBBBB", content
    )
    if (
        columns == 0
        or rows == 0
        or depth not in _BIT_DEPTHS.get(colour, ())
        or compression
        or filtering
        or interlacing > 1
    ):
        raise FormatError(
            f"{where}: impossible PNG header ({columns} x {rows} pixels, {depth} bits, colour "
            f"type {colour}, methods {compression}, {filtering}, {interlacing}); "
            f"the file is damaged"
        )
    return PngHeader(columns, rows, depth, colour, interlacing == 1)


def _parts(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        part = file.read(min(length, _PART_BYTES))
        if not part:
            return
        length -= len(part)
        yield part
