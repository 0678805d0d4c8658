"""The png encoding: a picture x voxels wide and y * z high, lossless.

Pillow does the work, but for pictures of 16 bits and several channels: it can't write those and
reads them as 8 bits without a word. They take imagecodecs.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md#png-encoding
https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ngcore.codecs.png_file import GREY, GREY_ALPHA, RGB, RGBA, PngCheck
from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.precomputed.encodings.base import ChunkEncoding, Shape4
from ngcore.precomputed.encodings.pixels import pixels_of_voxels, voxels_of_pixels

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from ngcore.codecs.png_file import PngHeader

_COLOUR_TYPES = {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGBA}
"""Channels to colour type: grey, grey and alpha, RGB, RGBA."""


class PngEncoding(ChunkEncoding):
    """uint8 or uint16, 1 to 4 channels."""

    __slots__ = ()

    name: ClassVar[str] = "png"

    def __post_init__(self) -> None:
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
                return voxels_of_pixels(imagecodecs.png_decode(picture.getvalue()), shape)
            except imagecodecs.PngError as error:
                raise FormatError(f"damaged png: {error}") from error
        from PIL.PngImagePlugin import PngImageFile

        try:
            # Not Image.open, which warns of large pictures: this one is as large as it should be.
            with PngImageFile(picture) as image:
                pixels = np.asarray(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise FormatError(f"damaged png: {error}") from error
        # Older versions of Pillow give 16-bit pictures as int32.
        return voxels_of_pixels(pixels.astype(self.dtype, copy=False), shape)

    def _checked_picture(self, data: memoryview, shape: Shape4) -> io.BytesIO:
        """Return the picture without its ancillary chunks, when all of it is as it should be.

        Pillow takes pixels that are missing for zeros.
        """
        file, critical = io.BytesIO(data), io.BytesIO()
        png = PngCheck(file)
        self._check_header(png.header, shape)
        png.check(critical)
        if file.tell() != len(data):
            raise FormatError(f"png ends at byte {file.tell()}, but there are {len(data)} bytes")
        critical.seek(0)
        return critical

    def _check_header(self, header: PngHeader, shape: Shape4) -> None:
        """Refuse a picture of another size or type than the chunk."""
        x, y, z, _ = shape
        if header.columns * header.rows != x * y * z:
            raise FormatError(
                f"png has {header.columns} x {header.rows} pixels, but a chunk of shape {shape} "
                "is expected"
            )
        got = (header.bit_depth, header.colour)
        expected = (self.dtype.itemsize * 8, _COLOUR_TYPES[self.channels])
        if got != expected:
            raise FormatError(
                f"png has {got[0]} bits and colour type {got[1]}, but {expected[0]} bits and "
                f"colour type {expected[1]} ({self.channels} channels) are expected"
            )


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


Encoding = PngEncoding
