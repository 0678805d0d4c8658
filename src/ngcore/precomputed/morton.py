"""The compressed Morton code: the id of a chunk in a sharded scale.

Bits of the cell's coordinates are interleaved, lowest first, x before y before z. An axis takes
part in round i only while 2**i is less than its number of cells, so that no bit is wasted.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md#compressed-morton-code
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Cell = tuple[int, int, int]
_MAX_BITS = 64


@lru_cache(maxsize=256)
def morton_bits(grid_shape: _Cell) -> tuple[tuple[int, int], ...]:
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


def compressed_morton_code(cell: _Cell, grid_shape: _Cell) -> int:
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


def cell_of_morton_code(code: int, grid_shape: _Cell) -> _Cell:
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


def compressed_morton_codes(cells: NDArray[np.uint64], grid_shape: _Cell) -> NDArray[np.uint64]:
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
    codes: NDArray[np.uint64], grid_shape: _Cell
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
