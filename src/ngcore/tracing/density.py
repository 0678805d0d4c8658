"""How many streamlines pass each voxel of a grid that lies along the axes of the world."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import InputError
from ngcore.precomputed.annotation_cells import Grid, cells_met

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.tracing.tract_spool import SpooledTracts


def density_grid(
    lower: NDArray[np.float64], upper: NDArray[np.float64], voxel_mm: float, memory: int
) -> Grid:
    """Return the grid that holds all streamlines; its sides lie at multiples of a voxel.

    Raises
    ------
    InputError
        It takes more memory than there may be.
    """
    first = np.floor(lower / voxel_mm)
    shape = [int(n) for n in np.floor(upper / voxel_mm) - first + 1]
    size = 4 * math.prod(shape)
    if size > memory:
        raise InputError(
            f"a density of {voxel_mm:g} mm would have {' x '.join(map(str, shape))} voxels, "
            f"{size >> 20} MiB; pass a larger --density, or more --memory"
        )
    x, y, z = (first * voxel_mm).tolist()
    return Grid((x, y, z), (voxel_mm, voxel_mm, voxel_mm), (shape[0], shape[1], shape[2]))


def count_streamlines(tracts: SpooledTracts, grid: Grid) -> NDArray[np.uint32]:
    """Return how many streamlines have a segment in each voxel, shape (x, y, z), x fastest."""
    counts = np.zeros(grid.count, np.uint32)
    for block in tracts.shapes():
        for _, cells in cells_met("polyline", block, grid):
            where, times = np.unique(cells, return_counts=True)
            counts[where] += times.astype(np.uint32)
    x, y, z = grid.shape
    return counts.reshape(z, y, x).T


def affine_of(grid: Grid) -> NDArray[np.float64]:
    """Return the affine of the grid's voxels, from indices of their centres to millimetres."""
    affine = np.diag([*grid.cell, 1.0])
    affine[:3, 3] = np.add(grid.lower, np.multiply(grid.cell, 0.5))
    return affine
