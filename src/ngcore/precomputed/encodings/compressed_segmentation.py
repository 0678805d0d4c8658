"""The compressed_segmentation encoding, as `ngcore.compressed_segmentation` does it.

https://github.com/google/neuroglancer/tree/master/src/sliceview/compressed_segmentation
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ngcore import compressed_segmentation
from ngcore.errors import InputError
from ngcore.precomputed.encodings.base import ChunkEncoding, JpegPlane, Shape4

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from ngcore.precomputed.info import ScaleInfo


@dataclass(frozen=True, slots=True)
class CompressedSegmentationEncoding(ChunkEncoding):
    """uint32 or uint64, any number of channels.

    Attributes
    ----------
    block_size : tuple of int, (x, y, z), in voxels
    """

    name: ClassVar[str] = "compressed_segmentation"
    decodes_boxes: ClassVar[bool] = True

    block_size: tuple[int, int, int] = (8, 8, 8)

    @classmethod
    def of_scale(
        cls,
        dtype: np.dtype[Any],
        channels: int,
        scale: ScaleInfo,
        jpeg: tuple[int, JpegPlane],  # noqa: ARG003
    ) -> Self:
        """Return that of a scale of a volume; see `ChunkEncoding.of_scale`."""
        return cls(dtype, channels, scale.compressed_segmentation_block_size or (8, 8, 8))

    def __post_init__(self) -> None:
        if self.dtype not in (np.uint32, np.uint64):
            raise InputError(
                f"compressed_segmentation chunks hold uint32 or uint64, got {self.dtype}; use raw"
            )
        compressed_segmentation.checked_block_size(self.block_size)

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Encode one chunk; see `ChunkEncoding.encode`."""
        voxels = self._voxels(chunk)
        if not voxels.flags.aligned:
            voxels = voxels.copy()
        return compressed_segmentation.encode_checked(voxels, self.block_size)

    def decode(self, data: Buffer, shape: Shape4) -> NDArray[Any]:
        """Decode one chunk; see `ChunkEncoding.decode`."""
        return compressed_segmentation.decode(data, shape, self.dtype, block_size=self.block_size)

    def decode_box(
        self, data: Buffer, shape: Shape4, box: tuple[slice, ...], out: NDArray[Any]
    ) -> None:
        """Decode a box of one chunk; see `ChunkEncoding.decode_box`."""
        whole = tuple(slice(part.start, part.stop) for part in box[:3])
        steps = tuple(slice(None, None, part.step) for part in box[:3])
        is_direct = out.shape[3] == shape[3] and all(part.step in (None, 1) for part in box)
        voxels = compressed_segmentation.decode(
            data,
            shape,
            self.dtype,
            block_size=self.block_size,
            region=whole,
            out=out if is_direct else None,
        )
        if not is_direct:
            out[...] = voxels[(*steps, box[3])]

    def max_encoded_size(self, shape: Shape4) -> int:
        """Return the size of a chunk in which no two voxels, nor two tables, are equal."""
        blocks = math.prod(
            -(-size // block) for size, block in zip(shape[:3], self.block_size, strict=True)
        )
        table_and_values = math.prod(self.block_size) * (self.dtype.itemsize + 4)
        return 4 * shape[3] + shape[3] * blocks * (8 + table_and_values)


Encoding = CompressedSegmentationEncoding
