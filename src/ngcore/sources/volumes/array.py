"""Arrays as sources: in memory, mapped by the user, or anything with shape, dtype and slicing.

An array in memory is taken as it is; others (h5py, zarr, dask, ...) are read in slabs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ngcore.errors import InputError, NgcoreError, StorageError
from ngcore.sources.axes import ArrayAxes, axes_of
from ngcore.sources.base import (
    Cost,
    Source,
    SourceHeader,
    SuggestedType,
    color_count,
    stored_type,
)
from ngcore.sources.chunked import ChunkedSource, is_masked, plain_values
from ngcore.sources.geometry import placed_header, shape_with_channels
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.raw import (
    AxisOrder,
    ReadableSource,
    cheapest_walk,
)

if TYPE_CHECKING:
    from ngcore.sources.base import Box3
    from ngcore.sources.registry import Asked

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


def open_array(
    array: ArrayLike, choices: Asked, affine: np.ndarray[Any, Any] | None = None
) -> Source:
    """Open an array of shape (x, y), (x, y, z) or (x, y, z, channel), or as its dimensions say.

    Values are those that slicing gives, whatever type the array promises.

    Raises
    ------
    InputError
        If its shape or type can't be converted.
    """
    if is_masked(array):
        raise InputError("masked voxels have no value; pass array.filled(0)")
    shape = tuple(int(length) for length in array.shape)
    origin = _origin(array, len(shape))
    is_memory = type(array) is np.ndarray or isinstance(array, np.memmap)
    if is_memory:
        dtype = np.dtype(array.dtype)
    else:
        if min(shape, default=0) < 1:
            raise InputError(f"a volume needs at least one voxel along every axis, got {shape}")
        dtype = _first_voxel(array, shape, origin).dtype
    colors = color_count(dtype)
    stored = stored_type(dtype).newbyteorder("=")
    axes = _axes(array, shape, choices.axes, colors)
    if getattr(array, "order", "C") == "F":
        axes = replace(axes, is_fortran=True)
    hint = suggest_type("", axes.shape[3])
    if hint.type == "image" and axes.shape[3] == 1:
        hint = SuggestedType("image", "an array doesn't say that it holds labels")
    asked = choices.geometry
    if asked.voxel_offset is None and origin is not None:
        asked = asked._replace(voxel_offset=axes.along(origin, 0))
    header = placed_header(
        affine,
        asked,
        shape=axes.shape,
        dtype=stored,
        suggested_type=hint,
        notes=_order_note(array, axes, choices.axes),
    )
    if is_memory:
        values = np.asarray(array)
        return MemorySource(header, axes.arrange(_as_numbers(values, colors)))
    library = type(array).__module__.partition(".")[0]
    return ChunkedSource(
        header,
        axes,
        _Slices(array),
        chunks=_chunks(array, shape),
        # Others have threads of their own, or a lock, or nothing is known of them.
        workers=choices.workers if library == "zarr" else 1,
        origin=origin,
    )


def _first_voxel(
    array: ArrayLike, shape: tuple[int, ...], origin: tuple[int, ...] | None
) -> np.ndarray[Any, Any]:
    starts = origin or (0,) * len(shape)
    return plain_values(_Slices(array)(tuple(slice(start, start + 1) for start in starts)))


class _Slices:
    """Slices an array; errors of its library are ours."""

    def __init__(self, array: ArrayLike) -> None:
        self._array = array

    def __call__(self, index: tuple[slice, ...]) -> Any:
        try:
            values = self._array[index]
            return values if is_masked(values) else np.asarray(values)
        except NgcoreError:
            raise
        except OSError as error:
            raise StorageError(f"slicing {_text(index)} failed: {_line(error)}") from error
        except Exception as error:
            raise InputError(
                f"slicing {_text(index)} failed: {type(error).__name__}: {_line(error)}; pass an "
                "array that is sliced as NumPy's are"
            ) from error


def _text(index: tuple[slice, ...]) -> str:
    return "[" + ", ".join(f"{part.start}:{part.stop}" for part in index) + "]"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _origin(array: Any, rank: int) -> tuple[int, ...] | None:
    """Return the index of the first element of arrays that may not start at 0."""
    domain = getattr(array, "domain", None)  # tensorstore
    found = getattr(domain, "origin", None)
    if found is None:
        bounds = getattr(array, "bounds", None)  # CloudVolume: (x, y, z)
        found = getattr(bounds, "minpt", None)
    if found is None:
        return None
    origin = [int(value) for value in found][:rank]
    return (*origin, *[0] * (rank - len(origin)))


def _axes(array: Any, shape: tuple[int, ...], asked: str | None, colors: int) -> ArrayAxes:
    names = getattr(array, "dims", None)  # xarray
    if not isinstance(names, tuple):
        names = _own_names(array)
    elif names == tuple(f"dim_{number}" for number in range(len(shape))):
        names = None  # what xarray calls dimensions that nobody named
    if names is None:
        labels = getattr(getattr(array, "domain", None), "labels", None)  # tensorstore
        names = labels if labels and all(labels) else None
    if asked is None and names is None:
        # What lies beyond four dimensions is dropped where it is of length 1.
        shape_with_channels(shape, "", colors)
        code = "xyzc"[: 3 if colors > 1 else 4][: len(shape)]
        return ArrayAxes(code + "-" * (len(shape) - len(code)), shape, colors)
    if names is not None and asked is None and len(shape) == len(names):
        return axes_of(shape, names=names, colors=colors)
    return axes_of(shape, asked=asked, colors=colors)


def _own_names(array: Any) -> list[str] | None:
    """Return the names that arrays of Zarr and data sets of h5py have for their dimensions."""
    library = type(array).__module__.partition(".")[0]
    if library == "zarr":
        from ngcore.sources.volumes.zarr import names_of

        return names_of(array)
    if library == "h5py":
        from ngcore.sources.volumes.hdf5 import axis_names

        return axis_names(array)
    return None


def _order_note(array: Any, axes: ArrayAxes, asked: str | None) -> tuple[str, ...]:
    """Warn where the file itself would be read with its axes the other way round."""
    library = type(array).__module__.partition(".")[0]
    is_named = asked is not None or _own_names(array) is not None
    if library not in ("h5py", "zarr") or is_named or len(axes.code) < 3:
        return ()
    return (
        "its dimensions are assumed to be x, y, z; pass axes='zyx' if z is the slowest, which "
        "ngcore assumes when you pass the path of the file",
    )


def _chunks(array: Any, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the sides of an array's chunks, where it has any; the largest of Dask's."""
    chunks = getattr(array, "chunks", None)
    if not chunks:
        layout = getattr(array, "chunk_layout", None)  # tensorstore
        chunks = getattr(getattr(layout, "read_chunk", None), "shape", None)
    if not isinstance(chunks, tuple) or len(chunks) != len(shape):
        return None
    try:
        return tuple(max(side) if isinstance(side, tuple) else int(side) for side in chunks)
    except (TypeError, ValueError):
        return None


def _as_numbers(array: np.ndarray[Any, Any], colors: int) -> np.ndarray[Any, Any]:
    """View structured colours as they are, and bool as bytes."""
    if colors > 1 or array.dtype.kind != "b":
        return array
    return array.view(np.uint8)


class MemorySource(ReadableSource):
    """A NumPy array, or a memory map: shape (x, y, z, channel), any strides and byte order."""

    cost = Cost("boxes", is_concurrent=True)

    def __init__(self, header: SourceHeader, array: np.ndarray[Any, Any]) -> None:
        self.header = header
        self._array = array
        fast_to_slow = sorted(range(4), key=lambda axis: abs(array.strides[axis]))
        order: AxisOrder = (fast_to_slow[0], fast_to_slow[1], fast_to_slow[2], fast_to_slow[3])
        self.stream_axis, self.memory_order = cheapest_walk(header.shape, order)

    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        np.copyto(out, self._array[box])
