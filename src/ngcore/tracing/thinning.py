"""Streamlines with fewer vertices: none further from its line than a tolerance.

D. Douglas, T. Peucker, Algorithms for the reduction of the number of points required to represent
a digitized line or its caricature, Cartographica 10 (1973); here for all lines at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def thinned(
    points: NDArray[np.floating[Any]], offsets: NDArray[np.int64], tolerance: float
) -> NDArray[np.bool_]:
    """Return which vertices are enough, both ends of each line among them.

    Parameters
    ----------
    points : ndarray of float, shape (vertices, 3), or more columns that count as much
    offsets : ndarray of int64, shape (n + 1,)
        Where each line begins.
    tolerance : float
        How far a vertex that goes may be from the line that is left.

    Returns
    -------
    ndarray of bool, shape (vertices,)
    """
    kept = np.zeros(len(points), np.bool_)
    has_some = offsets[1:] > offsets[:-1]
    kept[offsets[:-1][has_some]] = True
    kept[offsets[1:][has_some] - 1] = True
    first, last = offsets[:-1][has_some], offsets[1:][has_some] - 1
    while True:
        is_open = last - first > 1
        first, last = first[is_open], last[is_open]
        if not first.size:
            return kept
        inside = last - first - 1
        starts = np.cumsum(inside) - inside
        vertices = np.arange(int(inside.sum())) - np.repeat(starts - first - 1, inside)
        begin = points[first].astype(np.float64)
        along = points[last] - begin
        away = points[vertices] - np.repeat(begin, inside, axis=0)
        length = np.einsum("ij,ij->i", along, along)
        share = np.einsum("ij,ij->i", away, np.repeat(along, inside, axis=0))
        with np.errstate(divide="ignore", invalid="ignore"):
            share /= np.repeat(length, inside)
        share = np.clip(np.nan_to_num(share), 0, 1)
        away -= share[:, np.newaxis] * np.repeat(along, inside, axis=0)
        distance = np.einsum("ij,ij->i", away, away)
        furthest = np.maximum.reduceat(distance, starts)
        is_far = furthest > tolerance**2
        # Of several that are as far the first.
        at_most = np.flatnonzero(distance == np.repeat(furthest, inside))
        owner = np.searchsorted(starts, at_most, side="right") - 1
        owners, places = np.unique(owner, return_index=True)
        split = np.empty(len(first), np.int64)
        split[owners] = vertices[at_most[places]]
        split = split[is_far]
        kept[split] = True
        first, last = (
            np.concatenate([first[is_far], split]),
            np.concatenate([split, last[is_far]]),
        )


def directions(points: NDArray[np.float32], offsets: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the direction of the line at each vertex, a unit vector; zeros where it has none."""
    before = np.arange(len(points)) - 1
    after = before + 2
    has_some = offsets[1:] > offsets[:-1]
    before[offsets[:-1][has_some]] += 1
    after[offsets[1:][has_some] - 1] -= 1
    along = points[after].astype(np.float64) - points[before]
    length = np.linalg.norm(along, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.where(length > 0, along / np.where(length > 0, length, 1), 0)
    return unit.astype(np.float32)
