"""The finest scale of a volume that is being written: what assignments to it may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import DestinationError, InputError
from ngcore.precomputed.chunks import Box
from ngcore.volume.index import parse_index
from ngcore.volume.scale_facts import ScaleFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ngcore.conversion.voxel_file import VoxelFile
    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.volume.scale import ScaleArray


class WritableScale(ScaleFacts):
    """The finest scale of a volume that is being written: assign boxes of voxels to it.

    Boxes of whole chunks are written fastest. Safe to use from several threads and processes at
    once, as long as no voxel is assigned by two.
    Attributes are those of `ScaleArray`.
    """

    def __init__(
        self, file: VoxelFile, info: VolumeInfo, complete: ScaleArray | None = None
    ) -> None:
        super().__init__(info, 0)
        self._file = file
        self._complete = complete

    def __setitem__(self, index: Any, block: ArrayLike) -> None:
        """Write the box that a NumPy index of integers, slices and an ellipsis selects.

        Raises
        ------
        VolumeIndexError
            The index lies outside of the volume, has steps, or not all channels.
        InputError
            The block has another shape, or values that the data type doesn't hold.
        StorageError
            The disk is full or fails, or the volume is finished.
        DestinationError
            The volume was complete before, and holds other voxels there.
        """
        box, lengths, shape = self._box(index)
        voxels = self._fitting(np.asarray(block), lengths, shape)
        if 0 in lengths:
            return
        if self._complete is not None:
            if not np.array_equal(self._complete.read(_moved(box, self.voxel_offset)), voxels):
                raise DestinationError(
                    "the volume is complete, and holds other voxels there; pass overwrite=True"
                )
            return
        self._file.write(box, voxels)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read what was written; zeros where nothing was."""
        box, lengths, shape = self._box(index)
        voxels = np.zeros(lengths, self.dtype, order="F")
        if self._complete is not None and voxels.size:
            self._complete.read(_moved(box, self.voxel_offset), voxels)
        elif voxels.size:
            self._file.read(box, voxels)
        return voxels.reshape(shape, order="F")

    def _box(self, index: Any) -> tuple[Box, tuple[int, ...], tuple[int, ...]]:
        """Return what an index selects, its lengths along all axes, and without dropped ones."""
        ranges, drops = parse_index(index, self.shape)
        if any(part.step != 1 and len(part) > 1 for part in ranges):
            raise InputError("boxes have no steps: assign every voxel from start to stop")
        lengths = tuple(map(len, ranges))
        if lengths[3] != self.shape[3]:
            raise InputError(f"assign all {self.shape[3]} channels of a box together")
        shape = tuple(n for n, drop in zip(lengths, drops, strict=True) if not drop)
        x, y, z = (part.start for part in ranges[:3])
        return _box_at((x, y, z), lengths), lengths, shape

    def _fitting(
        self, block: NDArray[Any], lengths: tuple[int, ...], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Return a block of the scale's data type, shape (x, y, z, channel)."""
        if block.ndim == 0:
            block = np.broadcast_to(block, shape)
        without_channel = shape[:-1] if lengths[3] == 1 and len(shape) > 1 else shape
        if block.shape not in (shape, without_channel):
            raise InputError(f"the box has shape {shape}, but the block has {block.shape}")
        if block.dtype.kind not in "biuf":
            raise InputError(f"voxels must be numbers, got {block.dtype}")
        with np.errstate(all="ignore"):
            voxels = block.astype(self.dtype, copy=False)
            if not np.can_cast(block.dtype, self.dtype, "safe"):
                self._check_values(block, voxels)
        return voxels.reshape(lengths)

    def _check_values(self, block: NDArray[Any], voxels: NDArray[Any]) -> None:
        if self.dtype.kind == "f" and block.dtype.kind == "f":
            is_held = np.isfinite(voxels) | ~np.isfinite(block)  # rounded, but not to infinity
        elif block.dtype.kind == "f":
            limits = np.iinfo(self.dtype)
            is_held = (voxels == block) & (block >= limits.min) & (block < float(limits.max) + 1)
        else:
            is_held = (voxels == block) & ((voxels < 0) == (block < 0))
            if self.dtype.kind == "f":
                is_held &= voxels.astype(np.float64) == block
        count = int(np.count_nonzero(~is_held))
        if count:
            raise InputError(f"{count} of the voxels are values that {self.dtype} does not hold")


def _moved(box: Box, offset: Vec3) -> Box:
    x, y, z = (at + o for at, o in zip(box.start, offset, strict=True))
    return _box_at((x, y, z), box.shape)


def _box_at(start: Vec3, lengths: Sequence[int]) -> Box:
    x, y, z = (at + n for at, n in zip(start, lengths, strict=False))
    return Box(start, (x, y, z))
