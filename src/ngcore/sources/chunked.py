"""Sources whose voxels lie in chunks, or in whatever gives a box of an array for its slices.

Boxes that are asked of a library are cut along its chunks, so that each chunk is decoded once
where planes are read in order, and several at a time.
"""

from __future__ import annotations

import math
import os
import sys
from functools import cached_property
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import InputError, naming
from ngcore.sources.base import Cost, Sparsity
from ngcore.sources.containers import foreign_errors
from ngcore.sources.volumes.raw import ReadableSource
from ngcore.storage.present import present_if_sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Box
    from ngcore.sources.axes import ArrayAxes
    from ngcore.sources.base import Box3, Source, SourceHeader
    from ngcore.sources.chunk_listing import Listing
    from ngcore.storage.present import PresentCells

MOST_VOXELS = 1 << 53
"""More than any volume has that can be read in a lifetime: metadata that claim more are wrong."""

PIECE_BYTES = 1 << 23
"""Bytes that are asked for at a time, or a chunk where that is more."""


MOST_SHARED_SIDE = 512
"""Larger chunks reach over several work items, each of which would decode all of them: such an
array is unpacked once."""


class ChunkedSource(ReadableSource):
    """An array that is read by slicing, along its chunks.

    Planes of a row of chunks that is only partly asked for are kept until another row is.

    Parameters
    ----------
    header : SourceHeader
    axes : ArrayAxes
    slices : callable of (tuple of slice), returns array
        Gives a box of the array, in its own dimensions.
    chunks : sequence of int, optional
        Lengths of chunks along the array's dimensions; default none: rows of some MiB.
    workers : int, optional
        Threads; default the number of processors. 1 where the library has its own, or a lock.
    origin : sequence of int, optional
        Index of the first element along each dimension; default 0.
    close : callable, optional
    listing : Listing, optional
        How to find which chunks are there.
    reopen : callable, optional
        Opens the same again where it is unpickled; default: it can't be.
    is_file : bool
        See `Cost`.
    """

    def __init__(
        self,
        header: SourceHeader,
        axes: ArrayAxes,
        slices: Callable[[tuple[slice, ...]], Any],
        *,
        chunks: Sequence[int] | None = None,
        workers: int | None = None,
        origin: Sequence[int] | None = None,
        close: Callable[[], None] | None = None,
        listing: Listing | None = None,
        reopen: Callable[[], Source] | None = None,
        is_file: bool = False,
    ) -> None:
        refuse_too_many(header)
        self.header = header
        self.workers = workers or os.cpu_count() or 1
        self._axes = axes
        self._slices = slices
        self._origin = origin
        self._close = close
        self._listing = listing
        self._reopen = reopen
        self._executor: ThreadPoolExecutor | None = None
        self._kept: tuple[int, tuple[slice, slice], np.ndarray[Any, Any]] | None = None
        slow_to_fast = axes.slow_to_fast
        longer = [axis for axis in slow_to_fast if header.shape[axis] > 1]
        self.stream_axis = longer[0] if longer else slow_to_fast[0]
        self.memory_order = "C" if slow_to_fast[-1] == 2 else "F"
        self._chunk = self._chunk_sides(chunks)
        voxel_bytes = header.shape[3] * header.dtype.itemsize
        depth = self._chunk[self.stream_axis]
        chunk_bytes = math.prod(self._chunk) * voxel_bytes
        self.cost = Cost(
            "planes",
            is_shareable=reopen is not None and max(self._chunk) <= MOST_SHARED_SIDE,
            is_file=is_file,
            row_planes=depth,
            bytes_per_thread=2 * max(chunk_bytes, PIECE_BYTES),
            column_bytes=depth * voxel_bytes,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Be opened anew where this is unpickled, to read no more than the chunks it needs."""
        if self._reopen is None:
            raise TypeError(f"{self.name} can't be opened in another process")
        return _reopened, (self.header, self._reopen)

    @cached_property
    def _cells(self) -> tuple[tuple[int, int, int], PresentCells | None]:
        """The sides of chunks or shards along (x, y, z), and which are there, if they are few."""
        if self._listing is None:
            return self._chunk, None
        found, axes = self._listing.found, self._axes
        x, y, z = axes.along(self._listing.sides)
        w, h, d = (
            -(-length // side) for length, side in zip(self.shape[:3], (x, y, z), strict=True)
        )

        def cells() -> Iterator[NDArray[np.int64]]:
            for places in found():
                padded = np.concatenate([places, np.zeros((len(places), 1), np.int64)], axis=1)
                columns = [axes.code.find(letter) for letter in "xyz"]  # -1: the zeros
                cells = padded[:, columns]
                yield cells[(cells < (w, h, d)).all(axis=1)]

        # What can't be listed raises here, where it is listed, and not where it was opened.
        with naming(self.name), foreign_errors("its chunks can't be listed"):
            return (x, y, z), present_if_sparse((w, h, d), cells())

    def sparsity(self) -> Sparsity | None:
        """Return how few chunks are there."""
        present = self._cells[1]
        if present is None or self._listing is None:
            return None
        return Sparsity(len(present), present.total, self._listing.fills_zeros)

    def is_empty(self, box: Box) -> bool:
        """Whether no chunk of a box is there, and what is not there is zeros."""
        sides, present = self._cells
        if present is None or self._listing is None or not self._listing.fills_zeros:
            return False
        pairs = list(zip(box.slices(self.header.voxel_offset), sides, strict=True))
        x, y, z = (part.start // side for part, side in pairs)
        u, v, w = (-(-part.stop // side) for part, side in pairs)
        return not present.meets((x, y, z), (u, v, w))

    def _chunk_sides(self, chunks: Sequence[int] | None) -> tuple[int, int, int]:
        shape = self.shape[:3]
        if chunks is not None:
            x, y, z = self._axes.along(chunks)
            return tuple(  # type: ignore[return-value]
                max(1, min(side, length)) for side, length in zip((x, y, z), shape, strict=True)
            )
        sides = list(shape)
        plane = self.header.byte_count // shape[self.stream_axis]
        sides[self.stream_axis] = max(1, min(shape[self.stream_axis], PIECE_BYTES // plane))
        return sides[0], sides[1], sides[2]

    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        axis = self.stream_axis
        depth, length = self._chunk[axis], self.shape[axis]
        start, stop = box[axis].start, box[axis].stop
        others = [part for number, part in enumerate(box) if number != axis]
        window = (others[0], others[1])
        planes = np.moveaxis(out, axis, 0)
        first = start
        whole = stop if stop == length else stop // depth * depth
        while first < stop:
            row_start = first // depth * depth
            is_whole = row_start == first < whole  # several rows at once, for the threads
            last = whole if is_whole else min(stop, row_start + depth)
            part = np.moveaxis(planes[first - start : last - start], 0, axis)
            if is_whole:
                self._fill(_with(box, axis, first, last), part)
            else:
                row_stop = min(row_start + depth, length)
                row = self._row(_with(box, axis, row_start, row_stop), window)
                within = _with((slice(None),) * 3, axis, first - row_start, last - row_start)
                part[...] = row[within]
            first = last

    def _row(self, box: Box3, window: tuple[slice, slice]) -> np.ndarray[Any, Any]:
        number = box[self.stream_axis].start
        if self._kept is None or self._kept[:2] != (number, window):
            self._kept = None
            lengths = (part.stop - part.start for part in box)
            planes = np.empty((*lengths, self.shape[3]), self.dtype, order=self.memory_order)
            self._fill(box, planes)
            self._kept = (number, window, planes)
        return self._kept[2]

    def _fill(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        """Fill `out` with a box, a piece of whole chunks at a time, on the threads."""
        pieces = list(self._pieces(box))

        def read(piece: Box3) -> None:
            place = tuple(
                slice(part.start - whole.start, part.stop - whole.start)
                for part, whole in zip(piece, box, strict=True)
            )
            self._read_piece(piece, out[place])

        if len(pieces) == 1 or self.workers == 1:
            for piece in pieces:
                read(piece)
            return
        from concurrent.futures import ThreadPoolExecutor, wait

        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.workers, "ngcore-chunks")
        futures = [self._executor.submit(read, piece) for piece in pieces]
        try:
            for future in futures:
                future.result()
        finally:
            # After an error nothing may go on writing to the caller's memory.
            for future in futures:
                future.cancel()
            wait(futures)

    def _pieces(self, box: Box3) -> list[Box3]:
        """Cut a box along chunks into pieces of about `PIECE_BYTES`."""
        sides = list(self._chunk)
        voxel_bytes = self.shape[3] * self.dtype.itemsize
        for axis in reversed(self._axes.slow_to_fast):  # longest along the fastest axis
            room = PIECE_BYTES // max(1, math.prod(sides) * voxel_bytes)
            length = box[axis].stop - box[axis].start
            if axis != self.stream_axis and room > 1:
                sides[axis] *= min(room, -(-length // sides[axis]))
        ranges = []
        for axis, part in enumerate(box):
            inner = range((part.start // sides[axis] + 1) * sides[axis], part.stop, sides[axis])
            edges = [part.start, *inner, part.stop]
            ranges.append([slice(a, b) for a, b in pairwise(edges)])
        return [(x, y, z) for x, y, z in product(*ranges)]

    def _read_piece(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        values = self._axes.arrange(
            plain_values(self._slices(self._axes.index(box, self._origin)))
        )
        if values.shape != out.shape:
            raise InputError(
                f"slicing gave shape {values.shape}, expected {out.shape}; pass an array that is "
                "sliced as NumPy's are"
            )
        copy_values(values, out)

    def close(self) -> None:
        """Let go of planes that are kept, end the threads, close the file."""
        self._kept = None
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None
        if self._close is not None:
            close, self._close = self._close, None
            close()


def _reopened(header: SourceHeader, reopen: Callable[[], Source]) -> Source:
    source = reopen()
    if (source.shape, source.dtype) != (header.shape, header.dtype):
        source.close()
        raise InputError("it was changed meanwhile; run it again while nothing else writes to it")
    source.header = header
    return source


def refuse_too_many(header: SourceHeader) -> None:
    """Refuse metadata that claim more voxels than any volume has.

    Raises
    ------
    InputError
        They do.
    """
    if header.voxel_count > MOST_VOXELS:
        raise InputError(
            f"claims {header.voxel_count} voxels (shape {header.shape}), more than 2^53, "
            "which no volume has; check how it was made"
        )


def is_masked(values: object) -> bool:
    """Whether an array has a mask. Their module is not imported for that: it takes 15 ms."""
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(values, masked.MaskedArray)


def plain_values(values: Any) -> np.ndarray[Any, Any]:
    """Return what slicing gave as a NumPy array; masked voxels are refused.

    Raises
    ------
    InputError
        If it is masked.
    """
    if is_masked(values):
        raise InputError("masked voxels have no value; pass array.filled(0)")
    return np.asarray(values)


def copy_values(values: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
    """Copy values of the type that the first of them had; bool as 0 and 1.

    Raises
    ------
    InputError
        If they are of another type, which `out` does not hold.
    """
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if not np.can_cast(values.dtype, out.dtype, "safe"):
        raise InputError(
            f"slicing gave {values.dtype} here and {out.dtype} at the first voxel; pass an array "
            "of one type, such as array.astype(...)"
        )
    np.copyto(out, values, casting="safe")


def _with(box: Box3, axis: int, start: int, stop: int) -> Box3:
    parts = [*box]
    parts[axis] = slice(start, stop)
    return parts[0], parts[1], parts[2]
