"""The chunks of a PNG file, checked before anyone decodes it: slices, and chunks of volumes.

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
    import io
    from collections.abc import Iterator

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Colour types."""

_CRITICAL = (b"IDAT", b"PLTE", b"IEND")
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
_MOST_EXIF = 1 << 16


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


class PngCheck:
    """Reads a PNG file to its end without decoding it: checksums, and how many pixels there are.

    Afterwards `exif` holds what cameras and viewers note in it, such as an orientation.

    Parameters
    ----------
    file : BinaryIO
        At its start. The header is read; look at it before `check` goes on, since it says how much
        the pixels may decompress to.

    Raises
    ------
    FormatError
        If it is no PNG file, or its header is impossible.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        file.seek(0)
        start = file.read(len(_SIGNATURE))
        if start != _SIGNATURE:
            raise FormatError(f"not a PNG file: it starts with {start.hex(' ') or 'nothing'}")
        self._position = len(_SIGNATURE)
        self.exif = b""
        name, length = self._next()
        content = file.read(min(length, 13))
        self._header_bytes = length.to_bytes(4, "big") + name + content
        self.header = _parse_header(name, length, content)
        self._header_bytes += self._end(length, _crc32(content, _crc32(name)))

    def check(self, critical: io.BytesIO | None = None) -> PngHeader:
        """Read all that follows the header; return that.

        Parameters
        ----------
        critical : BytesIO, optional
            What gets a copy without ancillary chunks: text, profiles and animations, which could
            be bombs.

        Raises
        ------
        FormatError
            If the file is truncated, a checksum is wrong, or there are too few pixels or too many.
        """
        pixels = _PixelCounter(self.header.packed_bytes)
        if critical is not None:
            critical.write(_SIGNATURE + self._header_bytes)
        name = b""
        while name != b"IEND":
            name, length = self._next()
            if name == b"IHDR":
                raise FormatError(f"a second PNG header at byte {self._position}")
            copy = critical if name in _CRITICAL else None
            if copy is not None:
                copy.write(length.to_bytes(4, "big") + name)
            checksum = _crc32(name)
            for part in _parts(self._file, length):
                checksum = _crc32(part, checksum)
                if name == b"IDAT":
                    pixels.feed(part)
                elif name == b"eXIf" and not self.exif and length <= _MOST_EXIF:
                    self.exif = part  # the first: a file has one, and whole, as it is short
                if copy is not None:
                    copy.write(part)
            end = self._end(length, checksum)
            if copy is not None:
                copy.write(end)
        pixels.finish()
        return self.header

    def _next(self) -> tuple[bytes, int]:
        """Return the name and length of the next chunk."""
        start = self._file.read(8)
        length, name = int.from_bytes(start[:4], "big"), start[4:]
        if self._position + 12 + length > self._size:
            raise FormatError(f"truncated: it ends at byte {self._size} in a PNG chunk")
        return name, length

    def _end(self, length: int, checksum: int) -> bytes:
        """Read the checksum that ends a chunk, and compare it."""
        end = self._file.read(4)
        if int.from_bytes(end, "big") != checksum:
            raise FormatError(f"wrong checksum in the PNG chunk at byte {self._position}")
        self._position += 12 + length
        return end


def _crc32(data: bytes, start: int = 0) -> int:
    from isal.isal_zlib import crc32

    return crc32(data, start)


class _PixelCounter:
    """Decompresses pixels a part at a time, only to count them."""

    def __init__(self, expected: int) -> None:
        from isal import isal_zlib

        self._stream = isal_zlib.decompressobj()
        self._error = cast("type[Exception]", isal_zlib.error)
        self._expected = expected
        self._count = 0

    def feed(self, data: bytes) -> None:
        try:
            while data and not self._stream.eof and self._count <= self._expected:
                self._count += len(self._stream.decompress(data, _PART_BYTES))
                data = self._stream.unconsumed_tail
        except self._error as error:
            raise FormatError(f"its PNG pixels can't be decompressed ({error})") from error

    def finish(self) -> None:
        while not self._stream.eof and self._count <= self._expected:
            part = len(self._stream.decompress(b"", _PART_BYTES))
            if part == 0:
                break
            self._count += part
        if self._count != self._expected or not self._stream.eof:
            found = "more" if self._count > self._expected else f"{self._count}"
            raise FormatError(
                f"its PNG pixels must decompress to {self._expected} bytes, not to {found}"
            )


def _parse_header(name: bytes, length: int, content: bytes) -> PngHeader:
    if name != b"IHDR" or length != 13:
        raise FormatError("a PNG file without a header")
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
            f"impossible PNG header ({columns} x {rows} pixels, {depth} bits, colour "
            f"type {colour}, methods {compression}, {filtering}, {interlacing})"
        )
    return PngHeader(columns, rows, depth, colour, interlacing == 1)


def _parts(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        part = file.read(min(length, _PART_BYTES))
        if not part:
            return
        length -= len(part)
        yield part
