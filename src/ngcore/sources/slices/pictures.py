"""Slices in PNG and JPEG files, decoded by Pillow.

PNG (https://www.w3.org/TR/png-3/): 8 and 16 bit grey, RGB and RGBA come out as stored, palettes
as their RGB colours, or as indices where they are labels, and 1-bit grey as 0 and 1. Pillow
narrows 16-bit colour to 8 bits, so imagecodecs reads that.
"""

from __future__ import annotations

import struct
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ngcore.codecs.png_file import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, PngCheck
from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.sources.slices.slice_file import (
    FORMATS_EXTRA,
    ORIENTATION,
    PlaneLayout,
    SliceFile,
    check_plausible_size,
    decoding,
    turned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from PIL.ImageFile import ImageFile

_PNG_SAMPLES = {GREY: 1, RGB: 3, PALETTE: 3, GREY_ALPHA: 2, RGBA: 4}
_BROKEN_EXIF = (SyntaxError, ValueError, KeyError, TypeError, OSError, struct.error)
# A progressive JPEG of one colour takes a bit and a half per block of 8 x 8 pixels.
_JPEG_RATIO = 4096
_JPEG_SAMPLES = {"L": 1, "RGB": 3}

# Pixels are taken out of Pillow's memory tile by tile: its only way makes copies, and above some
# 90 million pixels it asks whether they are a bomb.
_TILE_ROWS, _TILE_COLUMNS = 256, 4096


def open_png(path: Path, where: str, *, is_label: bool = False) -> SliceFile:
    """Check a whole PNG file and return its slice.

    Parameters
    ----------
    path : Path
    where : str
        For messages.
    is_label : bool
        Take the indices of a palette, not its colours.

    Raises
    ------
    FormatError
        If the file is truncated or damaged.
    MissingExtraError
        If it holds 16-bit colours and imagecodecs is not installed.
    """
    from PIL.PngImagePlugin import PngImageFile

    with decoding(where), path.open("rb") as file:
        try:
            check = PngCheck(file)
            header = check.check()
        except FormatError as error:
            raise FormatError(f"{where}: {error}; the file is damaged") from error
        size = file.tell()
    layout = PlaneLayout(
        header.columns,
        header.rows,
        1 if is_label and header.colour == PALETTE else _PNG_SAMPLES[header.colour],
        np.dtype(np.uint16 if header.bit_depth == 16 else np.uint8),
        is_binary=header.bit_depth == 1 and header.colour == GREY,
    )
    if header.bit_depth == 16 and header.colour != GREY:
        return _WidePng(path, where, layout, size)
    notes = turned(_orientation(check.exif))
    if header.colour == PALETTE:
        values = "the palette's indices, as labels" if is_label else "their RGB colours"
        notes += (f"slices with a palette are read as {values}",)
    return _Picture(path, where, layout, PngImageFile, notes)


def _orientation(exif: bytes) -> object:
    """Return what EXIF says of where rows and columns begin; None where it is broken."""
    if not exif:
        return None
    from PIL.Image import Exif

    known = Exif()
    with suppress(*_BROKEN_EXIF), warnings.catch_warnings(action="ignore"):
        known.load(exif)
        return known.get(ORIENTATION)
    return None


def open_jpeg(path: Path, where: str, *, is_label: bool = False) -> SliceFile:
    """Read the header of a JPEG file, and return its slice.

    Parameters
    ----------
    path : Path
    where : str
        For messages.
    is_label : bool
        Warn that labels don't survive it.

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
        orientation = None
        with suppress(*_BROKEN_EXIF), warnings.catch_warnings(action="ignore"):
            orientation = picture.getexif().get(ORIENTATION)
    samples = _JPEG_SAMPLES.get(picture.mode)
    if samples is None:
        raise InputError(
            f"{where}: a JPEG slice must be grey or RGB, got {picture.mode}; convert the slices"
        )
    layout = PlaneLayout(*picture.size, samples, np.dtype(np.uint8))
    check_plausible_size(where, layout.plane_bytes, size, _JPEG_RATIO)
    notes = turned(orientation)
    if is_label:
        notes += (
            "JPEG does not keep values: labels are mixed up, above all along their edges; use "
            "PNG or TIFF files, or pass --type image",
        )
    return _Picture(path, where, layout, JpegImageFile, notes)


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
                    f"{self._where}: an animation is not a slice; convert it to one file per slice"
                )
            picture.load()
            picture.info.pop("transparency", None)  # of a palette; its colours alone are taken
            for top, left, bottom, right in _tiles(rows, columns):
                tile = picture.crop((left, top, right, bottom))
                is_coloured = tile.mode == "P" and self.layout.samples == 3
                pixels = np.asarray(tile.convert("RGB") if is_coloured else tile)
                target = into[
                    top - rows.start : bottom - rows.start,
                    left - columns.start : right - columns.start,
                ]
                target[...] = pixels.reshape(target.shape)


class _WidePng(SliceFile):
    """A slice of 16 bits per sample and several samples, which imagecodecs decodes."""

    def __init__(self, path: Path, where: str, layout: PlaneLayout, size: int) -> None:
        self.layout = layout
        # one sample more where a colour is said to be transparent
        self.scratch_bytes = layout.plane_bytes * (layout.samples + 1) // layout.samples + size
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
                    f"{self._where}: pixels are {pixels.dtype}, but its header says 16 bits"
                )
            pixels = pixels.reshape(self.layout.rows, self.layout.columns, -1)
            into[...] = pixels[rows, columns, : self.layout.samples]


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
