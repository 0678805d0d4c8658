"""The png encoding: a picture x voxels wide and y * z high, lossless.

Pillow does the work, but for pictures of 16 bits and several channels: it can't write those and
reads them as 8 bits without a word. They take imagecodecs.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md#png-encoding
https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from isal import isal_zlib

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.precomputed.encodings.base import ChunkEncoding, Shape4
from ngcore.precomputed.encodings.pixels import pixels_of_voxels, voxels_of_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray
    from typing_extensions import Buffer

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""Channels to colour type: grey, grey and alpha, RGB, RGBA."""

_PASSES = {
    0: ((0, 0, 1, 1),),
    1: (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ),
}
"""Interlacing to the passes over the picture: first column and row, and the steps between them."""

_IsalError = cast("type[Exception]", isal_zlib.error)


@dataclass(frozen=True, slots=True)
class PngEncoding(ChunkEncoding):
    """uint8 or uint16, 1 to 4 channels."""

    name: ClassVar[str] = "png"

    def _check(self) -> None:
        if self.dtype not in (np.uint8, np.uint16):
            raise InputError(f"png chunks hold uint8 or uint16, got {self.dtype}; use raw")
        if self.channels not in _COLOUR_TYPES:
            raise InputError(f"png chunks hold 1 to 4 channels, got {self.channels}; use raw")
        if self._needs_imagecodecs:
            _imagecodecs()

    @property
    def _needs_imagecodecs(self) -> bool:
        return self.dtype == np.uint16 and self.channels > 1

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Encode one chunk; see `ChunkEncoding.encode`."""
        x, y, z, _ = self._voxels(chunk).shape
        pixels = pixels_of_voxels(chunk, x, y * z)
        if self._needs_imagecodecs:
            return bytes(_imagecodecs().png_encode(pixels, level=1))
        from PIL import Image

        # Run lengths alone (type 3) of the filtered rows: measured on MRI, smaller than zlib's
        # level 6 and four times as fast.
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=1, compress_type=3)
        return file.getvalue()

    def decode(self, data: Buffer, shape: Shape4) -> NDArray[Any]:
        """Decode one chunk; see `ChunkEncoding.decode`."""
        picture = self._checked_picture(memoryview(data).cast("B"), shape)
        if self._needs_imagecodecs:
            imagecodecs = _imagecodecs()
            try:
                return voxels_of_pixels(imagecodecs.png_decode(picture), shape)
            except imagecodecs.PngError as error:
                raise FormatError(f"damaged png: {error}") from error
        from PIL.PngImagePlugin import PngImageFile

        try:
            # Not Image.open, which warns of large pictures: this one is as large as it should be.
            with PngImageFile(io.BytesIO(picture)) as image:
                pixels = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise FormatError(f"damaged png: {error}") from error
        # Older versions of Pillow give 16-bit pictures as int32.
        return voxels_of_pixels(pixels.astype(self.dtype, copy=False), shape)

    def _checked_picture(self, data: memoryview, shape: Shape4) -> bytes:
        """Return the picture without its ancillary chunks, when all of it is as it should be.

        Text, profiles and animations, which could be bombs, are never decompressed. The pixels
        are, to count them: Pillow takes those that are missing for zeros.
        """
        if bytes(data[:8]) != _SIGNATURE:
            raise FormatError(f"not a png: it starts with {bytes(data[:8]).hex(' ')}")
        critical: list[Buffer] = [_SIGNATURE]
        pixels: list[Buffer] = []
        pixels_size = 0
        for name, offset, chunk in _chunks(data):
            content = chunk[8:-4]
            if (name == b"IHDR") != (offset == len(_SIGNATURE)):
                raise FormatError(f"png has no header, or a second one, at byte {offset}")
            if name == b"IHDR":
                pixels_size = self._check_header(bytes(content), shape)
            elif name == b"IDAT":
                pixels.append(content)
            elif name != b"IEND":
                continue
            critical.append(chunk)
        _check_pixels(b"".join(pixels), pixels_size)
        return b"".join(critical)

    def _check_header(self, header: bytes, shape: Shape4) -> int:
        """Return the bytes of the decompressed rows, when the picture is the one that is due."""
        if len(header) != 13:
            raise FormatError(f"png header must have 13 bytes, got {len(header)}")
        width, height, *rest = struct.unpack(">IIBBBBB", header)
        x, y, z, _ = shape
        if width * height != x * y * z:
            raise FormatError(
                f"png of {width} x {height} pixels where a chunk of shape {shape} is due"
            )
        bits, colour, compression, filtering, interlacing = rest
        expected = (self.dtype.itemsize * 8, _COLOUR_TYPES[self.channels])
        if (bits, colour) != expected:
            raise FormatError(
                f"png of {bits} bits and colour type {colour} where {expected[0]} bits and colour "
                f"type {expected[1]} ({self.channels} channels) are due"
            )
        if compression or filtering or interlacing not in _PASSES:
            raise FormatError("png has an unknown compression, filter or interlacing method")
        size = 0
        for x_start, y_start, x_step, y_step in _PASSES[interlacing]:
            columns = -(-(width - x_start) // x_step)
            rows = -(-(height - y_start) // y_step)
            if columns > 0 and rows > 0:
                # Each row starts with a byte that names its filter.
                size += rows * (1 + columns * self.channels * self.dtype.itemsize)
        return size


def _chunks(data: memoryview) -> Iterator[tuple[bytes, int, memoryview]]:
    """Yield (name, offset, all its bytes) of every chunk, lengths and checksums being right."""
    name, offset = b"", len(_SIGNATURE)
    while name != b"IEND":
        if len(data) - offset < 12:
            raise FormatError(f"png ends too early, after {len(data)} bytes")
        (length,) = struct.unpack_from(">I", data, offset)
        end = offset + 12 + length
        if end > len(data):
            raise FormatError(f"png chunk at byte {offset} runs past the end of the data")
        name = bytes(data[offset + 4 : offset + 8])
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if checksum != isal_zlib.crc32(data[offset + 4 : end - 4]):
            raise FormatError(f"png chunk at byte {offset} fails its checksum")
        yield name, offset, data[offset:end]
        offset = end
    if offset != len(data):
        raise FormatError(f"png ends at byte {offset}, but {len(data)} bytes are there")


def _check_pixels(compressed: bytes, expected: int) -> None:
    stream = isal_zlib.decompressobj()
    try:
        size = len(stream.decompress(compressed, expected + 1))
    except _IsalError as error:
        raise FormatError(f"damaged png: {error}") from error
    if size != expected or not stream.eof:
        raise FormatError(f"the pixels of a png must decompress to {expected} bytes, and do not")


def _imagecodecs() -> ModuleType:
    try:
        import imagecodecs
    except ImportError as error:
        raise MissingExtraError(
            "png chunks of uint16 and several channels need imagecodecs; "
            "pip install 'ngcore-neuroglancer[formats]'"
        ) from error
    module: ModuleType = imagecodecs
    return module
