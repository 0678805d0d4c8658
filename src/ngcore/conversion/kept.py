"""A scale that is kept, uncompressed, in a temporary file: where the next pass starts from."""

import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ngcore.conversion.window import Voxels, plane_order
from ngcore.errors import StorageError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.info import ScaleInfo
from ngcore.sources.base import SourceHeader, SuggestedType
from ngcore.sources.volumes.raw import RawSource


class KeptScale:
    """A file with all voxels of one scale, filled in parts and read back in planes.

    Parameters
    ----------
    path : Path
        File to make.
    scale : ScaleInfo
        The scale to keep.
    dtype, num_channels
        Of its voxels.
    stream_axis : int
        The axis along which planes follow each other in the file.
    memory_order : str
        "F" or "C", of a plane.

    Raises
    ------
    StorageError
        If the file can't be made or written.
    """

    def __init__(
        self,
        path: Path,
        scale: ScaleInfo,
        dtype: np.dtype[Any],
        num_channels: int,
        stream_axis: int,
        memory_order: str,
    ) -> None:
        self.path = path
        self._scale = scale
        self._dtype = dtype
        self._stream_axis = stream_axis
        self._order = plane_order(stream_axis, memory_order)
        self._shape = (*scale.size, num_channels)
        try:
            with path.open("xb") as file:
                _allocate(file, math.prod(self._shape) * dtype.itemsize)
        except OSError as error:
            raise StorageError(
                f"{path} can't be made: {error.strerror}; pass --tmp DIR"
            ) from error

    def keep(self, box: Box, voxels: Voxels) -> None:
        """Store a part of the scale; `box` is in its global coordinates."""
        # Mapped only while it is written: mapped pages count as resident memory.
        lengths = tuple(self._shape[axis] for axis in self._order)
        mapped = np.memmap(self.path, self._dtype, "r+", shape=lengths)
        whole = mapped.transpose(np.argsort(self._order))
        whole[box.slices(self._scale.voxel_offset)] = voxels

    def source(self) -> RawSource:
        """Open what was kept, for reading along the stream axis."""
        header = SourceHeader(
            name=str(self.path),
            shape=self._shape,
            dtype=self._dtype,
            suggested_type=SuggestedType("image", "it is a temporary file"),
            voxel_offset=self._scale.voxel_offset,
        )
        slowest, slower, faster, fastest = self._order
        order = (fastest, faster, slower, slowest)
        return RawSource(header, self.path, 0, order, self._dtype, self._stream_axis)


def _allocate(file: BinaryIO, size: int) -> None:
    """Give a file its size and its room: a write to mapped pages without room is fatal."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)
