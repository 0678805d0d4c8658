"""How the voxels of a chunk become bytes: one module per encoding, each loaded when it is used.

A module has the name of its encoding, and its class is called `Encoding` there. An encoding from
elsewhere is one class, which `register` makes known.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import InputError
from ngcore.precomputed.encodings.base import ChunkEncoding, JpegPlane, Shape4, Span
from ngcore.precomputed.scale_info import ENCODINGS

if TYPE_CHECKING:
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo

__all__ = [
    "ChunkEncoding",
    "JpegPlane",
    "Shape4",
    "Span",
    "make_encoding",
    "register",
    "unregister",
]

_REGISTERED: dict[str, type[ChunkEncoding]] = {}
_FROM_ELSEWHERE: set[str] = set()


def register(encoding: type[ChunkEncoding]) -> type[ChunkEncoding]:
    """Make an encoding known to `info`, to all that reads and to all that writes chunks."""
    if encoding.name not in ENCODINGS:
        ENCODINGS.append(encoding.name)
        _FROM_ELSEWHERE.add(encoding.name)
    _REGISTERED[encoding.name] = encoding
    return encoding


def unregister(encoding: type[ChunkEncoding]) -> None:
    """Forget an encoding that was registered; one of ngcore's own that it replaced is back."""
    if _REGISTERED.pop(encoding.name, None) is not None and encoding.name in _FROM_ELSEWHERE:
        ENCODINGS.remove(encoding.name)
        _FROM_ELSEWHERE.remove(encoding.name)


def make_encoding(
    info: VolumeInfo, scale: ScaleInfo, *, jpeg_quality: int = 95, jpeg_plane: JpegPlane = "xy"
) -> ChunkEncoding:
    """Return the encoding of a scale's chunks.

    Parameters
    ----------
    info : VolumeInfo
    scale : ScaleInfo
        One of its scales.
    jpeg_quality : int, 1 to 100
    jpeg_plane : "xy" or "xz"
        Only encoders heed these two.

    Raises
    ------
    InputError
        ngcore does not know the encoding, or it can't hold the volume's voxels.
    MissingExtraError
        It needs a library that is not installed.
    """
    name = scale.encoding
    if name not in ENCODINGS:
        raise InputError(
            f"scale {scale.key}: ngcore can't read or write the encoding {name!r}, only "
            + ", ".join(ENCODINGS)
        )
    if name not in _REGISTERED:
        _REGISTERED[name] = import_module(f"{__name__}.{name}").Encoding
    encoding = _REGISTERED[name]
    dtype, channels = np.dtype(info.data_type), info.num_channels
    return encoding.of_scale(dtype, channels, scale, (jpeg_quality, jpeg_plane))
