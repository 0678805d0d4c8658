"""The jxl encoding: a JPEG XL picture x voxels wide and y * z high, lossless.

Neuroglancer reads one channel of uint8 exactly. It takes three for planar, which they are not, and
never loads four, so there is one channel only.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md
https://ds.jpeg.org/whitepapers/jpeg-xl-whitepaper.pdf
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.precomputed.encodings.base import ChunkEncoding, Shape4
from ngcore.precomputed.encodings.pixels import pixels_of_voxels, voxels_of_pixels

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray
    from typing_extensions import Buffer

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM_BOXES = (b"jxlc", b"jxlp")
_EFFORT = 3
"""Of 1 to 9. Measured on MRI and noise: as small as 5 and 7, eight times as fast."""

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
"""Width to height, as a header may say instead of a width."""


class JxlEncoding(ChunkEncoding):
    """uint8, 1 channel."""

    __slots__ = ()

    name: ClassVar[str] = "jxl"

    def __post_init__(self) -> None:
        if self.dtype != np.uint8 or self.channels != 1:
            raise InputError(
                f"jxl chunks hold one channel of uint8, got {self.channels} of {self.dtype}; use "
                "png or raw"
            )
        _imagecodecs()

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Encode one chunk; see `ChunkEncoding.encode`."""
        x, y, z, _ = self._voxels(chunk).shape
        pixels = pixels_of_voxels(chunk, x, y * z)
        encode = _imagecodecs().jpegxl_encode
        return bytes(encode(pixels, lossless=True, effort=_EFFORT, numthreads=1))

    def decode(self, data: Buffer, shape: Shape4) -> NDArray[Any]:
        """Decode one chunk; see `ChunkEncoding.decode`."""
        content = bytes(data)
        width, height = picture_size(content)
        x, y, z, _ = shape
        if width * height != x * y * z:
            raise FormatError(
                f"jxl has {width} x {height} pixels, but a chunk of shape {shape} is expected"
            )
        imagecodecs = _imagecodecs()
        try:
            pixels = imagecodecs.jpegxl_decode(content, index=0, numthreads=1)
        except (imagecodecs.JpegxlError, ValueError, IndexError, MemoryError) as error:
            raise FormatError(f"damaged jxl: {error}") from error
        if pixels.dtype != np.uint8 or pixels.size != width * height:
            raise FormatError(
                f"jxl has type {pixels.dtype} and shape {pixels.shape}, but one channel of "
                "uint8 is "
                "expected"
            )
        return voxels_of_pixels(pixels, shape)


def picture_size(data: bytes) -> tuple[int, int]:
    """Return the width and height that the header of a JPEG XL file claims.

    Raises
    ------
    FormatError
        It is none, or is truncated.
    """
    start = _codestream(data)
    bits = _Bits(data[start + 2 : start + 14])
    is_small = bits.take(1)
    height = _length(bits, is_small)
    ratio = bits.take(3)
    if ratio == 0:
        return _length(bits, is_small), height
    wide, high = _RATIOS[ratio - 1]
    return height * wide // high, height


def _codestream(data: bytes) -> int:
    """Return where the codestream starts, in a container or without one."""
    offset = 0
    if data.startswith(_CONTAINER):
        while data[offset + 4 : offset + 8] not in _CODESTREAM_BOXES:
            length = int.from_bytes(data[offset : offset + 4], "big")
            if length < 8 or offset + length > len(data):
                raise FormatError(f"jxl has no picture: its boxes end at byte {offset}")
            offset += length
        offset += 12 if data[offset + 4 : offset + 8] == b"jxlp" else 8
    if data[offset : offset + 2] != _CODESTREAM:
        raise FormatError(f"not a jxl: it starts with {data[offset : offset + 2].hex(' ')}")
    return offset


def _length(bits: _Bits, is_small: int) -> int:
    if is_small:
        return 8 * (bits.take(5) + 1)
    return bits.take((9, 13, 18, 30)[bits.take(2)]) + 1


class _Bits:
    """Bits of a header, lowest first."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        if count > self._left:
            raise FormatError("jxl ends in its header")
        self._left -= count
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value


def _imagecodecs() -> ModuleType:
    try:
        import imagecodecs
    except ImportError as error:
        raise MissingExtraError(
            "jxl chunks need imagecodecs; pip install 'ngcore-neuroglancer[formats]'"
        ) from error
    module: ModuleType = imagecodecs
    return module


Encoding = JxlEncoding
