"""Volumes as arrays: `open` one, and index its scales as NumPy arrays are indexed.

Only the chunks that an index touches are read.
"""

from __future__ import annotations

import itertools
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.precomputed.encodings import ChunkEncoding, Shape4, make_encoding
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.storage import ChunkReader, LocalStore, ReadableStore, open_chunks, open_store
from ngcore.storage.local import WORK_FOLDER
from ngcore.volume.index import Selection, parse_index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Box, Vec3


def open(path: str | os.PathLike[str]) -> Volume:  # noqa: A001 (ngcore.open is its public name)
    """Open a volume to read it.

    Parameters
    ----------
    path : str or path
        The folder that holds its `info` file; or its URL, such as ``https://example.org/brain``
        or ``gs://bucket/brain``, for which the extra ``cloud`` is needed.

    Returns
    -------
    Volume

    Raises
    ------
    InputNotFoundError
        There is no such folder, or it has no `info` file.
    FormatError
        The `info` file breaks the format's rules.
    InputError
        The path is empty.
    MissingExtraError
        A URL needs a package that is not installed.
    StorageError
        The server fails, or denies it.
    """
    text = os.fspath(path)
    if not text:
        raise InputError("the path of the volume is empty; pass that of the folder that holds it")
    store = open_store(path)
    try:
        document = store.get_whole("info", _MAX_INFO)
    except FormatError as error:
        raise FormatError(f"{text}/info: {error}") from error
    if document is None:
        if isinstance(store, LocalStore) and (store.path / WORK_FOLDER / "plan.json").is_file():
            raise InputNotFoundError(
                f"not a precomputed volume yet: {text} is unfinished; continue what writes it "
                "with --resume, or start it again with --overwrite"
            )
        is_folder = not isinstance(store, LocalStore) or store.path.is_dir()
        what = "has no info file" if is_folder else "is no folder"
        raise InputNotFoundError(
            f"not a precomputed volume: {text} {what}; pass the folder that holds its info file"
        )
    try:
        info = VolumeInfo.from_json(document)
    except FormatError as error:
        raise FormatError(f"{text}/info: {error}") from error
    return Volume(store, info)


_MAX_INFO = 16 << 20


class Volume:
    """A multiscale volume.

    Parameters
    ----------
    store : ReadableStore
        Where it is.
    info : VolumeInfo

    Attributes
    ----------
    info : VolumeInfo
    scales : tuple of ScaleArray
        Full resolution first.
    store : ReadableStore
    """

    def __init__(self, store: ReadableStore, info: VolumeInfo) -> None:
        self.store = store
        self.info = info
        self.scales = tuple(ScaleArray(store, info, index) for index in range(len(info.scales)))

    def __repr__(self) -> str:
        lines = [f"<Volume {self.store.location}: {self.info.type}, {self.info.data_type}"]
        lines += [f"  scales[{index}] {scale.summary}" for index, scale in enumerate(self.scales)]
        return "\n".join(lines) + ">"


class ScaleArray:
    """One scale of a volume, indexed as a NumPy array of shape (x, y, z, channel) is.

    Integers drop their axis; slices may have steps, also negative ones. Indices start at 0
    whatever `voxel_offset` is. Chunks that are not there are zeros. Safe to use from several
    threads at once.

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

    def __init__(self, store: ReadableStore, info: VolumeInfo, index: int) -> None:
        self._store = store
        self._volume = info
        self._index = index
        self.info: ScaleInfo = info.scales[index]
        self.dtype: np.dtype[Any] = info.dtype
        self.shape: Shape4 = (*self.info.size, info.num_channels)

    @property
    def index(self) -> int:
        """Its place among the volume's scales."""
        return self._index

    @property
    def path(self) -> Path | None:
        """The volume's folder; None where it is no local one."""
        return self._store.path.absolute() if isinstance(self._store, LocalStore) else None

    @property
    def key(self) -> str:
        """Folder of the scale, such as ``8_8_40``."""
        return self.info.key

    @property
    def resolution(self) -> tuple[float, float, float]:
        """Nanometres per voxel along x, y, z."""
        return self.info.resolution

    @property
    def voxel_offset(self) -> Vec3:
        """Global coordinate of the first voxel along x, y, z, in voxels."""
        return self.info.voxel_offset

    @property
    def chunk_size(self) -> Vec3:
        """Voxels of a chunk along x, y, z; those at the upper edges may be smaller."""
        return self.info.chunk_size

    @property
    def ndim(self) -> int:
        """Number of axes: 4."""
        return len(self.shape)

    @property
    def summary(self) -> str:
        """What the scale is, on one line."""
        size, chunks, nm = (
            " x ".join(f"{n:g}" if isinstance(n, float) else str(n) for n in numbers)
            for numbers in (self.shape, self.chunk_size, self.resolution)
        )
        sharded = ", sharded" if self.info.sharding is not None else ""
        offset = f", offset {self.voxel_offset}" if any(self.voxel_offset) else ""
        return (
            f"{self.key!r}: {size} at {nm} nm{offset}, {self.info.encoding} chunks of "
            f"{chunks}{sharded}"
        )

    def __repr__(self) -> str:
        return f"<ScaleArray {self.dtype} {self.summary}>"

    def __len__(self) -> int:
        return self.shape[0]

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
        chunk = self._stored_chunk(cell)
        return np.zeros(shape, self.dtype, order="F") if chunk is None else chunk

    def _fill(self, voxels: NDArray[Any], selections: Sequence[Selection]) -> None:
        """Write the selected voxels of x, y, z and channel, ascending, into `voxels`."""
        x, y, z, channels = selections
        for cell in self._cells(x, y, z):
            sources, targets = self._overlap((x, y, z), cell)
            chunk = self._stored_chunk(cell)
            voxels[targets] = 0 if chunk is None else chunk[(*sources, channels.as_slice())]

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

    def _stored_chunk(self, cell: Vec3) -> NDArray[Any] | None:
        """Return a chunk, None where it is absent."""
        data = self._chunks.read(cell)
        if data is None:
            return None
        try:
            return self._encoding.decode(data, self._chunk_shape(cell))
        except FormatError as error:
            name = f"{self.key}/{self.info.grid.name(cell)}"
            raise FormatError(f"chunk {name} in {self._store.location}: {error}") from error

    @cached_property
    def _chunks(self) -> ChunkReader:
        return open_chunks(self._store, self._volume, self._index)

    @cached_property
    def _encoding(self) -> ChunkEncoding:
        return make_encoding(self._volume, self.info)
