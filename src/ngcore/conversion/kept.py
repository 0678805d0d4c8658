"""A scale that is kept, uncompressed, where the next pass starts from: a file from each block."""

import math
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from ngcore.conversion.regions import Regions
from ngcore.conversion.window import Voxels
from ngcore.errors import StorageError
from ngcore.precomputed.chunks import Box, Vec3
from ngcore.sources.base import Box3, Cost, MemoryOrder, SourceHeader, SuggestedType
from ngcore.sources.volumes.raw import AxisOrder, RawSource, ReadableSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.storage.stored_path import StoredPath


class Kept(NamedTuple):
    """Where the last scale of a pass is kept, and in which order of axes.

    Attributes
    ----------
    grid : Regions
        The blocks of the pass.
    folder : Path or StoredPath
        That every worker sees.
    stream_axis : int
        The axis along which the rows of a block follow each other.
    memory_order : str
        "F" or "C", of the planes.
    filled : set of tuple of int, optional
        Takes the places of the blocks that left a file, where others may hold zeros, unwalked;
        default all leave one.
    """

    grid: Regions
    folder: "Path | StoredPath"
    stream_axis: int
    memory_order: MemoryOrder
    filled: set[Vec3] | None = None

    @property
    def scale(self) -> int:
        """Index of the scale that is kept."""
        return self.grid.step.last_scale

    def path(self, place: Vec3) -> "Path | StoredPath":
        """Return the file that the block at `place` leaves."""
        return self.folder / f"scale-{self.scale}-{'-'.join(map(str, place))}"

    @contextmanager
    def writer(self, place: Vec3, scratch: Path) -> "Iterator[KeptWriter]":
        """Give what keeps the last scale of a block; its file appears at the end."""
        writer = KeptWriter(self, place, scratch)
        try:
            yield writer
            writer.finish()
        finally:
            writer.close()

    def source(self) -> "KeptSource":
        """Return what reads it, when all of it is there."""
        return KeptSource(self)

    def remove(self) -> None:
        """Remove every file; those that can't be go with their folder."""
        for place in self.grid if self.filled is None else self.filled:
            with suppress(OSError, StorageError):
                self.path(place).unlink()

    @property
    def order(self) -> AxisOrder:
        """Axes of the files, fastest first: rows can be written one after the other."""
        low, high = (axis for axis in range(3) if axis != self.stream_axis)
        if self.memory_order == "F":
            return low, high, 3, self.stream_axis
        return 3, high, low, self.stream_axis


class KeptWriter:
    """Writes what one block keeps, row by row; the file appears when it is whole.

    Parameters
    ----------
    kept : Kept
    place : tuple of int
        Of the block.
    scratch : Path
        Folder of this attempt alone, on the same file system.
    """

    def __init__(self, kept: Kept, place: Vec3, scratch: Path) -> None:
        self._kept = kept
        self._place = place
        self._path = scratch / kept.path(place).name
        self._file: BinaryIO | None = None

    def keep(self, _box: Box, voxels: Voxels) -> None:
        """Append a row."""
        try:
            if self._file is None:
                self._file = self._path.open("xb", buffering=0)
            rows = np.ascontiguousarray(voxels.transpose(self._kept.order[::-1]))
            view = rows.reshape(-1).view(np.uint8).data
            done = 0
            while done < len(view):
                done += self._file.write(view[done : done + (1 << 30)])
        except OSError as error:
            raise _not_written(self._path, error) from error

    def finish(self) -> None:
        """Put the file where the next pass looks for it."""
        if self._file is None:
            return
        try:
            self._file.close()
            path = self._kept.path(self._place)
            if isinstance(path, Path):
                os.replace(self._path, path)  # noqa: PTH105 (as in storage)
            else:
                path.upload(self._path)
                self._path.unlink()
            if self._kept.filled is not None:
                self._kept.filled.add(self._place)
        except OSError as error:
            raise _not_written(self._path, error) from error

    def close(self) -> None:
        """Close the file, whether or not it is whole."""
        if self._file is not None:
            self._file.close()


def _not_written(path: Path, error: OSError) -> StorageError:
    return StorageError(f"can't write {path}: {error.strerror or error}")


class KeptSource(ReadableSource):
    """The boxes that the blocks of a pass kept, as a source for the next pass.

    Files are opened as they are needed: a copy in another process reads the same ones.

    Parameters
    ----------
    kept : Kept
    """

    cost = Cost("boxes", is_concurrent=True, is_shareable=True)

    def __init__(self, kept: Kept) -> None:
        info = kept.grid.info
        scale = info.scales[kept.scale]
        self._kept = kept
        self.stream_axis = kept.stream_axis
        self.memory_order = kept.memory_order
        self.header = SourceHeader(
            name=str(kept.folder),
            shape=(*scale.size, info.num_channels),
            dtype=np.dtype(info.data_type),
            suggested_type=SuggestedType("image", "it is a temporary file"),
            voxel_offset=scale.voxel_offset,
        )

    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        """Fill `out` from every block that has a part of it."""
        wanted = Box.of_slices(box, self.header.voxel_offset)
        found = 0
        for place in self._kept.grid.owners(self._kept.scale, wanted):
            owned = self._kept.grid.owned_box(self._kept.scale, place)
            part = None if owned is None else owned.intersection(wanted)
            if owned is not None and part:
                target = out[part.slices(wanted.start)]
                if self._kept.filled is None or place in self._kept.filled:
                    self._read_part(place, owned, part, target)
                else:
                    target[...] = 0
                found += math.prod(part.shape)
        assert found == math.prod(wanted.shape)

    def is_empty(self, box: Box) -> bool:
        """Whether no block that owns a part of a box left a file."""
        if self._kept.filled is None:
            return False
        return self._kept.filled.isdisjoint(self._kept.grid.owners(self._kept.scale, box))

    def within(self, wanted: Box) -> "KeptSource":
        """Return what reads a part of it: it knows no more files than those of that."""
        filled = self._kept.filled
        if filled is None:
            return self
        owners = self._kept.grid.owners(self._kept.scale, wanted)
        return KeptSource(self._kept._replace(filled=filled.intersection(owners)))

    def _read_part(self, place: Vec3, box: Box, part: Box, out: np.ndarray[Any, Any]) -> None:
        path = self._kept.path(place)
        header = SourceHeader(
            name=str(path),
            shape=(*box.shape, self.shape[3]),
            dtype=self.dtype,
            suggested_type=self.header.suggested_type,
            voxel_offset=box.start,
        )
        order, axis = self._kept.order, self.stream_axis
        with RawSource(header, path, 0, order, self.dtype, axis) as source:
            source.read(part, out)
