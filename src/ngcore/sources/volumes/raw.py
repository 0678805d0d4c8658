"""Uncompressed voxels that lie in a file one after another, in any order of the axes.

This is the body of NIfTI, Analyze, MGH and .npy files, and of ngcore's own spools.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputNotFoundError, StorageError
from ngcore.sources.base import Cost, Source
from ngcore.sources.files import bytes_of, open_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ngcore.sources.base import Box3, MemoryOrder, SourceHeader
    from ngcore.storage.stored_path import StoredPath

AxisOrder = tuple[int, int, int, int]
"""Axes of (x, y, z, channel), fastest first."""

FORTRAN_ORDER: AxisOrder = (0, 1, 2, 3)
C_ORDER: AxisOrder = (3, 2, 1, 0)
INTERLEAVED_ORDER: AxisOrder = (3, 0, 1, 2)

BLOCK_BYTES = 1 << 20
"""Bytes that pass through a buffer at a time: small enough to stay in the processor's cache."""

SMALL_SPAN_BYTES = 1 << 16
"""A span up to this size is read whole, however little of it is wanted: a call costs as much."""

MAX_WASTE = 4
"""A larger span is read whole if it holds at most this many times the bytes that are wanted."""


def cheapest_walk(shape: tuple[int, ...], order: AxisOrder) -> tuple[int, MemoryOrder]:
    """Return the `stream_axis` and the `memory_order` of a source whose axes lie in some order.

    The first is the spatial axis that is slowest, passing over axes of length 1; in the second the
    rows of a buffer run along the rows of the input.
    """
    spatial = [axis for axis in order if axis < 3]
    slowest = next((axis for axis in reversed(spatial) if shape[axis] > 1), spatial[-1])
    return slowest, "C" if spatial[0] == 2 else "F"


class ReadableSource(Source):
    """A source whose `read` can be called from the first plane to the last."""

    def spooled(self, path: Path) -> RawSource:
        """Read every plane once into a raw file at `path`; see `Source.spooled`."""
        return spool_planes(self, path)


class RawSource(ReadableSource):
    """Voxels at an offset in an uncompressed file.

    Parameters
    ----------
    header : SourceHeader
    path : Path or StoredPath
        File that holds the voxels.
    offset : int, in bytes
        Place of the first voxel.
    order : tuple of int
        Axes of (x, y, z, channel), fastest first.
    stored_dtype : numpy.dtype
        Type in the file: that of the header, in either byte order.
    stream_axis : int, optional
        The axis to walk along, where that is not the slowest in the file.

    Raises
    ------
    FormatError
        If the file is shorter than the header says; no memory is allocated for what it claims.
    """

    cost = Cost("boxes", is_concurrent=True, is_shareable=True)

    def __init__(
        self,
        header: SourceHeader,
        path: Path | StoredPath,
        offset: int,
        order: AxisOrder,
        stored_dtype: np.dtype[Any],
        stream_axis: int | None = None,
    ) -> None:
        self.header = header
        self.stream_axis, self.memory_order = cheapest_walk(header.shape, order)
        if stream_axis is not None:
            self.stream_axis = stream_axis
        self._path = path
        self._offset = offset
        self._order = order
        self._stored_dtype = stored_dtype
        self._strides = file_strides(header, order)
        if offset < 0:
            raise FormatError(f"{path}: corrupt header: voxels start at byte {offset}")
        self._file = open_binary(path, str(path)) if isinstance(path, Path) else path.open()
        if self._file.size < offset + header.byte_count:
            self._file.close()
            raise FormatError(
                f"{path}: truncated: its header says {header.shape} voxels of {header.dtype}, "
                f"{offset + header.byte_count} bytes in all, but the file has {self._file.size}; "
                f"download or copy it again"
            )

    def at(self, path: StoredPath) -> RawSource:
        """Put a copy of the file there, and return a source that reads that; close this one."""
        assert isinstance(self._path, Path)
        path.upload(self._path)
        self.close()
        return RawSource(
            self.header, path, self._offset, self._order, self._stored_dtype, self.stream_axis
        )

    def _read(self, spatial: Box3, out: np.ndarray[Any, Any]) -> None:
        box = (*spatial, slice(0, self.shape[3]))
        slow_to_fast = tuple(reversed(self._order))
        offset = self._offset + sum(
            part.start * self._strides[axis] for axis, part in enumerate(box)
        )
        strides = tuple(self._strides[axis] for axis in slow_to_fast)
        fill_box(
            out.transpose(slow_to_fast), strides, offset, self._stored_dtype, self._file.read_into
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Be opened anew where this is unpickled."""
        path = self._path.absolute()
        return _reopened, (
            (self.header, path, self._offset, self._order, self._stored_dtype, self.stream_axis),
            self._file.size,
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _reopened(arguments: tuple[Any, ...], size: int) -> RawSource:
    source = RawSource(*arguments)
    if source._file.size != size:  # noqa: SLF001 (of this very class)
        source.close()
        raise InputNotFoundError(
            f"{arguments[1]}: another file of that name is here; "
            "all workers must see the same folders"
        )
    return source


def order_of(letters: str) -> AxisOrder:
    """Return the order of axes, fastest first, of letters among x, y, z, c; those that lack last.

    Examples
    --------
    >>> order_of("cxy")
    (3, 0, 1, 2)
    """
    here = ["xyzc".index(letter) for letter in dict.fromkeys(letters)]
    a, b, c, d = (*here, *(axis for axis in range(4) if axis not in here))
    return a, b, c, d


def file_strides(header: SourceHeader, order: AxisOrder) -> tuple[int, int, int, int]:
    """Return the strides in bytes of (x, y, z, channel) in a packed file."""
    strides = [0, 0, 0, 0]
    stride = header.dtype.itemsize
    for axis in order:
        strides[axis] = stride
        stride *= header.shape[axis]
    x, y, z, channel = strides
    return x, y, z, channel


def fill_box(
    out: np.ndarray[Any, Any],
    strides: tuple[int, ...],
    offset: int,
    stored_dtype: np.dtype[Any],
    read_into: Callable[[int, memoryview], None],
) -> None:
    """Fill an array from a packed file, going forward through the file.

    Parameters
    ----------
    out : ndarray, native byte order
        Axes from the file's slowest to its fastest; any strides.
    strides : tuple of int, in bytes
        Of these axes in the file.
    offset : int, in bytes
        Place of the first voxel.
    stored_dtype : numpy.dtype
        Type in the file, either byte order.
    read_into : callable of (offset, memoryview)
        Fills the memory with the file's bytes from an offset on.
    """
    bounce: np.ndarray[Any, Any] | None = None
    is_swapped = not stored_dtype.isnative
    for part, place, is_packed in _pieces(out, strides, offset, is_swapped):
        if is_packed:
            read_into(place, bytes_of(part))
            if is_swapped:
                part.byteswap(inplace=True)
            continue
        if bounce is None:
            bounce = np.empty(BLOCK_BYTES, np.uint8)
        own_strides = strides[-part.ndim :]
        span = _span(part.shape, own_strides, part.itemsize)
        read_into(place, bytes_of(bounce[:span]))
        part[...] = np.ndarray(part.shape, stored_dtype, bounce, strides=own_strides)


def _span(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> int:
    """Return the bytes from a box's first voxel in the file to behind its last."""
    steps = zip(shape, strides, strict=True)
    return itemsize + sum((length - 1) * stride for length, stride in steps)


def _is_packed(part: np.ndarray[Any, Any], strides: tuple[int, ...]) -> bool:
    """Whether a box lies without gaps, and in the same order, in memory and in the file."""
    is_whole = _span(part.shape, strides, part.itemsize) == part.nbytes
    return is_whole and part.flags.c_contiguous


def _has_packed_rows(out: np.ndarray[Any, Any], strides: tuple[int, ...], is_dense: bool) -> bool:
    """Whether a box is best read by rows along its slowest axis, each with one call in place."""
    if out.ndim == 1 or (is_dense and out[0].nbytes < SMALL_SPAN_BYTES):
        return False
    return _is_packed(out[0], strides[1:])


def _pieces(
    out: np.ndarray[Any, Any], strides: tuple[int, ...], offset: int, is_swapped: bool
) -> Iterator[tuple[np.ndarray[Any, Any], int, bool]]:
    """Cut a box (axes slowest first) into parts that one call reads.

    Yields parts, their byte offsets, and whether they are packed (and read in place); others span
    at most `BLOCK_BYTES` in the file.
    """
    strides = strides[-out.ndim :]
    span = _span(out.shape, strides, out.itemsize)
    # Swapping bytes in place pays while they are still in the cache.
    is_packed = _is_packed(out, strides)
    is_direct = is_packed and not (is_swapped and span > BLOCK_BYTES)
    is_dense = span <= SMALL_SPAN_BYTES or span <= MAX_WASTE * out.nbytes
    if not is_direct and not is_swapped and _has_packed_rows(out, strides, is_dense):
        # A box that is narrower than the file. They are of one kind, so one look is enough.
        for index in range(out.shape[0]):
            yield out[index], offset + index * strides[0], True
    elif is_direct or (span <= BLOCK_BYTES and is_dense):
        yield out, offset, is_packed
    elif out.ndim == 1:
        step = BLOCK_BYTES // out.itemsize
        for first in range(0, len(out), step):
            part = out[first : first + step]
            yield part, offset + first * strides[0], _is_packed(part, strides)
    else:
        # Several planes at a time where they fit; one at a time, cut further, where they don't.
        step = max(1, BLOCK_BYTES // strides[0]) if out.shape[0] > 1 else 1
        for first in range(0, out.shape[0], step):
            place = offset + first * strides[0]
            if step > 1 and out.shape[0] > step:
                yield from _pieces(out[first : first + step], strides, place, is_swapped)
            else:
                last = min(first + step, out.shape[0])
                for index in range(first, last):
                    inner = offset + index * strides[0]
                    yield from _pieces(out[index], strides[1:], inner, is_swapped)


def spool_planes(source: Source, path: Path) -> RawSource:
    """Read every plane of `source` once into a raw file; finish and close it; open the file.

    Parameters
    ----------
    source : Source
        Any source whose `read` can be called.
    path : Path
        File to make. It is removed if this fails.

    Raises
    ------
    StorageError
        If the file can't be written.
    """
    axis, bounds = source.stream_axis, source.header.bounds
    first = bounds.start[axis]
    others = [other for other in range(3) if other != axis]
    if source.memory_order == "F":
        order = (others[0], others[1], 3, axis)
    else:
        order = (3, others[1], others[0], axis)
    slow_to_fast = order[::-1]
    lengths = [source.shape[axis] for axis in slow_to_fast]
    plane_bytes = math.prod(lengths[1:]) * source.dtype.itemsize
    step = min(lengths[0], max(1, 8 * BLOCK_BYTES // plane_bytes))
    planes = np.empty((step, *lengths[1:]), source.dtype)

    def blocks() -> Iterator[memoryview]:
        for start in range(0, lengths[0], step):
            stop = min(start + step, lengths[0])
            part = planes[: stop - start]
            box = bounds.cut(axis, first + start, first + stop)
            source.read(box, part.transpose(np.argsort(slow_to_fast)))
            yield bytes_of(part)
        source.finish()

    write_spool(path, blocks())
    source.close()
    return RawSource(source.header, path, 0, order, source.dtype, axis)


def write_spool(path: Path, blocks: Iterator[memoryview]) -> None:
    """Write blocks of bytes to a new file, removed again if anything fails."""
    try:
        file = path.open("xb", buffering=0)
    except OSError as error:
        raise StorageError(
            f"{path}: can't be created: {error.strerror}; pass --tmp DIR"
        ) from error
    try:
        with file:
            for block in blocks:
                done = 0
                while done < len(block):
                    try:
                        done += file.write(block[done : done + (1 << 30)])
                    except OSError as error:
                        raise StorageError(
                            f"{path}: writing failed: {error.strerror}; pass --tmp DIR with "
                            "more space"
                        ) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
