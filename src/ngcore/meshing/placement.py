"""Whether a surface lies where its volume is: units and spaces are easily mistaken."""

from __future__ import annotations

import contextlib
import itertools
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.affines import NM_PER_MM
from ngcore.errors import FormatError, InputError
from ngcore.volume.world import world_to_native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.precomputed.mesh import Mesh
    from ngcore.storage.base import ReadableStore

    Box = tuple[NDArray[np.float64], NDArray[np.float64]]

logger = logging.getLogger(__name__)

_UNITS = {"um": 1e-3, "nm": 1e-6}
_LEAST = 0.02
"""Of the volume's size: what smaller surfaces would be is no advice."""


def warn_if_outside(
    path: str,
    mesh: Mesh,
    to_native: NDArray[np.float64] | None,
    store: ReadableStore,
    info: dict[str, Any],
) -> None:
    """Warn of a surface that lies wholly outside of its volume, and say what would help.

    Parameters
    ----------
    path : str
        Of the surface.
    mesh : Mesh
        As it was read, before `to_native`.
    to_native : array of float64, shape (4, 4), or None
        What moves it to the volume's own nanometres.
    store : ReadableStore
        Of the volume.
    info : dict
        The members of the volume's `info`.
    """
    box = _volume_box(info)
    if box is None or not len(mesh.vertices_nm):
        return
    corners = _corners(mesh.vertices_nm.min(axis=0), mesh.vertices_nm.max(axis=0))
    placed = _moved(corners, to_native)
    if _overlap(placed, box):
        return
    found = " to ".join(_shown(end) for end in (placed.min(axis=0), placed.max(axis=0)))
    logger.warning(
        "%s: lies far outside of %s: it goes from %s mm, the volume from %s mm; %s",
        path,
        store.location,
        found,
        " to ".join(map(_shown, box)),
        _advice(corners, to_native, store, box),
    )


def _advice(
    corners: NDArray[np.float64],
    to_native: NDArray[np.float64] | None,
    store: ReadableStore,
    box: Box,
) -> str:
    """Return the options with which the surface would lie on the volume."""
    spaces: list[tuple[str, NDArray[np.float64] | None]] = [("", to_native)]
    if to_native is None:
        with contextlib.suppress(InputError, FormatError):  # it may have no world
            spaces.append((" --space world", world_to_native(store, "world")))
    else:
        spaces.append((" --space native", None))
    for units, scale in (("", 1.0), *((f" --units {unit}", s) for unit, s in _UNITS.items())):
        for space, matrix in spaces:
            placed = _moved(corners * scale, matrix)
            # a speck near the origin is on any volume
            is_speck = np.ptp(placed, axis=0).max() < _LEAST * np.ptp(np.stack(box), axis=0).max()
            if _overlap(placed, box) and not (units and is_speck):
                return f"if that is wrong, pass{units}{space}"
    return "check --units, --space and --coord-transform"


def _volume_box(info: dict[str, Any]) -> Box | None:
    """Return the first and last corner of a volume in its own nanometres; None if malformed."""
    try:
        scale = info["scales"][0]
        resolution = np.array(scale["resolution"], float)
        offset = np.array(scale.get("voxel_offset", (0, 0, 0)), float)
        low = offset * resolution
        high = low + np.array(scale["size"], float) * resolution
    except (LookupError, TypeError, ValueError):
        return None
    return (low, high) if low.shape == high.shape == (3,) else None


def _corners(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([*itertools.product(*zip(low, high, strict=True))])


def _moved(points: NDArray[np.float64], matrix: NDArray[np.float64] | None) -> NDArray[np.float64]:
    return points if matrix is None else points @ matrix[:3, :3].T + matrix[:3, 3]


def _overlap(points: NDArray[np.float64], box: Box) -> bool:
    low, high = box
    return bool((points.min(axis=0) <= high).all() and (points.max(axis=0) >= low).all())


def _shown(point: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value / NM_PER_MM:.4g}" for value in point) + ")"
