"""How a volume is cut into chunks: boxes of voxels, the grid they form, their names and ids.

Every coordinate is a voxel, in the order (x, y, z). *Global* coordinates include the scale's
voxel_offset; a *cell* is the index of a chunk on its grid and starts at (0, 0, 0).

The id of a chunk in a sharded scale is its compressed Morton code: bits of the cell's coordinates
are interleaved, lowest first, x before y before z. An axis takes part in round i only while 2**i
is less than its number of cells, so that no bit is wasted.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md#compressed-morton-code
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.errors import FormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray


Vec3 = tuple[int, int, int]
_MAX_BITS = 64


@lru_cache(maxsize=256)
def morton_bits(grid_shape: Vec3) -> tuple[tuple[int, int], ...]:
    """Return what each bit of a code holds, lowest bit first.

    Parameters
    ----------
    grid_shape : tuple of int, (x, y, z), in cells

    Returns
    -------
    tuple of (axis, bit)
        Bit `n` of a code is bit `bit` of coordinate `axis`.

    Raises
    ------
    InputError
        An axis has no cells, or a code would take more than 64 bits.
    """
    if len(grid_shape) != 3 or min(grid_shape) < 1:
        raise InputError(f"a grid has 1 or more chunks along x, y and z, got {grid_shape}")
    widths = [(cells - 1).bit_length() for cells in grid_shape]
    if sum(widths) > _MAX_BITS:
        raise InputError(
            f"a grid of {grid_shape} chunks needs {sum(widths)} bits for a chunk id, but a "
            "sharded scale may have at most 64; use larger chunks, or no sharding"
        )
    return tuple(
        (axis, bit) for bit in range(max(widths)) for axis in range(3) if bit < widths[axis]
    )


def compressed_morton_code(cell: Vec3, grid_shape: Vec3) -> int:
    """Return the id of the chunk at `cell`.

    Parameters
    ----------
    cell : tuple of int, (x, y, z)
    grid_shape : tuple of int, (x, y, z), in cells

    Raises
    ------
    InputError
        The grid has no such cell, or more cells than fit in 64 bits.

    Examples
    --------
    >>> compressed_morton_code((1, 1, 0), (4, 2, 1))
    3
    """
    (i, j, k), (columns, rows, layers) = cell, grid_shape
    if not (0 <= i < columns and 0 <= j < rows and 0 <= k < layers):
        raise InputError(f"there is no chunk {cell} in a grid of {grid_shape} chunks")
    code = 0
    for position, (axis, bit) in enumerate(morton_bits(grid_shape)):
        code |= (cell[axis] >> bit & 1) << position
    return code


def cell_of_morton_code(code: int, grid_shape: Vec3) -> Vec3:
    """Return the cell whose id is `code`.

    Parameters
    ----------
    code : int
    grid_shape : tuple of int, (x, y, z), in cells

    Raises
    ------
    FormatError
        No cell of the grid has this id.

    Examples
    --------
    >>> cell_of_morton_code(3, (4, 2, 1))
    (1, 1, 0)
    """
    bits = morton_bits(grid_shape)
    cell = [0, 0, 0]
    for position, (axis, bit) in enumerate(bits):
        cell[axis] |= (code >> position & 1) << bit
    x, y, z = cell
    if not 0 <= code < 1 << len(bits) or any(
        c >= n for c, n in zip(cell, grid_shape, strict=True)
    ):
        raise FormatError(f"chunk id {code} is not a chunk of a grid of {grid_shape} chunks")
    return (x, y, z)


def compressed_morton_codes(cells: NDArray[np.uint64], grid_shape: Vec3) -> NDArray[np.uint64]:
    """Return the ids of many cells at once, without checking that the grid holds them.

    Parameters
    ----------
    cells : ndarray of uint64, shape (n, 3), columns x, y, z
    grid_shape : tuple of int, (x, y, z), in cells

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    codes = np.zeros(len(cells), np.uint64)
    one = np.uint64(1)
    for position, (axis, bit) in enumerate(morton_bits(grid_shape)):
        codes |= (cells[:, axis] >> np.uint64(bit) & one) << np.uint64(position)
    return codes


def cells_of_morton_codes(
    codes: NDArray[np.uint64], grid_shape: Vec3
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """Return the cells of many ids at once, and which of them the grid holds.

    Parameters
    ----------
    codes : ndarray of uint64, shape (n,)
    grid_shape : tuple of int, (x, y, z), in cells

    Returns
    -------
    cells : ndarray of uint64, shape (n, 3), columns x, y, z
    exists : ndarray of bool, shape (n,)
    """
    bits = morton_bits(grid_shape)
    cells = np.zeros((len(codes), 3), np.uint64)
    one = np.uint64(1)
    for position, (axis, bit) in enumerate(bits):
        cells[:, axis] |= (codes >> np.uint64(position) & one) << np.uint64(bit)
    exists = np.all(cells < np.asarray(grid_shape, np.uint64), axis=1)
    if len(bits) < _MAX_BITS:
        exists &= codes >> np.uint64(len(bits)) == 0
    return cells, exists


def vec3(values: Iterable[int]) -> Vec3:
    """Return three numbers, (x, y, z), as a tuple of which that is known."""
    x, y, z = values
    return x, y, z


@cache
def _name_pattern() -> re.Pattern[str]:
    interval = r"(-?[0-9]{1,20})-(-?[0-9]{1,20})"
    return re.compile(rf"{interval}[_/]{interval}[_/]{interval}")  # few runs need it


class Box(NamedTuple):
    """A box of voxels, from `start` up to and without `stop`.

    It is empty, and false, where `stop` is not above `start` on every axis.

    Attributes
    ----------
    start, stop : tuple of int, (x, y, z), in voxels

    Examples
    --------
    >>> box = Box((0, 0, 0), (4, 4, 4)).intersection(Box((2, 3, -1), (9, 9, 1)))
    >>> box
    Box(start=(2, 3, 0), stop=(4, 4, 1))
    >>> box.shape
    (2, 1, 1)
    """

    start: Vec3
    stop: Vec3

    @classmethod
    def of_slices(cls, slices: Sequence[slice], origin: Vec3 = (0, 0, 0)) -> Box:
        """Return the box whose `slices` these are, in an array whose first voxel is `origin`."""
        return cls(
            vec3([part.start + first for part, first in zip(slices, origin, strict=True)]),
            vec3([part.stop + first for part, first in zip(slices, origin, strict=True)]),
        )

    @property
    def shape(self) -> Vec3:
        """Voxels along x, y, z; 0 where the box is empty."""
        (x0, y0, z0), (x1, y1, z1) = self.start, self.stop
        return (max(0, x1 - x0), max(0, y1 - y0), max(0, z1 - z0))

    def __bool__(self) -> bool:
        return all(b > a for a, b in zip(self.start, self.stop, strict=True))

    def intersection(self, other: Box) -> Box:
        """Return the voxels that are in both boxes; the result may be empty."""
        (x0, y0, z0), (x1, y1, z1) = self.start, self.stop
        (u0, v0, w0), (u1, v1, w1) = other.start, other.stop
        return Box(
            (max(x0, u0), max(y0, v0), max(z0, w0)), (min(x1, u1), min(y1, v1), min(z1, w1))
        )

    def slices(self, origin: Vec3 = (0, 0, 0)) -> tuple[slice, slice, slice]:
        """Return the slices of this box in an array whose first voxel is `origin`.

        Raises
        ------
        InputError
            The box starts before `origin`: negative indices would count from the array's end.
        """
        (x0, y0, z0), (x1, y1, z1), (ox, oy, oz) = self.start, self.stop, origin
        if x0 < ox or y0 < oy or z0 < oz:
            raise InputError(f"{self} starts before the array, whose first voxel is {origin}")
        return slice(x0 - ox, x1 - ox), slice(y0 - oy, y1 - oy), slice(z0 - oz, z1 - oz)

    def cut(self, axis: int, start: int, stop: int) -> Box:
        """Return what lies in [start, stop) along an axis; both are in the box."""
        first, last = list(self.start), list(self.stop)
        first[axis], last[axis] = start, stop
        return Box((first[0], first[1], first[2]), (last[0], last[1], last[2]))


_MOST_CELLS = 1 << 36


@dataclass(frozen=True, slots=True)
class ChunkGrid:
    """The chunks of one scale.

    Attributes
    ----------
    size : tuple of int, (x, y, z), in voxels
        The scale's size, 1 or more.
    chunk_size : tuple of int, (x, y, z), in voxels
        Of every chunk but those at the upper edges, which are clipped.
    voxel_offset : tuple of int, (x, y, z), in voxels
        Global coordinate of the first voxel of cell (0, 0, 0); may be negative.
    shape : tuple of int, (x, y, z), in cells
    count : int
        Cells in all.

    Examples
    --------
    >>> grid = ChunkGrid((100, 64, 1), (64, 64, 64), (-5, 0, 0))
    >>> grid.shape, grid.count
    ((2, 1, 1), 2)
    >>> [grid.name(cell) for cell in grid.cells()]
    ['-5-59_0-64_0-1', '59-95_0-64_0-1']
    """

    size: Vec3
    chunk_size: Vec3
    voxel_offset: Vec3 = (0, 0, 0)
    shape: Vec3 = field(init=False, repr=False, compare=False)
    count: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise InputError(f"size must be 1 or more on every axis, got {self.size}")
        if min(self.chunk_size) < 1:
            raise InputError(f"chunk size must be 1 or more on every axis, got {self.chunk_size}")
        (sx, sy, sz), (cx, cy, cz) = self.size, self.chunk_size
        x, y, z = -(-sx // cx), -(-sy // cy), -(-sz // cz)
        object.__setattr__(self, "shape", (x, y, z))
        object.__setattr__(self, "count", x * y * z)

    def cells(self) -> Iterator[Vec3]:
        """Yield every cell, x fastest.

        Raises
        ------
        InputError
            There are sixteen times as many as the largest volumes have, or more.
        """
        if self.count > _MOST_CELLS:
            raise InputError(
                f"{self.size} voxels in chunks of {self.chunk_size} make {self.count} chunks, "
                "too many to go through; info claims more than there is"
            )
        x, y, z = self.shape
        return ((i, j, k) for k in range(z) for j in range(y) for i in range(x))

    def __contains__(self, cell: Vec3) -> bool:
        (i, j, k), (sx, sy, sz), (cx, cy, cz) = cell, self.size, self.chunk_size
        return 0 <= i * cx < sx and 0 <= j * cy < sy and 0 <= k * cz < sz

    def bounds(self, cell: Vec3) -> Box:
        """Return the voxels of `cell` in global coordinates, clipped at the end of the volume.

        Raises
        ------
        InputError
            The grid has no such cell.
        """
        if cell not in self:
            raise InputError(f"there is no chunk {cell} in a grid of {self.shape} chunks")
        (i, j, k), (cx, cy, cz) = cell, self.chunk_size
        (sx, sy, sz), (ox, oy, oz) = self.size, self.voxel_offset
        return Box(
            (ox + i * cx, oy + j * cy, oz + k * cz),
            (
                ox + min(i * cx + cx, sx),
                oy + min(j * cy + cy, sy),
                oz + min(k * cz + cz, sz),
            ),
        )

    def name(self, cell: Vec3) -> str:
        """Return the file name of a chunk, such as ``0-64_0-64_0-40``."""
        return self._joined(cell, "_")

    def nested_name(self, cell: Vec3) -> str:
        """Return the name of a chunk in the nested layout, such as ``0-64/0-64/0-40``."""
        return self._joined(cell, "/")

    def cell_of_name(self, name: str) -> Vec3 | None:
        """Return the cell that `name` names, flat or nested; None where it names none of them."""
        match = _name_pattern().fullmatch(name)
        if match is None:
            return None
        numbers = [int(digits) for digits in match.groups()]
        (cx, cy, cz), (ox, oy, oz) = self.chunk_size, self.voxel_offset
        x, y, z = numbers[0::2]
        cell = ((x - ox) // cx, (y - oy) // cy, (z - oz) // cz)
        if cell not in self:
            return None
        # Compose the name again, to refuse other spellings: 00-64, -0-64, unclipped ends.
        return cell if name in (self.name(cell), self.nested_name(cell)) else None

    def chunk_id(self, cell: Vec3) -> int:
        """Return the id of a chunk in a sharded scale: its compressed Morton code."""
        return compressed_morton_code(cell, self.shape)

    def cell_of_id(self, chunk_id: int) -> Vec3:
        """Return the cell of a chunk id; FormatError where the grid has no such cell."""
        return cell_of_morton_code(chunk_id, self.shape)

    def _joined(self, cell: Vec3, separator: str) -> str:
        (x0, y0, z0), (x1, y1, z1) = self.bounds(cell)
        return f"{x0}-{x1}{separator}{y0}-{y1}{separator}{z0}-{z1}"
