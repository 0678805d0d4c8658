"""What an index selects of a volume: along each axis, and of each chunk."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import VolumeIndexError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.precomputed.encodings import Shape4


Pieces = dict[int, tuple[slice, slice, int]]
"""What is selected along an axis, chunk by chunk; see `Selection.pieces`."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The voxels selected along one axis, ascending: start, start + step, ..., `count` many."""

    start: int
    step: int
    count: int

    @classmethod
    def of(cls, indices: range) -> Selection:
        """Return what a range selects, whichever way it runs."""
        first = indices if indices.step > 0 else indices[::-1]
        return cls(first.start, first.step, len(first))

    def as_slice(self) -> slice:
        """Return it as a slice of the axis."""
        return slice(self.start, self.start + self.count * self.step, self.step)

    def cells(self, side: int) -> Iterator[int]:
        """Yield the position of each chunk that holds a selected voxel."""
        if self.step < side:
            yield from range(self.start // side, self._last // side + 1)
        else:
            for voxel in range(self.start, self._last + 1, self.step):
                yield voxel // side

    def span(self, side: int) -> tuple[int, int]:
        """Return the positions of the first and the last chunk that hold a selected voxel."""
        return self.start // side, self._last // side

    def pieces(self, side: int, size: int) -> Pieces:
        """Return what is selected of each chunk along the axis, by the chunk's position.

        Parameters
        ----------
        side : int
            Of a chunk.
        size : int
            Of the axis, in voxels.

        Returns
        -------
        dict of int to tuple
            Where the selected voxels are in the chunk, where in the result, and how many voxels
            the chunk has.
        """
        return {
            position: (
                *self.overlap(position * side, side),
                min(side, size - position * side),
            )
            for position in self.cells(side)
        }

    def overlap(self, origin: int, side: int) -> tuple[slice, slice]:
        """Return the selected voxels of the chunk at `origin`, in it and in the result."""
        first = max(0, -((self.start - origin) // self.step))
        last = min(self.count, -((self.start - origin - side) // self.step))
        in_chunk = self.start + first * self.step - origin
        end = in_chunk + (last - first) * self.step
        return slice(in_chunk, end, self.step), slice(first, last)

    @property
    def _last(self) -> int:
        return self.start + (self.count - 1) * self.step


def parse_index(index: Any, shape: Shape4) -> tuple[list[range], list[bool]]:
    """Return the voxels that an index selects along each axis, and which axes it drops."""
    items = list(index) if isinstance(index, tuple) else [index]
    ellipses = [number for number, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise VolumeIndexError("an index can have only one ellipsis ('...')")
    given = len(items) - len(ellipses)
    if given > len(shape):
        raise VolumeIndexError(f"too many indices: the axes are x, y, z and channel, got {given}")
    at = ellipses[0] if ellipses else len(items)
    items[at : at + 1] = [slice(None)] * (len(shape) - given)
    ranges, drops = [], []
    for axis, (item, size) in enumerate(zip(items, shape, strict=True)):
        if isinstance(item, slice):
            try:
                ranges.append(range(size)[item])
            except (TypeError, ValueError) as error:
                raise VolumeIndexError(f"{item} can't select voxels: {error}") from error
            drops.append(False)
        else:
            voxel = _integer(item)
            if not -size <= voxel < size:
                raise VolumeIndexError(
                    f"index {voxel} is out of bounds for axis {axis} with size {size}"
                )
            ranges.append(range(voxel % size, voxel % size + 1))
            drops.append(True)
    return ranges, drops


def _integer(item: Any) -> int:
    if not isinstance(item, bool | np.bool_) and np.ndim(item) == 0:
        try:
            return operator.index(item)
        except TypeError:
            pass
    raise VolumeIndexError(
        f"a volume takes integers, slices and '...' as indices, got {type(item).__name__}; "
        "read an array first to index it with arrays or booleans"
    )
