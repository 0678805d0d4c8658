"""Where a volume lies in the world: its `transform.json`, checked, and affines of its scales."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from ngcore.arrays.affines import Affine, world_nm_to_affine
from ngcore.errors import InputError, InputNotFoundError
from ngcore.precomputed.names import TRANSFORM_NAME
from ngcore.precomputed.transform import parse_transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.storage import ReadableStore
    from ngcore.volume.scale import ScaleArray

Space = Literal["native", "world"]


def world_transform(store: ReadableStore) -> Affine | None:
    """Return the matrix from a volume's nanometres to the world's, None where there is none.

    Raises
    ------
    FormatError
        `transform.json` holds no 4x4 affine matrix that can be inverted.
    """
    document = store.get(TRANSFORM_NAME)
    if document is None:
        return None
    return parse_transform(document, f"{store.location}/{TRANSFORM_NAME}")


def has_world(transform: Affine | None) -> bool:
    """Whether a transform leads anywhere: the identity stands for a source without an affine."""
    return transform is not None and not np.array_equal(transform, np.eye(4))


def world_bounds_mm(scale: ScaleArray, transform: Affine | None) -> NDArray[np.float64]:
    """Return the lowest and the highest corner, shape (2, 3), of a scale in its world.

    Where it has none, in its own millimetres.
    """
    start = np.array(scale.voxel_offset, np.float64)
    corners = start + np.array(list(np.ndindex(2, 2, 2))) * np.array(scale.shape[:3])
    corners *= scale.resolution
    if transform is not None:
        corners = corners @ transform[:3, :3].T + transform[:3, 3]
    return np.stack([corners.min(axis=0), corners.max(axis=0)]) * 1e-6


def scale_affine(scale: ScaleArray, transform: Affine | None) -> Affine:
    """Return the affine of a scale, from indices of voxel centres to world millimetres.

    Coarse voxels lie on the global grid, which begins at coordinate 0, so their resolution and
    offset say all; where the first one is partial, its centre is that of the whole cell.
    """
    matrix = np.eye(4) if transform is None else transform
    return world_nm_to_affine(matrix, scale.resolution, scale.voxel_offset)


def world_to_native(store: ReadableStore, space: str) -> NDArray[np.float64] | None:
    """Return what moves a surface to a volume's own nanometres; None for those that are there.

    Parameters
    ----------
    store : ReadableStore
        Of the volume.
    space : {"native", "world"}
        Where the coordinates of the surface are.

    Raises
    ------
    InputError
        The volume has no `transform.json`, so no world.
    FormatError
        It holds no 4x4 affine matrix that can be inverted.
    """
    if space == "native":
        return None
    if space != "world":
        raise InputError(f"space must be native or world, got {space!r}")
    world_nm = world_transform(store)
    if world_nm is None:
        raise InputNotFoundError(
            f"{store.location} holds no {TRANSFORM_NAME}, which --space world needs; "
            "pass --space native or --coord-transform"
        )
    return np.asarray(np.linalg.inv(world_nm))
