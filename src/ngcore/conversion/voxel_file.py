"""A temporary file of voxels that are written in any order and read back as a source.

Each chunk of the finest scale has a slot of the file, so boxes that are whole chunks are one
write. Voxels are written where they belong and nowhere else: threads and processes that write
different voxels don't disturb each other. The file is sparse, and what nobody wrote is zero.
"""

from __future__ import annotations

import math
import os
import threading
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import StorageError
from ngcore.precomputed.chunks import Box, ChunkGrid
from ngcore.sources.base import Cost
from ngcore.sources.volumes.raw import ReadableSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ngcore.precomputed.chunks import Vec3
    from ngcore.sources.base import Box3, SourceHeader

    Voxels = np.ndarray[Any, np.dtype[Any]]


class VoxelFile:
    """The file; can be pickled, and is then opened again by its path.

    Parameters
    ----------
    path : Path
    size : tuple of int, (x, y, z), in voxels
    channels : int
    dtype : dtype
    chunk_size : tuple of int, (x, y, z), in voxels
    is_durable : bool
        Whether what was written survives a loss of power.
    """

    def __init__(
        self,
        path: Path,
        size: Vec3,
        channels: int,
        dtype: np.dtype[Any],
        chunk_size: Vec3,
        *,
        is_durable: bool,
    ) -> None:
        x, y, z = (min(pair) for pair in zip(chunk_size, size, strict=True))
        self.path, self.channels, self.dtype = path, channels, dtype
        self.grid = ChunkGrid(size, (x, y, z))
        self._slot = (x, y, z, channels)
        self._is_durable = is_durable
        self._lock = threading.Lock()
        self._file: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_file": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    @property
    def _slot_bytes(self) -> int:
        return math.prod(self._slot) * self.dtype.itemsize

    def make(self) -> None:
        """Make the file, without voxels, or keep the one that is there if it is whole.

        Raises
        ------
        StorageError
            If it can't be made.
        """
        try:
            with self.path.open("ab") as file:
                os.truncate(file.fileno(), self.grid.count * self._slot_bytes)
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageError(f"{self.path} can't be created: {error.strerror}") from error

    def write(self, box: Box, voxels: Voxels) -> None:
        """Write a box, shape (x, y, z, channel); safe when it returns.

        Raises
        ------
        StorageError
            If the disk is full or fails, or the file is gone.
        """
        file = self._open()
        try:
            for number, part, target in self._slots(box):
                self._write_slot(file, number, target, voxels[part])
            if self._is_durable:
                _sync(file)
            is_gone = os.fstat(file).st_nlink == 0
        except OSError as error:
            raise StorageError(f"{self.path} can't be written: {error.strerror}") from error
        if is_gone:
            raise StorageError(f"{self.path} is gone: the volume is finished, or was removed")

    def read(self, box: Box, out: Voxels) -> None:
        """Fill `out` with a box, shape (x, y, z, channel).

        Raises
        ------
        StorageError
            If reading fails, or the file is gone.
        """
        file = self._open()
        for number, part, (x, y, z) in self._slots(box):
            slot = np.zeros(self._slot, self.dtype, order="F")
            planes = slot.reshape(-1, order="F")
            first, last = 0, planes.size
            if self.channels == 1:  # then some planes lie together
                plane = self._slot[0] * self._slot[1]
                first, last = z.start * plane, z.stop * plane
            self._read_into(file, number * self._slot_bytes, planes, first, last)
            out[part] = slot[x, y, z]

    def _read_into(self, file: int, start: int, voxels: Voxels, first: int, last: int) -> None:
        step = self.dtype.itemsize
        view = voxels[first:last].view(np.uint8).data
        offset = start + first * step
        while len(view):
            try:
                count = self._read_at(file, view, offset)
            except OSError as error:
                raise StorageError(f"{self.path} can't be read: {error.strerror}") from error
            if count == 0:
                raise StorageError(f"{self.path} was truncated; create the volume again")
            view, offset = view[count:], offset + count

    def _slots(
        self, box: Box
    ) -> Iterator[tuple[int, tuple[slice, slice, slice], tuple[slice, slice, slice]]]:
        """Yield the number of each slot, its part of the box, and where that is in the slot."""
        (cx, cy, cz), (nx, ny, _) = self.grid.chunk_size, self.grid.shape
        ranges = (
            range(start // side, (stop - 1) // side + 1)
            for start, stop, side in zip(box.start, box.stop, (cx, cy, cz), strict=True)
        )
        for k, j, i in product(*reversed(list(ranges))):
            bounds = self.grid.bounds((i, j, k))
            part = bounds.intersection(box)
            yield i + nx * (j + ny * k), part.slices(box.start), part.slices(bounds.start)

    def _write_slot(
        self, file: int, number: int, target: tuple[slice, slice, slice], voxels: Voxels
    ) -> None:
        """Write a box of a slot, as many voxels at a time as follow each other in the file."""
        lengths = [part.stop - part.start for part in target]
        sides, step = self._slot, self.dtype.itemsize
        # Axes, from the fastest, of which all is written; the next one after them runs on too.
        whole = 0
        while whole < 3 and lengths[whole] == sides[whole]:
            whole += 1
        run = math.prod(lengths[: whole + 1]) if whole < 3 else math.prod(sides)
        flat = np.asarray(voxels, order="F").reshape(-1, order="F")
        data = np.ascontiguousarray(flat).view(np.uint8).data
        base = number * self._slot_bytes
        strides = [1, sides[0], sides[0] * sides[1], sides[0] * sides[1] * sides[2]]
        first = sum(part.start * stride for part, stride in zip(target, strides, strict=False))
        outer = [*lengths[whole + 1 :], self.channels] if whole < 3 else [1]
        outer_strides = strides[whole + 1 :] if whole < 3 else [0]
        done = 0
        for place in product(*map(range, reversed(outer))):
            at = first + sum(
                index * stride
                for index, stride in zip(reversed(place), outer_strides, strict=True)
            )
            self._write_all(file, data[done : done + run * step], base + at * step)
            done += run * step

    def _write_all(self, file: int, data: memoryview, offset: int) -> None:
        while len(data):
            if hasattr(os, "pwrite"):
                count = os.pwrite(file, data, offset)
            else:  # Windows
                with self._lock:
                    os.lseek(file, offset, os.SEEK_SET)
                    count = os.write(file, data)
            data, offset = data[count:], offset + count

    def _read_at(self, file: int, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(file, [view], offset)
        with self._lock:
            os.lseek(file, offset, os.SEEK_SET)
            data = os.read(file, len(view))
        view[: len(data)] = data
        return len(data)

    def _open(self) -> int:
        with self._lock:
            if self._file is None:
                try:
                    self._file = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
                except OSError as error:
                    raise StorageError(
                        f"{self.path} can't be opened: {error.strerror}; is the volume finished?"
                    ) from error
            return self._file

    def close(self) -> None:
        """Close the file, in this process."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None


_sync = getattr(os, "fdatasync", os.fsync)
"""macOS and Windows have no fdatasync."""


class VoxelFileSource(ReadableSource):
    """Voxels that were written to a file, as a source.

    Parameters
    ----------
    header : SourceHeader
    file : VoxelFile
    """

    def __init__(self, header: SourceHeader, file: VoxelFile) -> None:
        self.header = header
        self._voxels = file
        depth = file.grid.chunk_size[2]
        self.cost = Cost("boxes", is_concurrent=True, is_shareable=True, row_planes=depth)

    def _read(self, box: Box3, out: Voxels) -> None:
        x, y, z = box
        self._voxels.read(Box((x.start, y.start, z.start), (x.stop, y.stop, z.stop)), out)
