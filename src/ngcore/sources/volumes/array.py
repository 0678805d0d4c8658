"""Arrays as sources: in memory, mapped by the user, or anything with shape, dtype and slicing.

An array in memory is taken as it is; others (h5py, zarr, dask, ...) are read in slabs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ngcore.errors import InputError
from ngcore.sources.base import Cost, Source, SourceHeader, SuggestedType
from ngcore.sources.geometry import AskedGeometry, place, shape_with_channels
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.raw import (
    AxisOrder,
    ReadableSource,
    cheapest_memory_order,
    slowest_spatial_axis,
)

if TYPE_CHECKING:
    from ngcore.sources.base import Box3

SLAB_BYTES = 1 << 24
"""Bytes asked of an array at a time where it doesn't say how it is chunked."""


@runtime_checkable
class ArrayLike(Protocol):
    """What an array must have to be a source."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of its axes."""

    @property
    def dtype(self) -> Any:
        """Type of its values, as NumPy knows it."""

    def __getitem__(self, index: Any) -> Any:
        """Return the voxels of a tuple of slices."""


def color_count(dtype: np.dtype[Any]) -> int:
    """Return 3 or 4 for structured types of as many bytes (RGB, RGBA), else 1."""
    if dtype.fields is None or dtype.itemsize not in (3, 4):
        return 1
    is_colors = all(field[0] == np.uint8 for field in dtype.fields.values())
    return dtype.itemsize if is_colors and len(dtype.fields) == dtype.itemsize else 1


def stored_type(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Return the type that voxels of an array are read as, its byte order kept.

    Raises
    ------
    InputError
        If they are no numbers, or numbers that can't be converted.
    """
    if color_count(dtype) > 1 or dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        what = "objects" if dtype.hasobject else f"of type {dtype}"
        raise InputError(
            f"{name}: values are {what}, which can't be converted; "
            f"save them as integers, float32 or float64 first"
        )
    return dtype


def open_array(array: ArrayLike, asked: AskedGeometry) -> Source:
    """Open an array of shape (x, y), (x, y, z) or (x, y, z, channel).

    Raises
    ------
    InputError
        If its shape or type can't be converted.
    """
    name = f"the {type(array).__name__}"
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(f"{name}: masked voxels have no value; pass array.filled(0)")
    dtype = np.dtype(getattr(array.dtype, "numpy_dtype", array.dtype))  # tensorstore has its own
    colors = color_count(dtype)
    stored = stored_type(dtype, name).newbyteorder("=")
    shape = shape_with_channels(array.shape, name, colors)
    placement = place(None, asked, name)
    hint = suggest_type("", shape[3])
    if hint.type == "image" and shape[3] == 1:
        hint = SuggestedType("image", "an array doesn't say that it holds labels")
    header = SourceHeader(
        name=name,
        shape=shape,
        dtype=stored,
        affine_voxel_to_mm=placement.affine_voxel_to_mm,
        resolution_nm=placement.resolution_nm,
        voxel_offset=placement.voxel_offset,
        suggested_type=hint,
    )
    if isinstance(array, np.ndarray):
        return MemorySource(header, _four_axes(array, colors))
    if colors > 1:
        raise InputError(f"{name}: structured voxels are taken from NumPy arrays alone")
    return SlicedSource(header, array)


def _four_axes(array: np.ndarray[Any, Any], colors: int) -> np.ndarray[Any, Any]:
    """View an array as (x, y, z, channel), plain numbers."""
    if colors > 1:
        array = array.view(np.dtype((np.uint8, (colors,))))
        while array.ndim < 4:
            array = array[..., np.newaxis, :]
        return array[(slice(None),) * 3 + (0,) * (array.ndim - 4)]
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    while array.ndim < 4:
        array = array[..., np.newaxis]
    return array[(slice(None),) * 4 + (0,) * (array.ndim - 4)]


class MemorySource(ReadableSource):
    """A NumPy array, or a memory map: shape (x, y, z, channel), any strides and byte order."""

    cost = Cost("boxes", is_concurrent=True)

    def __init__(self, header: SourceHeader, array: np.ndarray[Any, Any]) -> None:
        self.header = header
        self._array = array
        fast_to_slow = sorted(range(4), key=lambda axis: abs(array.strides[axis]))
        order: AxisOrder = (fast_to_slow[0], fast_to_slow[1], fast_to_slow[2], fast_to_slow[3])
        self.stream_axis = slowest_spatial_axis(header.shape, order)
        self.memory_order = cheapest_memory_order(order)

    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        np.copyto(out, self._array[box])


class SlicedSource(ReadableSource):
    """Anything that gives a NumPy array for a tuple of slices; used from one thread at a time."""

    def __init__(self, header: SourceHeader, array: ArrayLike) -> None:
        self.header = header
        self._array = array
        order: AxisOrder = (0, 1, 2, 3) if getattr(array, "order", "C") == "F" else (3, 2, 1, 0)
        self.stream_axis = slowest_spatial_axis(header.shape, order)
        self.memory_order = cheapest_memory_order(order)
        self._step = self._chunk_planes()
        # What one row of the array's chunks holds of a column.
        column_bytes = self._step * self.shape[3] * self.dtype.itemsize
        self.cost = Cost("planes", column_bytes=column_bytes)

    @property
    def _plane_bytes(self) -> int:
        return self.header.byte_count // self.shape[self.stream_axis]

    def _chunk_planes(self) -> int:
        """Return how many planes are asked for at a time: a row of chunks, where it has chunks."""
        chunks = getattr(self._array, "chunks", None)
        if isinstance(chunks, tuple) and len(chunks) > self.stream_axis:
            along = chunks[self.stream_axis]
            return max(along) if isinstance(along, tuple) else int(along)
        return max(1, min(self.shape[self.stream_axis], SLAB_BYTES // self._plane_bytes))

    def _read(self, spatial: Box3, out: np.ndarray[Any, Any]) -> None:
        box = list(spatial)
        start, stop = box[self.stream_axis].start, box[self.stream_axis].stop
        axis = self.stream_axis
        planes = np.moveaxis(out, axis, 0)
        first = start
        while first < stop:
            last = min(stop, (first // self._step + 1) * self._step)
            box[axis] = slice(first, last)
            values = np.asarray(self._array[self._index(box)])
            part = planes[first - start : last - start]
            expected = np.moveaxis(part, 0, axis)
            if values.size != expected.size:
                raise InputError(
                    f"{self.name}: slicing gave shape {values.shape}, expected {expected.shape}; "
                    f"pass an array that is sliced as NumPy's are"
                )
            values = values.reshape(expected.shape)  # adds or drops axes of length 1
            np.copyto(expected, values, casting="unsafe")  # of one type, bool as bytes
            first = last

    def _index(self, box: list[slice]) -> tuple[slice, ...]:
        """Return the box in the array's own number of axes, all kept."""
        rank = len(self._array.shape)
        whole = [slice(0, length) for length in self._array.shape]
        return (*box[: min(rank, 3)], *whole[3:])
