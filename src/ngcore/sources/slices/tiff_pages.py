"""One page of a TIFF file: its layout, and its pixels segment by segment.

tifffile (https://github.com/cgohlke/tifffile) reads the tags and decodes what is compressed. Here
uncompressed pages go straight into the caller's memory, deflate is decoded within the size that
the tags allow, and each strip or tile is checked to lie in the file and to fill its place.
"""

from __future__ import annotations

import logging
import math
import operator
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.sources.files import bytes_of
from ngcore.sources.slices.lzw import decode_lzw
from ngcore.sources.slices.slice_file import (
    FORMATS_EXTRA,
    ORIENTATION,
    PlaneLayout,
    check_plausible_size,
    decoding,
    turned,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from ngcore.sources.files import PositionalFile

    # tifffile has no type of a page that all its versions share
    Page = Any

_UNCOMPRESSED = 1
_LZW = 5
_DEFLATE = (8, 32946)
_PACKBITS = 32773
_HORIZONTAL_PREDICTOR = 2
_MIN_IS_WHITE, _PALETTE = 0, 3
_OTHER_COLOURS = {5: "CMYK", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32845: "LogLuv"}
_NODATA = 42113

# What can be decoded without imagecodecs, within memory that the tags bound.
_BASE_COMPRESSIONS = (_UNCOMPRESSED, _LZW, *_DEFLATE, _PACKBITS)
_BASE_PREDICTORS = (1, _HORIZONTAL_PREDICTOR)
_BASE_BITS = (1, 8, 16, 32, 64)

# The most output per byte of input: LZW repeats one growing string, deflate copies 258 bytes by
# two bits, PackBits repeats a byte 128 times by two; Zstandard's run of 128 KiB takes four bytes.
_RATIOS = {_UNCOMPRESSED: 1, _LZW: 1500, **dict.fromkeys(_DEFLATE, 1032), _PACKBITS: 64}
_OTHER_RATIO = 40_000

BLOCK_BYTES = 1 << 20
"""Bytes of rows that pass through a buffer where they can't go straight to their place."""


def import_tifffile() -> ModuleType:
    """Import tifffile, so that what it logs about odd tags is not drawn on stderr by default."""
    import tifffile

    logger = logging.getLogger("tifffile")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return tifffile


def page_layout(page: Page, where: str) -> PlaneLayout:
    """Return the size and type of a page's pixels.

    Raises
    ------
    FormatError
        If the tags describe no pixels.
    InputError
        If the pixels are not planes of numbers.
    """
    if page.dtype is None or 0 in page.shaped or not page.shape:
        raise FormatError(
            f"{where}: no pixels ({page.imagewidth} x {page.imagelength}, "
            f"{page.bitspersample} bits, sample format {page.sampleformat})"
        )
    separate, depth, rows, columns, together = page.shaped
    dtype = np.dtype(page.dtype).newbyteorder("=")
    if depth != 1:
        raise InputError(
            f"{where}: a page that is itself a volume can't be read; save one page per slice"
        )
    if dtype.kind not in "biuf":
        raise InputError(
            f"{where}: pixels of type {dtype} can't be read; save them as integers or floats"
        )
    is_binary = dtype.kind == "b"
    return PlaneLayout(
        columns, rows, separate * together, np.dtype(np.uint8) if is_binary else dtype, is_binary
    )


class TiffPlane:
    """One page of an open TIFF file.

    Parameters
    ----------
    page : tifffile.TiffPage
    file : PositionalFile
        Where the page's segments lie.
    where : str
        The file, and the page where it has several; for messages.
    data_shift : int, in bytes
        How far the pixels of an uncompressed page lie after the place that its tags name.

    Raises
    ------
    FormatError
        If the tags contradict each other or the file's size.
    InputError
        If the pixels are not planes of numbers.
    MissingExtraError
        If the compression needs imagecodecs, which is not installed.
    """

    layout: PlaneLayout
    notes: tuple[str, ...] = ()

    def __init__(
        self, page: Page, file: PositionalFile, where: str, *, data_shift: int = 0
    ) -> None:
        self.where = where
        self._page = page
        self._file = file
        self._data_shift = data_shift
        with decoding(where):
            self.layout = page_layout(page, where)
            self._check_compression()
            self._is_contiguous = self._check_segments()
            if not self._is_contiguous:
                page.decode  # noqa: B018 - tifffile makes its decoder now, and is not safe in threads
        self.notes = (*self._describe_photometric(), *turned(_orientation(page)))

    @property
    def is_uncompressed(self) -> bool:
        """Whether any window can be read without reading the whole page."""
        return self._is_contiguous

    @property
    def scratch_bytes(self) -> int:
        """Memory that `read` takes, beside the array that it fills."""
        if self._is_contiguous:
            return max(BLOCK_BYTES, self.layout.row_bytes)
        largest: int = max(self._page.databytecounts)
        rows, columns = self._segment_shape()
        # encoded, decompressed, and once more where the predictor is undone or bytes are swapped
        return largest + 3 * rows * columns * self._samples_together * self.layout.dtype.itemsize

    def read(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        """Fill `into`, of shape (row, column, sample) and any strides, with a window of pixels."""
        if self._is_contiguous:
            self._read_contiguous(into, rows, columns)
        else:
            self._read_segments(into, rows, columns)

    @property
    def _samples_together(self) -> int:
        """Samples next to each other in one segment: 1 where each has planes of its own."""
        samples: int = self._page.shaped[4]
        return samples

    @property
    def _byte_order(self) -> Literal["<", ">"]:
        return "<" if self._page.parent.byteorder == "<" else ">"

    @property
    def _stored_dtype(self) -> np.dtype[Any]:
        return self.layout.dtype.newbyteorder(self._byte_order)

    def _check_compression(self) -> None:
        tiff = import_tifffile().TIFF
        page = self._page
        is_complete = has_imagecodecs()
        needs = []
        if page.compression not in (tiff.DECOMPRESSORS if is_complete else _BASE_COMPRESSIONS):
            needs.append(f"{_name(page.compression, 'unknown')} compression")
        if page.predictor not in (tiff.UNPREDICTORS if is_complete else _BASE_PREDICTORS):
            needs.append(f"{_name(page.predictor, 'unknown')} predictor")
        if not is_complete and page.bitspersample not in _BASE_BITS:
            needs.append(f"{page.bitspersample} bits per sample")
        if needs and is_complete:
            raise InputError(
                f"{self.where}: TIFF with {' and '.join(needs)} can't be read; "
                "save it uncompressed or with deflate"
            )
        if needs:
            raise MissingExtraError(
                f"{self.where}: TIFF with {' and '.join(needs)} needs imagecodecs; {FORMATS_EXTRA}"
            )

    def _check_segments(self) -> bool:
        """Check where segments lie; return whether the pixels lie row after row in one piece."""
        page, file_size = self._page, self._file.size
        offsets, counts = page.dataoffsets, page.databytecounts
        is_contiguous = bool(
            page.is_contiguous
            and page.fillorder == 1
            and page.predictor == 1
            and not page.is_subsampled
            and page.shaped[0] == 1
            and page.nbytes == self.layout.plane_bytes
            and not self.layout.is_binary
        )
        is_left_out = not any(offsets) and not any(counts)
        if is_contiguous and not is_left_out:
            needed = operator.index(offsets[0]) + self._data_shift + self.layout.plane_bytes
            if offsets[0] <= 0 or needed > file_size:
                raise FormatError(
                    f"{self.where}: truncated: its pixels reach byte {needed}, the file ends at "
                    f"{file_size}; copy or download it again"
                )
            return True
        if self._data_shift:
            raise InputError(
                f"{self.where}: pages without tags must be uncompressed; save it again"
            )
        if not len(offsets) == len(counts) == math.prod(page.chunked):
            raise FormatError(
                f"{self.where}: {len(offsets)} strips or tiles, but the page needs "
                f"{math.prod(page.chunked)}; the file is damaged"
            )
        for index, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
            if offset == 0 and count == 0:
                continue  # left out: it holds the fill value
            if offset <= 0 or count <= 0:
                raise FormatError(
                    f"{self.where}: strip or tile {index} was never written; write the file again"
                )
            if operator.index(offset) + operator.index(count) > file_size:
                raise FormatError(
                    f"{self.where}: truncated: strip or tile {index} reaches byte "
                    f"{offset + count}, the file ends at {file_size}; copy or download it again"
                )
        ratio = _RATIOS.get(page.compression, _OTHER_RATIO)
        packed = (
            self.layout.rows * self.layout.columns * self.layout.samples * page.bitspersample // 8
        )
        written = sum(1 for count in counts if count)
        check_plausible_size(
            self.where, packed * written // max(1, len(counts)), sum(counts), ratio
        )
        return False

    def _describe_photometric(self) -> tuple[str, ...]:
        if self._page.photometric == _MIN_IS_WHITE:
            return ("TIFF pixels say that 0 is white; values are kept as stored, not inverted",)
        if self._page.photometric == _PALETTE:
            return ("TIFF pixels have a palette; values are its indices, not its colours",)
        if self._page.photometric in _OTHER_COLOURS:
            return (
                f"TIFF pixels are {_OTHER_COLOURS[self._page.photometric]}; its channels are kept "
                "as stored, and are not red, green and blue",
            )
        return ()

    def _read_contiguous(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        layout = self.layout
        whole_rows = columns == slice(0, layout.columns)
        start = self._page.dataoffsets[0] + self._data_shift
        if whole_rows and into.flags.c_contiguous:
            self._file.read_into(start + rows.start * layout.row_bytes, bytes_of(into))
            if not self._stored_dtype.isnative:
                into.byteswap(inplace=True)
            return
        block_rows = max(1, BLOCK_BYTES // layout.row_bytes)
        buffer = np.empty((block_rows, layout.columns, layout.samples), self._stored_dtype)
        for first in range(rows.start, rows.stop, block_rows):
            block = buffer[: min(block_rows, rows.stop - first)]
            self._file.read_into(start + first * layout.row_bytes, bytes_of(block))
            into[first - rows.start : first - rows.start + len(block)] = block[:, columns]

    def _read_segments(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        page = self._page
        for index, sample, top, left, shape in self._segments(rows, columns):
            if not page.databytecounts[index]:
                pixels = np.broadcast_to(self._fill_value, shape)
            else:
                encoded = bytearray(page.databytecounts[index])
                self._file.read_into(page.dataoffsets[index], memoryview(encoded))
                with decoding(f"{self.where}, strip or tile {index}"):
                    pixels = self._decode_segment(encoded, index, shape)
            from_row, from_column = max(rows.start, top), max(columns.start, left)
            part = pixels[
                from_row - top : min(rows.stop - top, pixels.shape[0]),
                from_column - left : min(columns.stop - left, pixels.shape[1]),
            ]
            target = into[
                from_row - rows.start : min(rows.stop, top + shape[0]) - rows.start,
                from_column - columns.start : min(columns.stop, left + shape[1]) - columns.start,
                sample : sample + shape[2],
            ]
            if part.shape != target.shape:
                raise FormatError(
                    f"{self.where}, strip or tile {index}: {part.shape} pixels, but "
                    f"{target.shape} are needed; the file is damaged"
                )
            target[...] = part

    @property
    def _fill_value(self) -> np.ndarray[Any, Any]:
        """What segments hold that were left out: GDAL's tag for that, here or at first, else 0."""
        page = self._page if _NODATA in self._page.tags else self._page.parent.pages.first
        # tifffile makes it 0 where the type does not hold it
        return np.array(page.nodata).astype(self.layout.dtype)

    def _segments(
        self, rows: slice, columns: slice
    ) -> Iterator[tuple[int, int, int, int, tuple[int, int, int]]]:
        """Yield (index, first sample, top, left, shape) of the segments that meet a window."""
        height, width = self._segment_shape()
        across = -(-self.layout.columns // width)
        down = -(-self.layout.rows // height)
        for index in range(len(self._page.dataoffsets)):
            sample, place = divmod(index, across * down)
            top, left = place // across * height, place % across * width
            # a tile is filled up beyond the edge, a strip is not
            last_row = top + height if self._page.is_tiled else min(top + height, self.layout.rows)
            if (
                top < rows.stop
                and last_row > rows.start
                and left < columns.stop
                and left + width > columns.start
            ):
                yield index, sample, top, left, (last_row - top, width, self._samples_together)

    def _decode_segment(
        self, encoded: bytearray, index: int, shape: tuple[int, int, int]
    ) -> np.ndarray[Any, Any]:
        """Return decoded pixels of shape (row, column, sample), which may be less than `shape`."""
        page = self._page
        if self._is_decoded_here:
            rows, columns, samples = shape
            row_bytes = (columns * samples * page.bitspersample + 7) // 8
            data = self._decompress(encoded, rows, row_bytes)
            return self._pixels(data, shape)
        tables = {}
        if page.jpegtables is not None or page.jpegheader is not None:
            tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        segment, _, _ = page.decode(encoded, index, **tables)
        if segment is None:
            raise FormatError(f"{self.where}: holds no pixels; the file is damaged")
        pixels: np.ndarray[Any, Any] = segment[0]
        return pixels

    @property
    def _is_decoded_here(self) -> bool:
        page = self._page
        return (
            (page.compression in _DEFLATE or (page.compression == _LZW and not has_imagecodecs()))
            and page.predictor in _BASE_PREDICTORS
            and page.bitspersample in _BASE_BITS
            and page.fillorder == 1
        )

    def _decompress(self, encoded: bytearray, rows: int, row_bytes: int) -> bytes:
        """Decode deflate or LZW, in no more memory than the tags promise."""
        if self._page.compression == _LZW:
            return decode_lzw(encoded, rows, row_bytes)
        from isal import isal_zlib

        needed = rows * row_bytes
        stream = isal_zlib.decompressobj()
        try:
            data = stream.decompress(encoded, needed)
            if not stream.eof:
                # some writers fill up the last strip; what ends here has its checksum compared
                stream.decompress(stream.unconsumed_tail, BLOCK_BYTES)
        except cast("type[Exception]", isal_zlib.error) as error:
            raise FormatError(
                f"{self.where}: deflate data is damaged ({error}); copy or download it again"
            ) from error
        if len(data) != needed:
            raise FormatError(
                f"{self.where}: {len(data)} bytes, but a strip or tile needs {needed}; "
                f"the file is damaged"
            )
        return data

    def _pixels(self, data: bytes, shape: tuple[int, int, int]) -> np.ndarray[Any, Any]:
        """Return decompressed bytes as pixels, the predictor undone."""
        rows, columns, samples = shape
        if self._page.bitspersample == 1:
            packed = np.frombuffer(data, np.uint8).reshape(rows, -1)
            return np.unpackbits(packed, axis=1, count=columns * samples).reshape(shape)
        pixels = np.frombuffer(data, self._stored_dtype).reshape(shape)
        if self._page.predictor == _HORIZONTAL_PREDICTOR:
            # differences wrap around, floating-point ones as the integers of their bytes
            size = self.layout.dtype.itemsize
            words = pixels.view(f"{self._byte_order}u{size}").astype(f"=u{size}")
            np.add.accumulate(words, axis=1, out=words)
            pixels = words.view(self.layout.dtype)
        return pixels

    def _segment_shape(self) -> tuple[int, int]:
        page = self._page
        if page.is_tiled:
            return page.tilelength, page.tilewidth
        return min(page.rowsperstrip, page.imagelength), page.imagewidth


@cache
def has_imagecodecs() -> bool:
    """Whether the package that decodes most compressions is installed."""
    try:
        import imagecodecs  # noqa: F401 - it is there
    except ImportError:
        return False
    return True


def _name(value: Any, default: str) -> str:
    """Return what tifffile calls a tag's value."""
    return getattr(value, "name", default)


def _orientation(page: Any) -> object:
    """Return what a page's tag says of the sides at which its rows and columns begin."""
    tags = getattr(page, "tags", None)  # frames after the first have none of their own
    tag = None if tags is None else tags.get(ORIENTATION)
    return None if tag is None else tag.value
