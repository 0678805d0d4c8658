"""Surfaces with fewer triangles, close to what they were.

Edges are collapsed by quadric error (Garland and Heckbert, 1997), the smallest error first. The
error of a vertex is the sum of its squared distances from the planes of the triangles it stands
for, so it bounds its distance from each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ngcore.arrays.triangles import Surface, connected_parts, joined, of_used
from ngcore.meshing.libraries import load_library

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ROUNDS = 16
_GROWTH = 4
"""The error that is allowed grows to its bound over so many rounds, as this power."""
_SHARE = 1 / 40
"""Of its own size, how far a surface may change."""
_COARSE_SHARE = 1 / 5
"""In coarser levels of detail."""
_FEWEST = 4
"""Triangles of a closed surface."""
_SPECK = 12
"""Triangles of a box: parts of so many are as simple as their shape allows."""


def simplified(
    surface: Surface,
    max_error: float,
    *,
    units: ArrayLike = 1.0,
    fewest: int = _FEWEST,
    share: float = _SHARE,
) -> Surface:
    """Return a surface with fewer triangles; vertices on open edges stay exactly where they are.

    Parameters
    ----------
    surface : Surface
    max_error : float, in units
        How far vertices may move. It is less for a surface that is small itself.
    units : float or array of 3 floats
        What one unit of the vertices' coordinates is worth along x, y and z.
    fewest : int
        How many triangles to keep at the least.
    share : float
        How far vertices may move at the most, by the diagonal of the box around the surface.
    """
    if len(surface.triangles) <= max(fewest, _FEWEST):
        return surface
    units = np.broadcast_to(np.asarray(units, np.float64), 3)
    vertices = surface.vertices * units
    # Corners that are cut off take a quarter of something small away, and nothing of the large.
    max_error = min(max_error, share * float(np.linalg.norm(np.ptp(vertices, axis=0))))
    worker = load_library("pyfqmr").Simplify()
    worker.setMesh(vertices, surface.triangles.astype(np.int32))
    worker.simplify_mesh(
        target_count=max(fewest, _FEWEST),
        max_iterations=_ROUNDS,
        # The threshold of round i is alpha * (i + K) ** aggressiveness.
        alpha=max_error**2 / _ROUNDS**_GROWTH,
        K=1,
        aggressiveness=_GROWTH,
        preserve_border=True,
        verbose=False,
    )
    fewer, triangles, _ = worker.getMesh()
    if len(triangles) < _FEWEST:
        return surface
    return Surface(fewer / units, triangles.astype(np.int64))


def simplified_parts(surface: Surface, max_error: float, *, units: ArrayLike = 1.0) -> Surface:
    """Return a surface with fewer triangles, in which each connected part keeps its own shape.

    `simplified` would flatten specks beside something large. Parameters are those of it.
    """
    part, count = connected_parts(surface)
    return _simplified_by_size(surface, part, count, max_error, units, _SHARE, most_fewer=None)


def coarser(surface: Surface, max_error: float, *, units: ArrayLike = 1.0) -> Surface:
    """Return a surface with a quarter of the triangles, or more where that errs by too much.

    Small parts lose detail, but are not made flat. Parameters are those of `simplified`.
    """
    part, count = connected_parts(surface)
    of_triangles = part[surface.triangles[:, 0]]
    is_speck = (np.bincount(of_triangles, minlength=count) <= _SPECK)[of_triangles]
    if is_speck.all():
        return surface
    if not is_speck.any():
        return _simplified_by_size(surface, part, count, max_error, units, _COARSE_SHARE, 4)
    specks = of_used(surface.vertices, surface.triangles[is_speck])
    rest = of_used(surface.vertices, surface.triangles[~is_speck])
    return joined([specks, coarser(rest, max_error, units=units)])


def _simplified_by_size(
    surface: Surface,
    part: NDArray[np.intp],
    count: int,
    max_error: float,
    units: ArrayLike,
    share: float,
    most_fewer: int | None,
) -> Surface:
    """Simplify connected parts, those of about one size at once: there may be thousands."""

    def fewer(some: Surface, error: float) -> Surface:
        fewest = len(some.triangles) // most_fewer if most_fewer else _FEWEST
        return simplified(some, error, units=units, fewest=fewest, share=share)

    if count == 1:
        return fewer(surface, max_error)
    low = np.full((count, 3), np.inf)
    high = -low
    np.minimum.at(low, part, surface.vertices)
    np.maximum.at(high, part, surface.vertices)
    bounds = share * np.linalg.norm((high - low) * units, axis=1)
    halvings = np.ceil(np.log2(max_error / np.clip(bounds, max_error * 2.0**-40, max_error)))
    of_triangles = halvings[part[surface.triangles[:, 0]]]
    found = []
    for number in np.unique(of_triangles):
        some = of_used(surface.vertices, surface.triangles[of_triangles == number])
        found.append(fewer(some, max_error / 2**number))
    return joined(found)
