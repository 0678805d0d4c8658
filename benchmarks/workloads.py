"""What the kernels are measured on, made from a seed."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUPERVOXEL_EDGE = 24
"""Edge of the cube a supervoxel would fill, in voxels."""


LABEL_EDGES = (8, 29, 100)
"""How large labels are where their size matters, as neurons' are from thin to thick, in voxels."""


@cache
def _nearest_seed(size: int, count: int, *, rough: bool) -> NDArray[Any]:
    random = np.random.default_rng(0)
    seeds = random.random((count, 3)) * size
    voxels = np.indices((size,) * 3).reshape(3, -1).T.astype(np.float32)
    if rough:  # each voxel looks for its seed from a little beside itself
        voxels += random.standard_normal(voxels.shape).astype(np.float32)
    return cKDTree(seeds).query(voxels)[1].reshape((size,) * 3)


def supervoxels(size: int, dtype: str, *, rough: bool) -> NDArray[Any]:
    """Return a size^3 chunk of supervoxels, in Fortran order; ids fill 32 or 50 bits."""
    return _labels(size, dtype, (size // SUPERVOXEL_EDGE + 1) ** 3, rough=rough)


def _labels(size: int, dtype: str, count: int, *, rough: bool) -> NDArray[Any]:
    cells = _nearest_seed(size, count, rough=rough)
    top = 2**32 - 1 if dtype == "uint32" else 2**50
    ids = np.random.default_rng(1).integers(1, top, cells.max() + 1, dtype=dtype)
    return np.asfortranarray(ids[cells])


def random_labels(size: int, dtype: str) -> NDArray[Any]:
    """Return labels that are all different: the worst case."""
    top = 2**32 - 1 if dtype == "uint32" else 2**63
    return np.asfortranarray(np.random.default_rng(2).integers(0, top, (size,) * 3, dtype=dtype))


def tiled_supervoxels(size: int, dtype: str) -> NDArray[Any]:
    """Return a size^3 volume of rough supervoxels, repeated from 128^3."""
    return _tiled(supervoxels(128, dtype, rough=True), size)


def labels_of_edge(size: int, dtype: str, edge: int) -> NDArray[Any]:
    """Return size^3 voxels of rough labels as large as cubes of that edge, repeated from 128^3."""
    return _tiled(_labels(128, dtype, max(2, round((128 / edge) ** 3)), rough=True), size)


def _tiled(tile: NDArray[Any], size: int) -> NDArray[Any]:
    repeats = (-(-size // len(tile)),) * 3
    return np.asfortranarray(np.tile(tile, repeats)[:size, :size, :size])


def image(size: int, dtype: str) -> NDArray[Any]:
    """Return noise of the whole range of uint8, or of [0, 60000)."""
    top = 256 if dtype == "uint8" else 60_000
    values = np.random.default_rng(3).integers(0, top, (size,) * 3, dtype=np.uint16)
    return np.asfortranarray(values.astype(dtype))


def smooth_image(size: int) -> NDArray[Any]:
    """Return uint8 waves with a little noise, as a microscope or scanner gives them."""
    random = np.random.default_rng(4)
    x, y, z = np.ogrid[:size, :size, :size]
    waves = np.sin(x / 17) + np.sin(y / 23) + np.sin(z / 31)
    noise = random.normal(0, 4, (size,) * 3)
    return np.asfortranarray(np.clip(128 + 30 * waves + noise, 0, 255).astype(np.uint8))


@cache
def neurites(side: int, count: int, *, seed: int = 5) -> NDArray[Any]:
    """Return side^3 uint64 labels that wind through each other as neurites do; the first is large.

    Every voxel has the label of the nearest of some random walks, each of which keeps its
    direction for a while; the large one is as long as twenty others. A tenth, the farthest from
    all of them, is 0.
    """
    random = np.random.default_rng(seed)
    lengths = [side] * count
    lengths[0] *= 20
    seeds = np.zeros((side,) * 3, np.uint16)
    for number, length in enumerate(lengths, 1):
        seeds[tuple(_walk(random, side, length).T)] = number
    away, nearest = distance_transform_edt(seeds == 0, return_indices=True)
    cells = np.where(away > np.quantile(away, 0.9), 0, seeds[tuple(nearest)])
    ids = np.random.default_rng(1).integers(1, 2**50, count + 1, dtype=np.uint64)
    ids[0] = 0
    return np.asfortranarray(ids[cells])


def brain_parcels() -> NDArray[Any]:
    """Return uint64 labels of a real brain: the tissues of the MNI template that nilearn ships.

    White matter is label 1 on the left and 2 on the right. Grey matter is cut into parcels, each
    what is nearest to one of the 264 regions of Power and others (2011). The rest is 0.
    """
    data = files("nilearn.datasets") / "data"
    tissues = []
    for tissue in ("gm", "wm"):
        with as_file(data / f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz") as path:
            image = nibabel.load(path)
            tissues.append(np.asarray(image.dataobj))
    grey, white = tissues
    half = np.iinfo(grey.dtype).max / 2
    voxels = np.argwhere(grey > half)
    with as_file(data / "power_2011.csv") as path:
        regions = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(1, 2, 3))
    world = nibabel.affines.apply_affine(image.affine, voxels)
    labels = np.zeros(grey.shape, np.uint64, order="F")
    labels[tuple(voxels.T)] = cKDTree(regions).query(world)[1] + 3
    voxels = np.argwhere((white > half) & (grey <= half))
    side = nibabel.affines.apply_affine(image.affine, voxels)[:, 0] > 0
    labels[tuple(voxels.T)] = side + 1
    return labels


def _walk(random: np.random.Generator, side: int, length: int) -> NDArray[Any]:
    """Return the voxels of a random walk that turns back where the cube ends."""
    turns = random.normal(0, 0.15, (length, 3))
    direction = random.normal(size=3)
    steps = np.empty((length, 3))
    for number, turn in enumerate(turns):
        direction = direction + turn
        direction /= np.linalg.norm(direction)
        steps[number] = direction
    along = (random.random(3) * side + np.cumsum(steps, axis=0)) % (2 * side)
    return np.minimum(along, 2 * side - 1e-9 - along).clip(0, side - 1).astype(np.int64)
