"""The jpeg encoding: a lossy picture whose rows join up to x-fastest order.

Any width and height will do whose product is the chunk's voxels, and JPEG allows 65500 a side, so
they are chosen for each chunk.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md#jpeg-encoding
https://www.w3.org/Graphics/JPEG/itu-t81.pdf
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.encodings.base import ChunkEncoding, JpegPlane, Shape4
from ngcore.precomputed.encodings.pixels import pixels_of_voxels, voxels_of_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from ngcore.precomputed.info import ScaleInfo

_MAX_SIDE = 65_500
_MAX_SCANS = 100
"""A picture has 10 scans or so; a small file of thousands of them would take hours."""

_START, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True, slots=True)
class JpegEncoding(ChunkEncoding):
    """uint8, 1 or 3 channels.

    Colour is stored at full resolution (4:4:4): channels are measurements, and averaging them over
    neighbouring rows would mix slices.

    Attributes
    ----------
    quality : int, 1 to 100
    plane : "xy" or "xz"
        The plane in which the picture is cut: xy is x wide and y * z high, xz is x * y wide and z
        high. Where a side would be too long for JPEG another width is taken.
    """

    name: ClassVar[str] = "jpeg"

    quality: int = 95
    plane: JpegPlane = "xy"

    @classmethod
    def of_scale(
        cls,
        dtype: np.dtype[Any],
        channels: int,
        scale: ScaleInfo,  # noqa: ARG003 - `info` has no settings of JPEG
        jpeg: tuple[int, JpegPlane],
    ) -> Self:
        """Return that of a scale of a volume; see `ChunkEncoding.of_scale`."""
        return cls(dtype, channels, *jpeg)

    def __post_init__(self) -> None:
        if self.dtype != np.uint8:
            others = "raw or png" if self.dtype == np.uint16 else "raw"
            raise InputError(
                f"jpeg chunks hold uint8, got {self.dtype}; use {others}, or convert to uint8"
            )
        if self.channels not in _MODES:
            raise InputError(f"jpeg chunks hold 1 or 3 channels, got {self.channels}; use raw")
        if not 1 <= self.quality <= 100:
            raise InputError(f"JPEG quality must be 1 to 100, got {self.quality}")
        if self.plane not in ("xy", "xz"):
            raise InputError(f"JPEG plane must be xy or xz, got {self.plane!r}")

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Encode one chunk; see `ChunkEncoding.encode`."""
        from PIL import Image

        x, y, z, _ = self._voxels(chunk).shape
        width, height = picture_size((x, y, z), self.plane)
        file = io.BytesIO()
        image = Image.fromarray(pixels_of_voxels(chunk, width, height))
        image.save(file, "JPEG", quality=self.quality, subsampling=0)
        return file.getvalue()

    def decode(self, data: Buffer, shape: Shape4) -> NDArray[Any]:
        """Decode one chunk; see `ChunkEncoding.decode`."""
        from PIL.JpegImagePlugin import JpegImageFile

        data = bytes(data)
        if not data.startswith(_START):
            raise FormatError(f"not a jpeg: it starts with {data[:2].hex(' ')}")
        if not data.endswith(_END):
            raise FormatError(f"jpeg ends too early, after {len(data)} bytes: no end marker")
        if data.count(_SCAN) > _MAX_SCANS:
            raise FormatError(f"jpeg has more than {_MAX_SCANS} scans")
        x, y, z, channels = shape
        try:
            # Not Image.open, which warns of large pictures; this reads the header alone.
            with JpegImageFile(io.BytesIO(data)) as image:
                if image.width * image.height != x * y * z:
                    raise FormatError(
                        f"jpeg has {image.width} x {image.height} pixels, but a chunk of shape "
                        f"{shape} is expected"
                    )
                if image.mode != _MODES[channels]:
                    raise FormatError(
                        f"jpeg has mode {image.mode}, but {_MODES[channels]} ({channels} "
                        "channels) is expected"
                    )
                return voxels_of_pixels(np.asarray(image), shape)
        except FormatError:
            raise
        except (OSError, SyntaxError, ValueError) as error:
            raise FormatError(f"damaged jpeg: {error}") from error


def picture_size(shape: tuple[int, int, int], plane: JpegPlane) -> tuple[int, int]:
    """Return the width and height of the picture of a chunk.

    Parameters
    ----------
    shape : tuple of int, (x, y, z)
    plane : "xy" or "xz"

    Raises
    ------
    InputError
        No picture that JPEG allows has as many pixels.

    Examples
    --------
    >>> picture_size((64, 64, 64), "xy"), picture_size((64, 64, 64), "xz")
    ((64, 4096), (4096, 64))
    >>> picture_size((1, 512, 512), "xy")
    (512, 512)
    """
    x, y, z = shape
    usual = [(x, y * z), (x * y, z)]
    for width, height in usual if plane == "xy" else usual[::-1]:
        if max(width, height) <= _MAX_SIDE:
            return width, height
    voxels = x * y * z
    for width in range(math.isqrt(voxels), 0, -1):
        if voxels % width == 0 and voxels // width <= _MAX_SIDE:
            return width, voxels // width
    raise InputError(
        f"no JPEG picture with sides up to {_MAX_SIDE} holds a chunk of {shape} voxels; "
        "use another chunk size"
    )


Encoding = JpegEncoding
