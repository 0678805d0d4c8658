"""The raw encoding: little-endian voxels, x fastest, channel slowest, and nothing else.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md#raw-encoding
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ngcore.arrays.chunk_copy import copy_box
from ngcore.errors import FormatError
from ngcore.precomputed.encodings.base import ChunkEncoding, Shape4, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer


class RawEncoding(ChunkEncoding):
    """Voxels as they lie in memory."""

    __slots__ = ()

    name: ClassVar[str] = "raw"
    decodes_boxes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Any type of `info` and any number of channels will do."""

    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Encode one chunk; see `ChunkEncoding.encode`."""
        little_endian = self._voxels(chunk).astype(self.dtype.newbyteorder("<"), copy=False)
        return little_endian.tobytes(order="F")

    def decode(self, data: Buffer, shape: Shape4) -> NDArray[Any]:
        """Decode one chunk; see `ChunkEncoding.decode`."""
        # The copy makes the voxels writable and aligned.
        return self._stored(data, shape).astype(self.dtype, order="F", copy=True)

    def decode_box(
        self, data: Buffer, shape: Shape4, box: tuple[slice, ...], out: NDArray[Any]
    ) -> None:
        """Decode a box of one chunk; see `ChunkEncoding.decode_box`."""
        copy_box(self._stored(data, shape)[box], out)

    def span_of(self, shape: Shape4, box: tuple[slice, ...]) -> Span | None:
        """Return which bytes of a chunk hold a box; see `ChunkEncoding.span_of`."""
        step = self.dtype.itemsize
        start, stop, strides = 0, step, []
        for side, part in zip(shape, box, strict=True):
            skip = part.step or 1
            start += part.start * step
            # The last voxel that is selected; `part.stop` may lie up to a step behind it.
            stop += (part.stop - 1 - (part.stop - 1 - part.start) % skip) * step
            strides.append(skip * step)
            step *= side
        if stop - start == step:
            return None
        dtype = self.dtype.newbyteorder("<")
        return Span(start, stop, step, dtype, (strides[0], strides[1], strides[2], strides[3]))

    def _stored(self, data: Buffer, shape: Shape4) -> NDArray[Any]:
        """Return the voxels of a chunk where they lie, read-only and little-endian."""
        view, expected = memoryview(data), self.decoded_size(shape)
        if view.nbytes != expected:
            raise FormatError(
                f"a raw chunk of shape {shape} and type {self.dtype} has {expected} bytes, "
                f"got {view.nbytes}"
            )
        return np.frombuffer(view, self.dtype.newbyteorder("<")).reshape(shape, order="F")

    def max_encoded_size(self, shape: Shape4) -> int:
        """Return the bytes of a chunk, which are always as many."""
        return self.decoded_size(shape)


Encoding = RawEncoding
