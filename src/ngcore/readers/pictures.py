"""Slices in PNG and JPEG files, decoded by Pillow.

PNG (https://www.w3.org/TR/png-3/): 8 and 16 bit grey, RGB and RGBA come out as stored, palettes
as their RGB colours, and 1-bit grey as 0 and 1. Pillow narrows 16-bit colour to 8 bits, so
imagecodecs reads that. Pillow does not compare the checksums of pixel data; here they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.readers.slice_file import (
    FORMATS_EXTRA,
    PlaneLayout,
    SliceFile,
    check_plausible_size,
    decoding,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from PIL.ImageFile import ImageFile

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 3, _GREY_ALPHA: 2, _RGBA: 4}
_BIT_DEPTHS = {
    _GREY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GREY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}
# Deflate's longest match takes two bits: 258 bytes of output.
_PNG_RATIO = 1032
# A progressive JPEG of one colour takes a bit and a half per block of 8 x 8 pixels.
_JPEG_RATIO = 4096
_JPEG_SAMPLES = {"L": 1, "RGB": 3}

# Pixels are taken out of Pillow's memory tile by tile: its only way makes copies, and above some
# 90 million pixels it asks whether they are a bomb.
_TILE_ROWS, _TILE_COLUMNS = 256, 4096


def open_png(path: Path, where: str) -> SliceFile:
    """Check a whole PNG file, and return its slice.

    Raises
    ------
    FormatError
        If the file is truncated or a checksum is wrong.
    MissingExtraError
        If it holds 16-bit colours and imagecodecs is not installed.
    """
    from PIL.PngImagePlugin import PngImageFile

    with decoding(where), path.open("rb") as file:
        columns, rows, depth, colour, size = _check_png(file, where)
    is_wide_colour = depth == 16 and colour != _GREY
    layout = PlaneLayout(
        columns,
        rows,
        _SAMPLES[colour],
        np.dtype(np.uint16 if depth == 16 else np.uint8),
        is_binary=depth == 1 and colour == _GREY,
    )
    packed_row = (columns * depth * (1 if colour == _PALETTE else layout.samples) + 7) // 8
    check_plausible_size(where, rows * packed_row, size, _PNG_RATIO)
    if is_wide_colour:
        return _WidePng(path, where, layout, size)
    notes = ("slices with a palette are read as their RGB colours",) if colour == _PALETTE else ()
    return _Picture(path, where, layout, PngImageFile, notes)


def open_jpeg(path: Path, where: str) -> SliceFile:
    """Read the header of a JPEG file, and return its slice.

    Raises
    ------
    FormatError
        If the header is damaged.
    InputError
        If the pixels are neither grey nor RGB.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    with decoding(where), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        picture = JpegImageFile(file)
    samples = _JPEG_SAMPLES.get(picture.mode)
    if samples is None:
        raise InputError(
            f"{where}: a JPEG slice must be grey or RGB, got {picture.mode}; convert the slices"
        )
    layout = PlaneLayout(*picture.size, samples, np.dtype(np.uint8))
    check_plausible_size(where, layout.plane_bytes, size, _JPEG_RATIO)
    return _Picture(path, where, layout, JpegImageFile, ())


class _Picture(SliceFile):
    """A slice that Pillow decodes; Pillow holds it whole."""

    def __init__(
        self,
        path: Path,
        where: str,
        layout: PlaneLayout,
        picture_class: Callable[[BinaryIO], ImageFile],
        notes: tuple[str, ...],
    ) -> None:
        self.layout = layout
        self.notes = notes
        self._path = path
        self._where = where
        self._picture_class = picture_class
        pixel_bytes = layout.dtype.itemsize if layout.samples == 1 else 4
        tile_bytes = 2 * _TILE_ROWS * _TILE_COLUMNS * 4
        self.scratch_bytes = layout.columns * layout.rows * pixel_bytes + tile_bytes

    def read(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        with decoding(self._where), self._path.open("rb") as file:
            # not Image.open, which refuses large pictures by a limit of the whole process
            picture = self._picture_class(file)
            if getattr(picture, "n_frames", 1) != 1:
                raise InputError(
                    f"{self._where}: an animation is no slice; convert it to one file per slice"
                )
            picture.load()
            for top, left, bottom, right in _tiles(rows, columns):
                tile = picture.crop((left, top, right, bottom))
                pixels = np.asarray(tile.convert("RGB") if tile.mode == "P" else tile)
                target = into[
                    top - rows.start : bottom - rows.start,
                    left - columns.start : right - columns.start,
                ]
                target[...] = pixels.reshape(target.shape)


class _WidePng(SliceFile):
    """A slice of 16 bits per sample and several samples, which imagecodecs decodes."""

    def __init__(self, path: Path, where: str, layout: PlaneLayout, size: int) -> None:
        self.layout = layout
        self.scratch_bytes = layout.plane_bytes + size
        self._path = path
        self._where = where

    def read(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        try:
            import imagecodecs
        except ImportError as error:
            raise MissingExtraError(
                f"{self._where}: 16-bit colour PNG needs imagecodecs; {FORMATS_EXTRA}"
            ) from error
        with decoding(self._where):
            pixels = imagecodecs.png_decode(self._path.read_bytes())
            if pixels.dtype != np.uint16:
                raise FormatError(
                    f"{self._where}: pixels of {pixels.dtype} where 16 bits were said"
                )
            into[...] = pixels.reshape(self.layout.rows, self.layout.columns, -1)[rows, columns]


def _check_png(file: BinaryIO, where: str) -> tuple[int, int, int, int, int]:
    """Check every chunk of a PNG file; return width, height, bit depth, colour type, and bytes."""
    from isal.isal_zlib import crc32

    size = file.seek(0, 2)
    file.seek(0)
    if file.read(8) != _PNG_SIGNATURE:
        raise FormatError(f"{where}: not a PNG file, though its name says so")
    header: bytes | None = None
    position = 8
    name = b""
    while name != b"IEND":
        start = file.read(8)
        length, name = int.from_bytes(start[:4], "big"), start[4:]
        if position + 12 + length > size:
            raise FormatError(f"{where}: truncated at byte {size}, inside a PNG chunk")
        if header is None and (name != b"IHDR" or length != 13):
            raise FormatError(f"{where}: no PNG header at byte {position}")
        checksum = crc32(name)
        content = b""
        for part in _parts(file, length):
            content = part
            checksum = crc32(part, checksum)
        if header is None:
            header = content
        if int.from_bytes(file.read(4), "big") != checksum:
            raise FormatError(
                f"{where}: wrong checksum in the PNG chunk at byte {position}; the file is damaged"
            )
        position += 12 + length
    assert header is not None
    columns, rows = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    depth, colour = header[8], header[9]
    if columns == 0 or rows == 0 or depth not in _BIT_DEPTHS.get(colour, ()):
        raise FormatError(
            f"{where}: impossible PNG header ({columns} x {rows}, {depth} bits, "
            f"colour type {colour})"
        )
    return columns, rows, depth, colour, size


def _parts(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        part = file.read(min(length, 1 << 20))
        if not part:
            return
        length -= len(part)
        yield part


def _tiles(rows: slice, columns: slice) -> Iterator[tuple[int, int, int, int]]:
    """Cut a window; yield (top, left, bottom, right) of each part."""
    for top in range(rows.start, rows.stop, _TILE_ROWS):
        for left in range(columns.start, columns.stop, _TILE_COLUMNS):
            yield (
                top,
                left,
                min(rows.stop, top + _TILE_ROWS),
                min(columns.stop, left + _TILE_COLUMNS),
            )
