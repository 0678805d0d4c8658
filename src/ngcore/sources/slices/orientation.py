"""How slices lie in a volume: the anatomical direction of increasing column, row and slice.

A code such as `RIA` says that columns increase to the Right, rows to Inferior, slices to Anterior.
Volumes are always in RAS order: x increases to the Right, y to Anterior, z to Superior. There are
48 codes: six orders of the axes times eight choices of direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ngcore.arrays.affines import ORIENTATION_AXES, parse_orientation

if TYPE_CHECKING:
    import numpy as np

    from ngcore.precomputed.chunks import Vec3
    from ngcore.sources.base import MemoryOrder

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SliceOrientation:
    """Where the three axes of a stack of slices go in a volume of RAS axis order.

    Attributes
    ----------
    code : str
        Three letters, in the order column, row, slice; lower case becomes upper.

    Raises
    ------
    InputError
        If it is not one of the 48.

    Examples
    --------
    >>> SliceOrientation("RIA").axes
    (0, 2, 1)
    >>> SliceOrientation("RIA").inverted
    (False, True, False)
    """

    code: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", parse_orientation(self.code))

    @property
    def axes(self) -> Vec3:
        """Volume axis (0 for x) along which columns, rows and slices increase."""
        column, row, plane = (ORIENTATION_AXES[letter][0] for letter in self.code)
        return column, row, plane

    @property
    def inverted(self) -> tuple[bool, bool, bool]:
        """Whether increasing column, row and slice go against the axis of the volume."""
        column, row, plane = (ORIENTATION_AXES[letter][1] < 0 for letter in self.code)
        return column, row, plane

    @property
    def stream_axis(self) -> int:
        """Volume axis along which slices follow each other."""
        return self.axes[2]

    @property
    def memory_order(self) -> MemoryOrder:
        """Order in which the pixels of one row lie next to each other in a plane of the volume."""
        return "F" if self.axes[0] < self.axes[1] else "C"

    def in_volume_order(self, of_columns: T, of_rows: T, of_slices: T) -> tuple[T, T, T]:
        """Return what belongs to columns, rows and slices in the order (x, y, z)."""
        by_axis = dict(zip(self.axes, (of_columns, of_rows, of_slices), strict=True))
        return by_axis[0], by_axis[1], by_axis[2]

    def plane_of_volume(self, volume: np.ndarray[Any, Any], position: int) -> np.ndarray[Any, Any]:
        """Return a view of one plane as its slice has it.

        Parameters
        ----------
        volume : ndarray, shape (x, y, z, channel)
        position : int
            Index along the stream axis.

        Returns
        -------
        ndarray, shape (row, column, channel)
            Rows and columns increase as they do in the slice's file.
        """
        column_axis, row_axis, plane_axis = self.axes
        plane: np.ndarray[Any, Any] = volume.transpose(plane_axis, row_axis, column_axis, 3)[
            position
        ]
        flip_columns, flip_rows, _ = self.inverted
        if flip_rows:
            plane = plane[::-1]
        return plane[:, ::-1] if flip_columns else plane
