"""One scale of a volume as an array: index it as a NumPy array is indexed.

Only the chunks that an index touches are read, and of those only what it selects is decoded, where
the encoding allows that.
"""

from __future__ import annotations

import itertools
import math
import os
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.arrays.chunk_copy import copy_box
from ngcore.errors import FormatError, InputError
from ngcore.precomputed.encodings import ChunkEncoding, Shape4, make_encoding
from ngcore.storage import ChunkReader, LocalStore, ReadableStore, open_chunks
from ngcore.storage.base import LARGEST_REQUEST
from ngcore.volume.chunk_cache import ChunkCache
from ngcore.volume.index import Selection, parse_index
from ngcore.volume.scale_facts import ScaleFacts
from ngcore.volume.slabs import Slabs
from ngcore.work.threads import map_ahead, share

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Box, Vec3
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage.base import ChunkGroup
    from ngcore.storage.present import PresentCells
    from ngcore.volume.index import Pieces

_SMALL_READ = 256 << 10
"""Bytes of chunks that one thread reads from a disk as quickly as several would."""
_CHUNK_MEMORY = 4 << 20
"""Bytes of a chunk, decoded, up to which its memory is kept for the next."""
_MANY_CHUNKS = 1 << 12
"""Where a result takes more, it is looked which of them are there."""

_REMOTE_WORKERS = 16
"""Threads for chunks at URLs, which wait more than they work."""


class _Piece(NamedTuple):
    """What is wanted of one chunk.

    Attributes
    ----------
    cell : tuple of int, (x, y, z)
    shape : tuple of int, (x, y, z, channel)
        Of the whole chunk.
    box : tuple of four slices
        In it.
    out : ndarray
        Where that goes.
    """

    cell: Vec3
    shape: Shape4
    box: tuple[slice, slice, slice, slice]
    out: NDArray[Any]


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
            raise ValueError(
                "a volume is not an array in memory; it can't become one without a copy"
            )
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

        ahead = partial(map_ahead, workers=_REMOTE_WORKERS) if self._store.is_remote else map
        return list_chunks(self._store, self.info, self._chunks, ahead)

    @property
    def bytes_ahead(self) -> int:
        """Bytes of further chunks that each thread holds at most while it reads one."""
        return LARGEST_REQUEST if self._store.is_remote and self.info.sharding is not None else 0

    @property
    def _threads(self) -> int:
        if self._workers is not None:
            return self._workers
        return _REMOTE_WORKERS if self._store.is_remote else os.cpu_count() or 1

    @property
    def _requests(self) -> int:
        """How many may be on their way for one result: to web servers, by however few threads."""
        return max(self._threads, _REMOTE_WORKERS) if self._store.asks_ahead else self._threads

    def _fill(self, voxels: NDArray[Any], selections: Sequence[Selection]) -> None:
        """Write the selected voxels of x, y, z and channel, ascending, into `voxels`."""
        slab = self._slabs.holding(selections, self._read)
        if slab is not None:
            copy_box(slab.voxels[slab.place_of(selections)], voxels)
        else:
            self._read(voxels, selections)

    def _read(self, voxels: NDArray[Any], selections: Sequence[Selection]) -> None:
        """Do as `_fill`, from chunks."""
        x, y, z, channels = selections
        selected, channel_count = channels.as_slice(), self.shape[3]
        sides = zip((x, y, z), self.chunk_size, self.info.size, strict=True)
        xs, ys, zs = axes = [part.pieces(side, size) for part, side, size in sides]

        def piece(cell: Vec3) -> _Piece:
            i, j, k = cell
            (from_x, to_x, nx), (from_y, to_y, ny), (from_z, to_z, nz) = xs[i], ys[j], zs[k]
            box, shape = (from_x, from_y, from_z, selected), (nx, ny, nz, channel_count)
            return _Piece(cell, shape, box, voxels[to_x, to_y, to_z])

        def fill(cell: Vec3) -> None:
            self._decode(piece(cell))

        def fill_group(group: ChunkGroup) -> None:
            for cell, data in group():
                wanted = piece(cell)
                self._write(self._kept(wanted, data), wanted)

        cells = self._chunks_there(axes, voxels)
        threads = min(self._threads_for(voxels, len(cells)), len(cells))
        missing: list[Vec3] = []
        if self._store.is_remote:
            missing = [cell for cell in cells if self._cache.get(self._index, cell) is None]
            here = set(missing)
            cells = [cell for cell in cells if cell not in here]
        if threads == 1:
            for cell in cells:
                fill(cell)
        else:
            share(cells, fill, min(threads, len(cells)))
        if missing:
            requests = min(self._requests, len(missing))
            threads = min(threads, requests) if self._store.asks_ahead else requests
            groups = self._chunks.in_groups(missing, requests, threads, self._at_once)
            share(groups, fill_group, min(threads, len(groups)))

    def _at_once(self, items: Iterable[Any], work: Callable[[Any], object], most: int) -> None:
        share(items, work, min(most, self._threads))

    def _chunks_there(self, axes: Sequence[Pieces], voxels: NDArray[Any]) -> list[Vec3]:
        """Return the chunks of a selection; of many on a disk those that are not absent."""
        xs, ys, zs = axes
        is_few = len(xs) * len(ys) * len(zs) <= _MANY_CHUNKS
        if is_few or self._store.is_remote or self.present is None:
            return [(i, j, k) for k in zs for j in ys for i in xs]
        voxels[...] = 0
        first, stop = (min(xs), min(ys), min(zs)), (max(xs) + 1, max(ys) + 1, max(zs) + 1)
        there = self.present.within(first, stop)
        return [cell for cell in there if cell[0] in xs and cell[1] in ys and cell[2] in zs]

    def _threads_for(self, voxels: NDArray[Any], cells: int) -> int:
        """Return how many threads are to decode some chunks for a result."""
        # A box of a gzipped chunk takes as long as all of it.
        is_gzipped = self.info.sharding is not None
        chunk_bytes = math.prod(self.chunk_size) * self.shape[3] * self.dtype.itemsize
        if (cells * chunk_bytes if is_gzipped else voxels.nbytes) <= _SMALL_READ:
            return 1
        most = self._workers or os.cpu_count() or 1
        return min(most, os.cpu_count() or 1) if self._store.asks_ahead else most

    def _decode(self, wanted: _Piece) -> None:
        """Write a box of a chunk; the chunk is kept if that is not all of it."""
        kept = self._cache.get(self._index, wanted.cell)
        if kept is not None:
            self._write(kept[0], wanted)
            return
        span = None
        if not self._cache.max_bytes:
            span = self._encoding.span_of(wanted.shape, wanted.box)
        if span is None:
            data = self._chunks.read(wanted.cell)
        else:
            data, is_part = self._chunks.read_span(wanted.cell, span)
            if data is not None and is_part:
                out = wanted.out
                copy_box(np.ndarray(out.shape, span.dtype, data, strides=span.strides), out)
                return
        self._write(self._kept(wanted, data), wanted)

    def _kept(self, wanted: _Piece, data: bytes | None) -> bytes | NDArray[Any] | None:
        """Return what the cache holds of a chunk, from now on unless all of it is wanted."""
        if not self._cache.max_bytes or wanted.out.shape == wanted.shape:
            return data
        stored: bytes | NDArray[Any] | None = data
        if data is not None and not self._encoding.decodes_boxes:
            stored = self._decoded(data, wanted.cell)
        self._cache.put(self._index, wanted.cell, stored)
        return stored

    def _write(self, stored: bytes | NDArray[Any] | None, wanted: _Piece) -> None:
        """Write a box of a chunk, as it is stored or kept."""
        if stored is None:
            wanted.out[...] = 0
        elif isinstance(stored, bytes):
            try:
                self._encoding.decode_box(stored, wanted.shape, wanted.box, wanted.out)
            except FormatError as error:
                raise self._located(error, wanted.cell) from error
        else:
            copy_box(stored[wanted.box], wanted.out)

    def _chunk_shape(self, cell: Vec3) -> Shape4:
        return (*self.info.grid.bounds(cell).shape, self.shape[3])

    def _decoded(self, data: bytes, cell: Vec3) -> NDArray[Any]:
        try:
            return self._encoding.decode(data, self._chunk_shape(cell))
        except FormatError as error:
            raise self._located(error, cell) from error

    def _located(self, error: FormatError, cell: Vec3) -> FormatError:
        """Return an error of the format that says which chunk it is about."""
        name = f"{self.key}/{self.info.grid.name(cell)}"
        return FormatError(f"chunk {name} in {self._store.location}: {error}")

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
