"""How the voxels of a chunk become bytes: one module per encoding, each loaded when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import InputError
from ngcore.precomputed.encodings.base import ChunkEncoding, JpegPlane, Shape4
from ngcore.precomputed.scale_info import ENCODINGS

if TYPE_CHECKING:
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo

__all__ = ["ChunkEncoding", "JpegPlane", "Shape4", "make_encoding"]


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
    dtype, channels = np.dtype(info.data_type), info.num_channels
    match scale.encoding:
        case "raw":
            from ngcore.precomputed.encodings.raw import RawEncoding

            return RawEncoding(dtype, channels)
        case "png":
            from ngcore.precomputed.encodings.png import PngEncoding

            return PngEncoding(dtype, channels)
        case "jpeg":
            from ngcore.precomputed.encodings.jpeg import JpegEncoding

            return JpegEncoding(dtype, channels, jpeg_quality, jpeg_plane)
        case "jxl":
            from ngcore.precomputed.encodings.jxl import JxlEncoding

            return JxlEncoding(dtype, channels)
        case "compressed_segmentation":
            from ngcore.precomputed.encodings.compressed_segmentation import (
                CompressedSegmentationEncoding,
            )

            block_size = scale.compressed_segmentation_block_size or (8, 8, 8)
            return CompressedSegmentationEncoding(dtype, channels, block_size)
    raise InputError(
        f"scale {scale.key}: ngcore can't read or write the encoding {scale.encoding!r}, only "
        + ", ".join(ENCODINGS)
    )
