"""What every reader gives: the voxels of one input, as they are stored, and where they lie.

A `Source` hands out *stored* values (before slope and intercept) in boxes of axis order
(x, y, z, channel). It says along which axis it is cheapest to walk (`stream_axis`), in which
memory order it fills a buffer fastest, and whether it can only be read front to back.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ngcore.errors import FormatError, InputError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    import numpy as np

VolumeType = Literal["image", "segmentation"]
MemoryOrder = Literal["F", "C"]
Shape4 = tuple[int, int, int, int]
Vec3 = tuple[int, int, int]
Window = tuple[slice, slice]
"""Ranges on the two spatial axes other than the stream axis, in ascending axis order."""

STORED_KINDS = "iuf"
"""Kinds of NumPy type a source may hand out: signed, unsigned, floating point."""


class SuggestedType(NamedTuple):
    """What a source seems to hold, and the one-line reason (`--type auto`)."""

    type: VolumeType
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class SourceHeader:
    """What is known of a source before a voxel is read; checked where it is made.

    Attributes
    ----------
    name : str
        The input as the user gave it, for messages.
    shape : tuple of int, (x, y, z, channel)
        Every length at least 1.
    dtype : numpy.dtype
        Type of the stored values, in native byte order.
    slope, intercept : float
        The value meant by a stored value v is `slope * v + intercept`; 1 and 0 if there is none.
    affine_voxel_to_mm : ndarray of float64, shape (4, 4), or None
        From indices of voxel centres to world millimetres; None where the input has no affine.
    resolution_nm : tuple of float, (x, y, z), or None
        Voxel size in nanometres; None where neither input nor caller gave one.
    voxel_offset : tuple of int, (x, y, z)
        Global index of the first voxel.
    suggested_type : SuggestedType
        Image or segmentation, with the reason.
    notes : tuple of str
        Warnings found in the header, one line each.
    files : tuple of Path
        Files by which a resumed conversion knows the input: all that it is read from, but of a
        precomputed volume only those beside its chunks. Empty for arrays and URLs.
    """

    name: str
    shape: Shape4
    dtype: np.dtype[Any]
    suggested_type: SuggestedType
    slope: float = 1.0
    intercept: float = 0.0
    affine_voxel_to_mm: np.ndarray[Any, np.dtype[np.float64]] | None = None
    resolution_nm: tuple[float, float, float] | None = None
    voxel_offset: Vec3 = (0, 0, 0)
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        if len(self.shape) != 4:
            raise InputError(f"{self.name}: shape must be (x, y, z, channel), got {self.shape}")
        if min(self.shape) < 1:
            raise InputError(
                f"{self.name}: a volume needs at least one voxel along every axis, "
                f"got shape {self.shape}; check how the file was made"
            )
        if self.dtype.kind not in STORED_KINDS or not self.dtype.isnative:
            raise InputError(
                f"{self.name}: voxels of type {self.dtype} can't be read; "
                "save them as integers, float32 or float64 first"
            )
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)) or self.slope == 0:
            raise FormatError(
                f"{self.name}: slope {self.slope} and intercept {self.intercept} make no values; "
                f"pass --ignore-scaling to use the stored ones"
            )
        if self.resolution_nm is not None and not all(
            math.isfinite(size) and size > 0 for size in self.resolution_nm
        ):
            raise InputError(
                f"{self.name}: voxel sizes must be positive and finite, got "
                f"{self.resolution_nm} nm; pass --resolution X,Y,Z in nanometres"
            )

    @property
    def voxel_count(self) -> int:
        """Number of stored values, channels included."""
        return math.prod(self.shape)

    @property
    def byte_count(self) -> int:
        """Number of bytes of all stored values."""
        return self.voxel_count * self.dtype.itemsize


class Source(ABC):
    """Voxels of one input, in stored values.

    Attributes
    ----------
    header : SourceHeader
        What is known before a voxel is read.
    stream_axis : int, 0 to 2
        The slowest axis of the input: reading is cheapest in slabs along it.
    memory_order : "F" or "C"
        The order of `out` that `read` fills fastest.
    is_sequential : bool
        Can only be read front to back, each plane once.
    is_random_access : bool
        `read` may be called for any planes and windows, from several threads at once.
    gives_boxes : bool
        A window costs no more than its share of the planes, from several threads at once.
    reads_whole_planes : bool
        A window costs as much as its planes do (they are compressed): read bands from a spool.
    can_be_shared : bool
        It can be pickled, and the copy, in another process or on another machine, reads the same
        files.
    needs_spool : bool
        `read` can't be called: the input's order does not allow slabs. Call `spooled` first.
    """

    header: SourceHeader
    stream_axis: int = 2
    memory_order: MemoryOrder = "F"
    is_sequential: bool = False
    is_random_access: bool = False
    gives_boxes: bool = False
    reads_whole_planes: bool = False
    needs_spool: bool = False
    can_be_shared: bool = False

    @property
    def name(self) -> str:
        """The input as the user gave it."""
        return self.header.name

    @property
    def shape(self) -> Shape4:
        """Lengths along (x, y, z, channel)."""
        return self.header.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values, native byte order."""
        return self.header.dtype

    @property
    def slope(self) -> float:
        """Factor from stored to meant values."""
        return self.header.slope

    @property
    def intercept(self) -> float:
        """Summand from stored to meant values."""
        return self.header.intercept

    @property
    def affine_voxel_to_mm(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """From indices of voxel centres to world millimetres, 4x4, or None."""
        return self.header.affine_voxel_to_mm

    @property
    def resolution_nm(self) -> tuple[float, float, float] | None:
        """Voxel size in nanometres, or None."""
        return self.header.resolution_nm

    @property
    def voxel_offset(self) -> Vec3:
        """Global index of the first voxel."""
        return self.header.voxel_offset

    @property
    def suggested_type(self) -> SuggestedType:
        """Image or segmentation, with the reason."""
        return self.header.suggested_type

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings found in the header."""
        return self.header.notes

    @property
    def files(self) -> tuple[Path, ...]:
        """Files by which the input is known; see `SourceHeader`."""
        return self.header.files

    @property
    def bytes_read(self) -> int:
        """Bytes of the input consumed so far by a sequential source; else 0."""
        return 0

    @property
    def row_planes(self) -> int:
        """How many planes are best read at once, from a multiple of it on: the depth of chunks."""
        return 1

    @property
    def scratch_bytes(self) -> int:
        """Bytes that `read` holds beside `out`, where that is more than a few MiB."""
        return 0

    @property
    def column_bytes(self) -> int:
        """Bytes that `read` holds for each column, along the stream axis, of the window."""
        return 0

    @property
    def spool_bytes(self) -> int:
        """Bytes that `spooled` holds, where that is more than a few MiB."""
        return 0

    def use_threads(self, count: int) -> None:  # noqa: B027 - most sources have no threads
        """Decode no more than so many pieces at a time; call it before the first read."""

    @abstractmethod
    def read(
        self,
        start: int,
        stop: int,
        out: np.ndarray[Any, Any],
        *,
        window: Window | None = None,
    ) -> None:
        """Fill `out` with the stored values of planes [start, stop) along the stream axis.

        Parameters
        ----------
        start, stop : int
            Planes along `stream_axis`. A sequential source goes forward without gaps.
        out : ndarray of `dtype`, shape (x, y, z, channel)
            Any strides; its length is `stop - start` along the stream axis, and that of the
            window along the two others. All channels are read.
        window : tuple of slice, optional
            Ranges with step 1 on the two other spatial axes, in ascending axis order; default
            all. A sequential source takes none.

        Raises
        ------
        FormatError
            If the input is truncated or corrupt; names the file, and the byte where known.
        StorageError
            If reading fails while running.
        """

    @abstractmethod
    def spooled(self, path: Path) -> Source:
        """Unpack the whole input once into a raw file at `path`; return a source that reads it.

        The returned source is random access, and has the same stream axis. This source is finished
        and closed; the caller removes the file after closing the returned one.
        """

    def finish(self) -> None:  # noqa: B027 - most sources have nothing after their voxels
        """Check what lies after the voxels (a gzip trailer); call it when all planes were read."""

    def close(self) -> None:  # noqa: B027 - a source in memory holds nothing open
        """Let go of files. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def check_read(
        self, start: int, stop: int, out: np.ndarray[Any, Any], window: Window | None
    ) -> tuple[slice, slice, slice]:
        """Check the arguments of `read`; return them as slices along (x, y, z).

        Raises
        ------
        ValueError
            If planes, window and the shape or type of `out` don't fit each other and the source.
        """
        others = [axis for axis in range(3) if axis != self.stream_axis]
        box = [slice(0, length) for length in self.shape[:3]]
        box[self.stream_axis] = slice(start, stop)
        if window is not None:
            for axis, part in zip(others, window, strict=True):
                box[axis] = part
        for axis, part in enumerate(box):
            if not 0 <= part.start < part.stop <= self.shape[axis] or part.step not in (None, 1):
                raise ValueError(f"{self.name}: range {part} on axis {axis} of {self.shape}")
        expected = (*(part.stop - part.start for part in box), self.shape[3])
        if out.shape != expected or out.dtype != self.dtype:
            raise ValueError(
                f"{self.name}: out must be {self.dtype} of shape {expected}, "
                f"got {out.dtype} of shape {out.shape}"
            )
        return box[0], box[1], box[2]
