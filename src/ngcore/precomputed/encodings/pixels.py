"""A chunk as the picture that png and jpeg hold: rows that join up to x-fastest order.

Pictures interleave the channels of a pixel; chunks keep each channel apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.precomputed.encodings.base import Shape4


def pixels_of_voxels(chunk: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Return a C-order picture, shape (height, width) or (height, width, channel)."""
    channels = chunk.shape[3]
    pixels = np.ascontiguousarray(chunk.transpose(2, 1, 0, 3))
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))


def voxels_of_pixels(pixels: NDArray[Any], shape: Shape4) -> NDArray[Any]:
    """Return a writable Fortran-order chunk; the picture may have any width and height."""
    x, y, z, channels = shape
    planar = np.array(pixels.reshape(-1, channels).T, order="C", copy=True)
    return planar.reshape(channels, z, y, x).T
