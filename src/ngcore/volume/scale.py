"""One scale of a volume as an array: index it as a NumPy array is indexed.

Only the chunks that an index touches are read, and of those only what it selects is decoded, where
the encoding allows that.
"""

from __future__ import annotations

import itertools
import math
import os
from contextlib import contextmanager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.encodings import ChunkEncoding, Shape4, make_encoding
from ngcore.storage import ChunkReader, LocalStore, ReadableStore, open_chunks
from ngcore.volume.chunk_cache import ChunkCache
from ngcore.volume.index import Selection, parse_index
from ngcore.volume.scale_facts import ScaleFacts
from ngcore.volume.slabs import Slabs
from ngcore.work.threads import map_ahead, share

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Box, Vec3
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage.base import ChunkGroup
    from ngcore.storage.present import PresentCells

_SMALL_READ = 256 << 10
"""Bytes of chunks that one thread reads from a disk as quickly as several would."""
_CHUNK_MEMORY = 4 << 20
"""Bytes of a chunk, decoded, up to which its memory is kept for the next."""
_MANY_CHUNKS = 1 << 12
"""Where a result takes more, it is looked which of them are there."""

_REMOTE_WORKERS = 16
"""Threads for chunks at URLs, which wait more than they work."""


class ScaleArray(ScaleFacts):
    """One scale of a volume, indexed as a NumPy array of shape (x, y, z, channel) is.

    Integers drop their axis; slices may have steps, also negative ones. Indices start at 0
    whatever `voxel_offset` is. Chunks that are not there are zeros. Safe to use from several
    threads at once; can be pickled.

    Parameters
    ----------
    store : ReadableStore
        Of the volume.
    info : VolumeInfo
    index : int
        Its place among the volume's scales.
    workers : int, optional
        Threads that read; default all cores, and more for URLs.
    cache : ChunkCache, optional
        Keeps chunks of which a part was read; default none is kept.

    Attributes
    ----------
    info : ScaleInfo
    shape : tuple of int, (x, y, z, channel)
    dtype : dtype
        In the byte order of this machine.

    Examples
    --------
    >>> import ngcore
    >>> volume = ngcore.open("brain")  # doctest: +SKIP
    >>> volume.scales[0][10:20, :, 5].shape  # doctest: +SKIP
    (10, 218, 1)
    """

    def __init__(
        self,
        store: ReadableStore,
        info: VolumeInfo,
        index: int,
        *,
        workers: int | None = None,
        cache: ChunkCache | None = None,
    ) -> None:
        super().__init__(info, index)
        self._store = store
        self._workers = workers
        self._cache = ChunkCache(0) if cache is None else cache

    @property
    def path(self) -> Path | None:
        """The volume's folder; None where it is not a local one."""
        return self._store.path.absolute() if isinstance(self._store, LocalStore) else None

    @property
    def location(self) -> str:
        """What opens the volume, here and in other processes: its folder, zip file or URL."""
        return self._store.location if self.path is None else str(self.path)

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """Read all of it, for `numpy.asarray`."""
        if copy is False:
            raise ValueError("a volume is not an array in memory: it can't be had without a copy")
        voxels = self[...]
        return voxels if dtype is None else voxels.astype(dtype, copy=False)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read what a NumPy index of integers, slices and an ellipsis selects.

        Returns
        -------
        ndarray of `dtype`
            Of the shape that the same index would give on an array in memory.

        Raises
        ------
        VolumeIndexError
            An integer lies outside of the volume, or there are too many indices, or other kinds
            of indices (arrays, booleans, None).
        FormatError
            A chunk is damaged; the message names it.
        """
        plane = self._slabs.plane(index)
        if plane is not None:
            return plane
        ranges, drops = parse_index(index, self.shape)
        shape = [len(indices) for indices in ranges]
        voxels = np.empty(shape, self.dtype, order="F")
        if 0 not in shape:
            self._fill(voxels, [Selection.of(indices) for indices in ranges])
        flips_and_drops = tuple(
            0 if is_dropped else slice(None, None, -1 if indices.step < 0 else None)
            for indices, is_dropped in zip(ranges, drops, strict=True)
        )
        return voxels[flips_and_drops]

    def read(self, box: Box, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read a box of voxels, all channels.

        Parameters
        ----------
        box : Box
            In global coordinates, those that include `voxel_offset`.
        out : ndarray of `dtype`, shape (x, y, z, channel), optional
            Filled and returned, whatever its strides.

        Returns
        -------
        ndarray of `dtype`, shape (x, y, z, channel), Fortran order, or `out`

        Raises
        ------
        InputError
            The box is empty, or not inside the volume, or `out` does not fit it.
        FormatError
            A chunk is damaged; the message names it.
        """
        if not box or box.intersection(self.info.bounds) != box:
            raise InputError(f"{box} is not inside of {self.info.bounds}, the scale {self.key}")
        shape = (*box.shape, self.shape[3])
        if out is None:
            out = np.empty(shape, self.dtype, order="F")
        elif out.shape != shape or out.dtype != self.dtype:
            raise InputError(
                f"out must be {self.dtype} of shape {shape}, got {out.dtype} of {out.shape}"
            )
        ranges = (*box.slices(self.voxel_offset), slice(0, self.shape[3]))
        self._fill(out, [Selection(part.start, 1, part.stop - part.start) for part in ranges])
        return out

    def read_chunk(self, cell: Vec3) -> NDArray[Any]:
        """Read one chunk, decoded.

        Parameters
        ----------
        cell : tuple of int, (x, y, z)
            Its place on the grid of chunks, from (0, 0, 0).

        Returns
        -------
        ndarray of `dtype`, shape (x, y, z, channel), Fortran order

        Raises
        ------
        InputError
            The grid has no such chunk.
        FormatError
            The chunk is damaged.
        """
        shape = self._chunk_shape(cell)
        data = self._chunks.read(cell)
        if data is None:
            return np.zeros(shape, self.dtype, order="F")
        return self._decoded(data, cell)

    def blocks(
        self, *, workers: int | None = None
    ) -> Iterator[tuple[tuple[slice, slice, slice], NDArray[Any]]]:
        """Yield every chunk of the scale, x fastest, reading ahead on several threads.

        Parameters
        ----------
        workers : int, optional
            Threads that read; default those of the volume.

        Yields
        ------
        box : tuple of three slices, (x, y, z)
            Where the block is, from 0, in the scale or in any array of its shape.
        block : ndarray of `dtype`, shape (x, y, z, channel), Fortran order
            Its voxels; the last ones along each axis may be smaller.

        Raises
        ------
        InputError
            `workers` is not a positive integer.
        FormatError
            A chunk is damaged; the message names it.

        Examples
        --------
        >>> import numpy as np, tempfile, ngcore
        >>> made = ngcore.convert(np.ones((100, 80, 60), np.uint8), tempfile.mkdtemp(),
        ...                       resolution=(8, 8, 8))
        >>> sum(int(block.sum()) for box, block in made.scales[0].blocks(workers=2))
        480000
        """
        if workers is not None and (isinstance(workers, bool) or workers < 1):
            raise InputError(f"workers must be 1 or more, got {workers!r}")
        grid, threads = self.info.grid, workers or self._threads
        cells, again = itertools.tee(grid.cells())
        for cell, block in zip(again, map_ahead(self.read_chunk, cells, threads), strict=True):
            yield grid.bounds(cell).slices(self.voxel_offset), block

    @cached_property
    def present(self) -> PresentCells | None:
        """The chunks that are there, where those are few of many; None if not, or not known.

        They are listed once: chunks that another program adds later are not among them.
        """
        from ngcore.storage.present import list_chunks

        return list_chunks(self._store, self.info, self._chunks)

    @property
    def _threads(self) -> int:
        if self._workers is not None:
            return self._workers
        return _REMOTE_WORKERS if self._store.is_remote else os.cpu_count() or 1

    def _fill(self, voxels: NDArray[Any], selections: Sequence[Selection]) -> None:
        """Write the selected voxels of x, y, z and channel, ascending, into `voxels`."""
        slab = self._slabs.holding(selections, self._read)
        if slab is not None:
            voxels[...] = slab.voxels[slab.place_of(selections)]
        else:
            self._read(voxels, selections)

    def _read(self, voxels: NDArray[Any], selections: Sequence[Selection]) -> None:
        """Do as `_fill`, from chunks."""
        x, y, z, channels = selections
        part = channels.as_slice()

        def fill(cell: Vec3) -> None:
            box, target = self._overlap((x, y, z), cell)
            self._decode((*box, part), cell, voxels[target])

        def fill_group(group: ChunkGroup) -> None:
            for cell, data in zip(group.cells, group.read(), strict=True):
                box, target = self._overlap((x, y, z), cell)
                out, shape = voxels[target], self._chunk_shape(cell)
                stored = self._kept(cell, data, is_whole=out.shape == shape)
                self._write(stored, (*box, part), cell, shape, out)

        cells = self._chunks_there((x, y, z), voxels)
        threads = self._threads_for(voxels, len(cells))
        if threads == 1:
            for cell in cells:
                fill(cell)
        elif self._store.is_remote:
            missing = [cell for cell in cells if self._cache.get(self._index, cell) is None]
            here = set(cells).difference(missing)
            share(here, fill, min(threads, max(1, len(here))))
            share(self._chunks.in_groups(missing, threads, share), fill_group, threads)
        else:
            share(cells, fill, threads)

    def _chunks_there(self, parts: tuple[Selection, ...], voxels: NDArray[Any]) -> list[Vec3]:
        """Return the chunks of a selection; of many on a disk those that are not absent."""
        spans = [part.span(side) for part, side in zip(parts, self.chunk_size, strict=True)]
        most = math.prod(min(p.count, b - a + 1) for p, (a, b) in zip(parts, spans, strict=True))
        if most <= _MANY_CHUNKS or self._store.is_remote or self.present is None:
            return list(self._cells(*parts))
        voxels[...] = 0
        wanted = [set(part.cells(side)) for part, side in zip(parts, self.chunk_size, strict=True)]
        (a, b), (c, d), (e, f) = spans
        there = self.present.within((a, c, e), (b + 1, d + 1, f + 1))
        return [cell for cell in there if all(n in w for n, w in zip(cell, wanted, strict=True))]

    def _threads_for(self, voxels: NDArray[Any], cells: int) -> int:
        """Return how many threads are to read some chunks for a result."""
        if not self._store.is_remote:
            # A box of a gzipped chunk takes as long as all of it.
            is_gzipped = self.info.sharding is not None
            chunk_bytes = math.prod(self.chunk_size) * self.shape[3] * self.dtype.itemsize
            if (cells * chunk_bytes if is_gzipped else voxels.nbytes) <= _SMALL_READ:
                return 1
        return min(self._threads, cells)

    def _decode(self, box: tuple[slice, ...], cell: Vec3, out: NDArray[Any]) -> None:
        """Write a box of a chunk into `out`; the chunk is kept if that is not all of it."""
        cached = self._cache.get(self._index, cell)
        shape = self._chunk_shape(cell)
        if cached is None:
            stored = self._kept(cell, self._chunks.read(cell), is_whole=out.shape == shape)
        else:
            stored = cached[0]
        self._write(stored, box, cell, shape, out)

    def _kept(
        self, cell: Vec3, data: bytes | None, *, is_whole: bool
    ) -> bytes | NDArray[Any] | None:
        """Return what the cache holds of a chunk, from now on unless all of it is wanted."""
        if is_whole:
            return data
        stored: bytes | NDArray[Any] | None = data
        if data is not None and not self._encoding.decodes_boxes:
            stored = self._decoded(data, cell)
        self._cache.put(self._index, cell, stored)
        return stored

    def _write(
        self,
        stored: bytes | NDArray[Any] | None,
        box: tuple[slice, ...],
        cell: Vec3,
        shape: Shape4,
        out: NDArray[Any],
    ) -> None:
        """Write a box of a chunk, as it is stored or kept, into `out`."""
        if stored is None:
            out[...] = 0
        elif isinstance(stored, bytes):
            with self._located(cell):
                self._encoding.decode_box(stored, shape, box, out)
        else:
            out[...] = stored[box]

    def _cells(self, x: Selection, y: Selection, z: Selection) -> Iterator[Vec3]:
        """Yield the chunks that hold a selected voxel, x fastest."""
        width, height, depth = self.chunk_size
        for k, j, i in itertools.product(z.cells(depth), y.cells(height), x.cells(width)):
            yield i, j, k

    def _overlap(
        self, selections: tuple[Selection, ...], cell: Vec3
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return where the selected voxels of a chunk are in it, and where in the result."""
        overlaps = [
            selection.overlap(position * side, side)
            for selection, position, side in zip(selections, cell, self.chunk_size, strict=True)
        ]
        return tuple(source for source, _ in overlaps), tuple(target for _, target in overlaps)

    def _chunk_shape(self, cell: Vec3) -> Shape4:
        return (*self.info.grid.bounds(cell).shape, self.shape[3])

    def _decoded(self, data: bytes, cell: Vec3) -> NDArray[Any]:
        with self._located(cell):
            return self._encoding.decode(data, self._chunk_shape(cell))

    @contextmanager
    def _located(self, cell: Vec3) -> Iterator[None]:
        """Say in errors of the format which chunk they are about."""
        try:
            yield
        except FormatError as error:
            name = f"{self.key}/{self.info.grid.name(cell)}"
            raise FormatError(f"chunk {name} in {self._store.location}: {error}") from error

    @cached_property
    def _slabs(self) -> Slabs:
        return Slabs(self, self._cache)

    @cached_property
    def _chunks(self) -> ChunkReader:
        _keep_what_chunks_leave()
        return open_chunks(self._store, self._volume, self._index)

    @cached_property
    def _encoding(self) -> ChunkEncoding:
        return make_encoding(self._volume, self.info)

    def __getstate__(self) -> dict[str, Any]:
        # Readers hold locks and what they know of files; both are made again where this is used.
        return {name: value for name, value in vars(self).items() if name not in _NOT_PICKLED}


@lru_cache(maxsize=1)
def _keep_what_chunks_leave() -> None:
    """Let the C library use the memory of one chunk for the next.

    glibc gives whatever is larger than 128 KiB back to the system, and takes it anew page by page,
    until something larger was freed once; see M_MMAP_THRESHOLD in mallopt(3).
    """
    bytes(_CHUNK_MEMORY)  # which nobody touches, so that it takes none


_NOT_PICKLED = ("_chunks", "_encoding", "_slabs", "present")
