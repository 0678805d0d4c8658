"""What every reader gives: the voxels of one input, as they are stored, and where they lie.

A `Source` hands out *stored* values (before slope and intercept) in boxes of axis order
(x, y, z, channel). It says along which axis it is cheapest to walk (`stream_axis`), in which
memory order it fills a buffer fastest, and what reading takes (`cost`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ngcore.errors import FormatError, InputError, naming
from ngcore.precomputed.chunks import Box, Vec3

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self


VolumeType = Literal["image", "segmentation"]
MemoryOrder = Literal["F", "C"]
Shape4 = tuple[int, int, int, int]
Box3 = tuple[slice, slice, slice]
"""Ranges along (x, y, z), with step 1."""

STORED_KINDS = "iuf"
"""Kinds of NumPy type a source may hand out: signed, unsigned, floating point."""


def color_count(dtype: np.dtype[Any]) -> int:
    """Return 3 or 4 for structured types of as many bytes (RGB, RGBA), else 1."""
    if dtype.fields is None or dtype.itemsize not in (3, 4):
        return 1
    is_colors = all(field[0] == np.uint8 for field in dtype.fields.values())
    return dtype.itemsize if is_colors and len(dtype.fields) == dtype.itemsize else 1


def stored_type(dtype: np.dtype[Any], name: str = "") -> np.dtype[Any]:
    """Return the type that voxels of an array are read as, its byte order kept.

    Raises
    ------
    InputError
        If they are not numbers, or numbers that can't be converted.
    """
    if color_count(dtype) > 1 or dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        what = "objects" if dtype.hasobject else f"of type {dtype}"
        raise InputError(
            f"{name + ': ' if name else ''}values are {what}, which can't be converted; "
            f"save them as integers, float32 or float64 first"
        )
    return dtype


class SuggestedType(NamedTuple):
    """What a source seems to hold, and the one-line reason (`--type auto`)."""

    type: VolumeType
    reason: str


class Segment(NamedTuple):
    """A label that a source names.

    Attributes
    ----------
    id : int
    name : str
    color : str or None
        As `#rrggbb`.
    """

    id: int
    name: str
    color: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SourceHeader:
    """What is known of a source before a voxel is read; checked where it is made.

    Attributes
    ----------
    name : str
        The input as the user gave it, for messages; `open_source` puts it in.
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
        Warnings found in the header, one line each; `open_source` puts the name before them.
    facts : mapping of str to JSON value
        What `provenance` keeps of the source, so that `export` and `preview` have it: "time_step"
        (seconds between channels that are times), "left_is_unknown", "sform_code", "qform_code".
    segments : tuple of Segment
        Names and colours of labels that the source itself holds.
    files : tuple of Path
        Files by which a resumed conversion knows the input: all that it is read from, but of a
        precomputed volume only those beside its chunks. Empty for arrays and URLs.
    voxel_count, byte_count : int
        Of all stored values, channels included.
    bounds : Box
        Every voxel, in global coordinates.
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
    facts: Mapping[str, Any] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    voxel_count: int = field(init=False)
    byte_count: int = field(init=False)
    bounds: Box = field(init=False)

    def __post_init__(self) -> None:
        if len(self.shape) != 4:
            raise InputError(f"shape must be (x, y, z, channel), got {self.shape}")
        if min(self.shape) < 1:
            raise InputError(
                f"a volume needs at least one voxel along every axis, "
                f"got shape {self.shape}; check how the file was made"
            )
        if self.dtype.kind not in STORED_KINDS or not self.dtype.isnative:
            raise InputError(
                f"voxels of type {self.dtype} can't be read; "
                "save them as integers, float32 or float64 first"
            )
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)) or self.slope == 0:
            raise FormatError(
                f"slope {self.slope} and intercept {self.intercept} give no usable values; pass "
                "--ignore-scaling to use the stored ones"
            )
        if self.resolution_nm is not None and not all(
            math.isfinite(size) and size > 0 for size in self.resolution_nm
        ):
            raise InputError(
                f"voxel sizes must be positive and finite, got "
                f"{self.resolution_nm} nm; pass --resolution X,Y,Z in nanometres"
            )
        count = math.prod(self.shape)
        object.__setattr__(self, "voxel_count", count)
        object.__setattr__(self, "byte_count", count * self.dtype.itemsize)
        (x, y, z), (w, h, d, _) = self.voxel_offset, self.shape
        object.__setattr__(self, "bounds", Box(self.voxel_offset, (x + w, y + h, z + d)))


Access = Literal["boxes", "planes", "whole planes", "forward", "unpack"]
"""What may be asked of a source, from the freest to the least free; see `Cost`."""


class Cost(NamedTuple):
    """What it takes to read a source: all that a conversion needs to plan by.

    Attributes
    ----------
    access : str
        - "boxes": any box costs its share, from any number of threads.
        - "planes": any planes and windows; a window costs little more than its share.
        - "whole planes": the same, but a window costs as much as its planes do (they are
          compressed): read parts of planes from a spool.
        - "forward": front to back, each plane once, without windows.
        - "unpack": `read` can't be called, as the order of the input does not allow planes; call
          `spooled` first.
    is_concurrent : bool
        Several threads may call `read` at once.
    is_shareable : bool
        It can be pickled, and the copy, in another process or on another machine, reads the same
        files.
    is_file : bool
        It is one file, which is unpacked for processes that can't open it.
    row_planes : int
        How many planes are best read at once, from a multiple of it on: the depth of chunks.
    scratch_bytes : int
        Bytes that reading holds beside `out`, where that is more than a few MiB.
    bytes_per_thread : int
        The same, for each thread that the source may use.
    column_bytes : int
        Bytes that reading holds for each column, along the stream axis, of the window.
    """

    access: Access
    is_concurrent: bool = False
    is_shareable: bool = False
    is_file: bool = False
    row_planes: int = 1
    scratch_bytes: int = 0
    bytes_per_thread: int = 0
    column_bytes: int = 0

    @property
    def can_be_cut(self) -> bool:
        """Whether windows are read from the source itself, not from a file it is unpacked to."""
        return self.access in ("boxes", "planes")

    @property
    def is_sequential(self) -> bool:
        """Whether it can only be read front to back, each plane once."""
        return self.access in ("forward", "unpack")


class Sparsity(NamedTuple):
    """How much of a source is there.

    Attributes
    ----------
    present : int
        Chunks that are there.
    total : int
        Chunks that it would have if all were.
    fills_zeros : bool
        Whether the others are zeros.
    """

    present: int
    total: int
    fills_zeros: bool = True


class Source(ABC):
    """Voxels of one input, in stored values.

    Attributes
    ----------
    header : SourceHeader
        What is known before a voxel is read.
    cost : Cost
        What reading takes.
    stream_axis : int, 0 to 2
        The slowest axis of the input: reading is cheapest in slabs along it.
    memory_order : "F" or "C"
        The order of `out` that `read` fills fastest.
    workers : int
        How many pieces a source that has threads of its own decodes at a time.
    """

    header: SourceHeader
    cost: Cost
    stream_axis: int = 2
    memory_order: MemoryOrder = "F"
    workers: int = 1

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
    def scratch_bytes(self) -> int:
        """Bytes that reading holds beside `out`, with the threads that it uses now."""
        return self.cost.scratch_bytes + self.workers * self.cost.bytes_per_thread

    @property
    def spool_bytes(self) -> int:
        """Bytes that `spooled` holds, where that is more than a few MiB."""
        if self.cost.is_sequential:
            return 0
        columns = math.prod(self.shape[:3]) // self.shape[self.stream_axis]
        plane_bytes = columns * self.shape[3] * self.dtype.itemsize
        return plane_bytes + self.scratch_bytes + columns * self.cost.column_bytes

    def sparsity(self) -> Sparsity | None:
        """Return how few chunks are there; None where most are, or it can't be listed."""
        return None

    def is_empty(self, box: Box) -> bool:  # noqa: ARG002 (most sources have no parts that lack)
        """Whether a box, in global coordinates, is known to hold stored zeros alone, unread."""
        return False

    def use_threads(self, count: int) -> None:
        """Decode no more than so many pieces at a time; call it before the first read."""
        self.workers = count

    def read(self, box: Box, out: np.ndarray[Any, Any]) -> None:
        """Fill `out` with the stored values of a box.

        Parameters
        ----------
        box : Box
            In global coordinates, within `header.bounds`. A sequential source takes whole planes
            along its stream axis, and goes forward without gaps.
        out : ndarray of `dtype`, shape (x, y, z, channel)
            Of the shape of the box, any strides. All channels are read.

        Raises
        ------
        ValueError
            If box and shape or type of `out` don't fit each other and the source.
        FormatError
            If the input is truncated or corrupt; names the file, and the byte where known.
        StorageError
            If reading fails while running.
        """
        with naming(self.name):
            region = box.slices(self.header.voxel_offset)
            for axis, part in enumerate(region):
                if not part.start < part.stop <= self.shape[axis]:
                    raise ValueError(f"{self.name}: range {part} on axis {axis} of {self.shape}")
            expected = (*box.shape, self.shape[3])
            if out.shape != expected or out.dtype != self.dtype:
                raise ValueError(
                    f"{self.name}: out must be {self.dtype} of shape {expected}, "
                    f"got {out.dtype} of shape {out.shape}"
                )
            self._read(region, out)

    @abstractmethod
    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        """Fill `out` with a box, slices along (x, y, z) that were checked; errors need no name."""

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
