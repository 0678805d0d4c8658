"""What is known of a scale without reading it, whether it is read or written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.encodings import Shape4
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo


class ScaleFacts:
    """Shape, type and place of one scale of a volume; see `ScaleArray` and `WritableScale`."""

    ndim = 4
    """Number of axes: x, y, z and channel."""

    def __init__(self, info: VolumeInfo, index: int) -> None:
        self._volume = info
        self._index = index
        self.info: ScaleInfo = info.scales[index]
        self.dtype: np.dtype[Any] = info.dtype
        self.shape: Shape4 = (*self.info.size, info.num_channels)

    @property
    def index(self) -> int:
        """Its place among the volume's scales."""
        return self._index

    @property
    def key(self) -> str:
        """Folder of the scale, such as ``8_8_40``."""
        return self.info.key

    @property
    def resolution(self) -> tuple[float, float, float]:
        """Nanometres per voxel along x, y, z."""
        return self.info.resolution

    @property
    def voxel_offset(self) -> Vec3:
        """Global coordinate of the first voxel along x, y, z, in voxels."""
        return self.info.voxel_offset

    @property
    def chunk_size(self) -> Vec3:
        """Voxels of a chunk along x, y, z; those at the upper edges may be smaller."""
        return self.info.chunk_size

    @property
    def summary(self) -> str:
        """What the scale is, on one line."""
        size, chunks, nm = (
            " x ".join(f"{n:g}" if isinstance(n, float) else str(n) for n in numbers)
            for numbers in (self.shape, self.chunk_size, self.resolution)
        )
        sharded = ", sharded" if self.info.sharding is not None else ""
        offset = f", offset {self.voxel_offset}" if any(self.voxel_offset) else ""
        return (
            f"{self.key!r}: {size} at {nm} nm{offset}, {self.info.encoding} chunks of "
            f"{chunks}{sharded}"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.dtype} {self.summary}>"

    def __len__(self) -> int:
        return self.shape[0]
