"""Which chunks of a scale are there, known from the names of files: nobody asks for each.

A volume of a brain may span 10^9 chunks, of which a thousandth is there. What lies in a folder or
a bucket is listed, and of shards the indexes are read, so the time that takes goes with what is
there, not with what the volume spans.
"""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.chunks import cells_of_morton_codes
from ngcore.precomputed.sharding import ShardGrid
from ngcore.storage.base import Store
from ngcore.storage.completeness import advice_on_lost, is_by_ngcore, was_lost
from ngcore.storage.listing import is_listed_name, walk_files
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import ScaleInfo
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage.base import Ahead, ChunkReader, ReadableStore
    from ngcore.storage.sharded_reader import ShardedReader
    from ngcore.storage.zip_store import ZipStore

    Cells = NDArray[np.int64]
    """Cells of a grid, shape (n, 3)."""

MOST_CELLS = 1 << 22
"""As many are remembered; of more, blocks of two cells along each axis, or of four, and so on."""

_LARGEST_NUMBER = 1 << 62
_MOST_YIELDED = 1 << 32
_FEW_CELLS = 1 << 8
"""Grids of so few cells are walked through anyway."""
_MOST_MARKED = 1 << 28
"""Cells of which one byte each is kept to see which are not there."""
SPARSE = 8
"""A volume is sparse if no more than one of so many chunks is there."""
_NAMES_AT_ONCE = 1 << 16
_NESTED_DEPTH = 2
_SHARD_NAME = re.compile(r"[0-9a-f]{1,16}\.shard")


class PresentCells:
    """The cells of a grid that are there; where there are millions, blocks that hold them.

    Parameters
    ----------
    grid_shape : tuple of int, (x, y, z)
    found : iterable of ndarray of int, shape (n, 3)
        Cells of the grid, in any order, also twice.

    Examples
    --------
    >>> cells = PresentCells((1000, 1000, 1000), [np.array([[3, 5, 7], [800, 0, 0]])])
    >>> cells.meets((0, 0, 0), (8, 8, 8)), cells.meets((4, 0, 0), (800, 1000, 1000))
    (True, False)
    >>> list(cells)
    [(800, 0, 0), (3, 5, 7)]
    """

    def __init__(self, grid_shape: Vec3, found: Iterable[Cells]) -> None:
        self._grid_shape = grid_shape
        self._shift = 0
        self._set_shape()
        while math.prod(self._shape) > _LARGEST_NUMBER:
            self._widen()
        self._numbers = np.empty(0, np.int64)
        for cells in found:
            self._add(cells)

    def __len__(self) -> int:
        """Return how many there are, blocks where there are millions."""
        return len(self._numbers)

    @property
    def total(self) -> int:
        """How many cells the grid has."""
        return math.prod(self._grid_shape)

    def __iter__(self) -> Iterator[Vec3]:
        """Yield the cells, or all of their blocks, each once.

        Raises
        ------
        InputError
            The grid is so large that single cells are not told apart.
        """
        yield from self._cells_in(np.ones(len(self._numbers), np.bool_))

    def _cells_in(self, chosen: NDArray[np.bool_]) -> Iterator[Vec3]:
        """Yield the cells of some blocks."""
        if int(chosen.sum()) << 3 * self._shift > _MOST_YIELDED:
            raise InputError(
                f"a grid of {' x '.join(map(str, self._grid_shape))} chunks is more than can be "
                "gone through; info claims more than there is"
            )
        side = 1 << self._shift
        for x, y, z in zip(*(axis[chosen].tolist() for axis in self._places()), strict=True):
            corner = (x * side, y * side, z * side)
            ranges = [
                range(first, min(first + side, count))
                for first, count in zip(corner, self._grid_shape, strict=True)
            ]
            for k, j, i in itertools.product(*reversed(ranges)):
                yield i, j, k

    def meets(self, first: Vec3, stop: Vec3) -> bool:
        """Whether any cell from `first` up to and without `stop` may be there."""
        if not len(self._numbers):
            return False
        low = [number >> self._shift for number in first]
        high = [((number - 1) >> self._shift) + 1 for number in stop]
        rows, height = (high[1] - low[1]) * (high[2] - low[2]), self._shape[1]
        if rows > len(self._numbers):
            inside = np.ones(len(self._numbers), np.bool_)
            for axis, place in enumerate(self._places()):
                inside &= (place >= low[axis]) & (place < high[axis])
            return bool(inside.any())
        y = np.arange(low[1], high[1], dtype=np.int64)
        z = np.arange(low[2], high[2], dtype=np.int64)
        starts = ((z[:, np.newaxis] * height + y) * self._shape[0]).ravel()
        before = np.searchsorted(self._numbers, starts + low[0])
        return bool((np.searchsorted(self._numbers, starts + high[0]) > before).any())

    def within(self, first: Vec3, stop: Vec3) -> Iterator[Vec3]:
        """Yield the cells from `first` up to and without `stop` that may be there."""
        inside = np.ones(len(self._numbers), np.bool_)
        for place, low, high in zip(self._places(), first, stop, strict=True):
            inside &= (place >= low >> self._shift) & (place <= (high - 1) >> self._shift)
        for cell in self._cells_in(inside):
            if all(a <= b < c for a, b, c in zip(first, cell, stop, strict=True)):
                yield cell

    def first_absent(self) -> Vec3 | None:
        """Return a cell that is not there; None where none is known."""
        if self._shift or len(self._numbers) == self.total:
            return None
        gaps = np.flatnonzero(self._numbers != np.arange(len(self._numbers)))
        number = int(gaps[0]) if gaps.size else len(self._numbers)
        row, x = divmod(number, self._shape[0])
        z, y = divmod(row, self._shape[1])
        return x, y, z

    def _places(self) -> tuple[NDArray[np.int64], ...]:
        rows, x = np.divmod(self._numbers, self._shape[0])
        z, y = np.divmod(rows, self._shape[1])
        return x, y, z

    def _add(self, cells: Cells) -> None:
        x, y, z = (cells >> self._shift).T
        width, height, _ = self._shape
        self._numbers = np.union1d(self._numbers, (z * height + y) * width + x)
        while len(self._numbers) > MOST_CELLS:
            places = self._places()
            self._widen()
            x, y, z = (axis >> 1 for axis in places)
            width, height, _ = self._shape
            self._numbers = np.unique((z * height + y) * width + x)

    def _widen(self) -> None:
        self._shift += 1
        self._set_shape()

    def _set_shape(self) -> None:
        x, y, z = (-(-cells >> self._shift) for cells in self._grid_shape)
        self._shape: Vec3 = x, y, z


def present_if_sparse(grid_shape: Vec3, found: Iterable[Cells]) -> PresentCells | None:
    """Return the cells that are there; None where the grid is small, or most of them are.

    Parameters
    ----------
    grid_shape : tuple of int, (x, y, z)
    found : iterable of ndarray of int, shape (n, 3)
        Is not gone through to its end once it is clear that they are many.
    """
    total = math.prod(grid_shape)
    if total <= _FEW_CELLS:
        return None
    seen = 0

    def counted() -> Iterator[Cells]:
        nonlocal seen
        for cells in found:
            seen += len(cells)
            if seen * SPARSE > total:
                return
            yield cells

    present = PresentCells(grid_shape, counted())
    return None if seen * SPARSE > total else present


def list_chunks(
    store: ReadableStore, scale: ScaleInfo, reader: ChunkReader, ahead: Ahead = map
) -> PresentCells | None:
    """Return which chunks of a scale are there, if they are few and can be listed.

    Parameters
    ----------
    store : ReadableStore
        None is returned for web servers, which list nothing.
    scale : ScaleInfo
    reader : ChunkReader
        Of the scale. It is asked for one of the chunks that are not there: what it finds after
        all shows that the listing can't be believed.
    ahead : callable
        Does as `map`; from far away, several at once.

    Raises
    ------
    FormatError
        The index of a shard is damaged.
    StorageError
        A folder or a shard can't be read.
    """
    from ngcore.storage.sharded_reader import ShardedReader
    from ngcore.storage.zip_store import ZipStore

    if not isinstance(store, Store | ZipStore) or scale.grid.count <= _FEW_CELLS:
        return None
    if not isinstance(store, LocalStore) and not is_listed_name(scale.key):
        return None
    if scale.sharding is None:
        found: Iterable[Cells] | None = _cells_of_files(store, scale)
    else:
        assert isinstance(reader, ShardedReader)
        found = _cells_of_shards(store, scale, scale.sharding, reader, ahead)
    present = None if found is None else present_if_sparse(scale.grid.shape, found)
    absent = None if present is None else present.first_absent()
    if absent is not None and reader.read(absent) is not None:
        return None
    return present


def refuse_lost(store: ReadableStore, scale: ScaleInfo) -> None:
    """Refuse a scale of which files are gone that ngcore wrote, by their names.

    Whoever replaces what was made of the scale asks before the first file is touched: readers find
    out as they read.

    Parameters
    ----------
    store : ReadableStore
        The volume's. Web servers list nothing: all of it is taken to be there.
    scale : ScaleInfo

    Raises
    ------
    FormatError
        That names the first of them.
    """
    if not isinstance(store, Store) or is_by_ngcore(store, scale.key) is False:
        return
    grid, spec = scale.grid, scale.sharding
    lost, what = None, "chunk"
    if spec is not None:
        what, there = "shard", set(walk_files(store, scale.key))
        names = (spec.file_name(shard) for shard in ShardGrid(spec, grid.shape))
        lost = next((name for name in names if name not in there), None)
    elif grid.count <= _MOST_MARKED:
        is_there = np.zeros(grid.shape, np.bool_)
        for cells in _cells_of_files(store, scale):
            is_there[tuple(cells.T)] = True
        if not is_there.all():
            x, y, z = np.unravel_index(int(is_there.argmin()), is_there.shape)
            lost = grid.name((int(x), int(y), int(z)))
    if lost is not None and was_lost(store, scale.key):
        raise FormatError(
            f"{scale.key}/{lost} in {store.location}: the file is missing, but "
            f"{advice_on_lost(what)}"
        )


def _cells_of_shards(
    store: Store | ZipStore,
    scale: ScaleInfo,
    spec: ShardingSpec,
    reader: ShardedReader,
    ahead: Ahead,
) -> Iterator[Cells] | None:
    """Yield the cells that shards list; None where there are many shards, or some were lost."""
    shards, count = [], 0
    most = min(1 << spec.shard_bits, scale.grid.count) // SPARSE

    def look(file: tuple[str, int | None]) -> tuple[int, bool]:
        """Return the number of a shard, -1 if it is none, and whether it lists nothing."""
        name, size = file
        number = int(name.removesuffix(".shard"), 16) if _SHARD_NAME.fullmatch(name) else -1
        if number < 0 or number >> spec.shard_bits or spec.file_name(number) != name:
            return -1, True
        is_short = size == spec.shard_index_size
        return number, is_short and _is_empty_shard(store, f"{scale.key}/{name}")

    # A listing tells all of it, where it is not a zip's.
    looks = map if isinstance(store, Store) else ahead
    for number, is_empty in looks(look, _sizes_in(store, scale.key)):
        count += number >= 0
        if not is_empty:
            shards.append(number)
        if len(shards) > max(most, 1):
            return None
    if is_by_ngcore(store, scale.key) is not False and (
        # It writes every shard, so that one that is missing was lost.
        spec.hash != "identity" or count != ShardGrid(spec, scale.grid.shape).count
    ):
        return None
    return (
        cells[exist].astype(np.int64)
        for ids in reader.ids_of(shards, ahead)
        for cells, exist in [cells_of_morton_codes(ids, scale.grid.shape)]
    )


def _sizes_in(store: Store | ZipStore, folder: str) -> Iterator[tuple[str, int | None]]:
    """Yield names of files in a folder, with their sizes."""
    if isinstance(store, Store) and store.is_remote:  # where each question takes long
        yield from ((name[len(folder) + 1 :], size) for name, size in store.sizes(folder))
    else:
        for name in walk_files(store, folder):
            yield name, store.size(f"{folder}/{name}")


def _is_empty_shard(store: Store | ZipStore, name: str) -> bool:
    """Whether a shard as long as its index lists nothing, and was not cut off behind it."""
    if store.is_remote and isinstance(store, Store):
        return True  # objects are whole or not there
    index = np.frombuffer(store.get(name) or b"", "<u8")
    return bool((index[::2] == index[1::2]).all())


def _cells_of_files(store: Store | ZipStore, scale: ScaleInfo) -> Iterator[Cells]:
    """Yield the cells of chunk files, whatever ends their names: `.gz`, `.br`, ..."""
    names = walk_files(store, scale.key, depth=_NESTED_DEPTH)
    while batch := list(itertools.islice(names, _NAMES_AT_ONCE)):
        cells: list[Any] = [scale.grid.cell_of_name(name.partition(".")[0]) for name in batch]
        known = [cell for cell in cells if cell is not None]
        if known:
            yield np.array(known, np.int64)
