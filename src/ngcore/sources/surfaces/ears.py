"""Polygons that turn inwards as triangles: corner after corner is cut off where it holds no other.

After a cut only the two corners beside it can become such ears, and only corners that turn inwards
can lie in one: that makes the work at most the square of the corners.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLAT = 1e-12
"""Of twice the polygon's area: a corner of less covers nothing."""


def cut_ears(
    counts: NDArray[np.int64], points: NDArray[np.float64], normals: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the triangles that cover each of some polygons once.

    One that crosses itself, or is bent, is covered as far as there are ears; the rest is a fan.

    Parameters
    ----------
    counts : ndarray of int64, shape (n,)
        Corners of each polygon.
    points : ndarray of float64, shape (p, 3)
        The corners of all, one polygon after the other.
    normals : ndarray of float64, shape (n, 3)
        At right angles to each, as long as twice its area.

    Returns
    -------
    ndarray of int64, shape (p - 2 n, 3)
        Places among the points, polygon after polygon.
    """
    sizes = np.sqrt((normals * normals).sum(axis=1))
    starts = np.cumsum(counts) - counts
    places = _in_planes(
        counts, points - np.repeat(points[starts], counts, axis=0), normals / sizes[:, None]
    )
    found: list[list[int]] = []
    for start, count, size in zip(starts.tolist(), counts.tolist(), sizes.tolist(), strict=True):
        ring = _Ring(places[start : start + count].T.tolist(), _FLAT * size)
        found += ([start + corner for corner in ear] for ear in ring.cut())
    return np.array(found, np.int64).reshape(-1, 3)


def _in_planes(
    counts: NDArray[np.int64], points: NDArray[np.float64], units: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return places in each polygon's plane, seen from where corners go round to the left."""
    along = np.eye(3)[np.argmin(np.abs(units), axis=1)]
    right = np.cross(along, units)
    right /= np.sqrt((right * right).sum(axis=1))[:, None]
    axes = [np.repeat(axis, counts, axis=0) for axis in (right, np.cross(units, right))]
    return np.stack([(points * axis).sum(axis=1) for axis in axes], axis=1)


class _Ring:
    def __init__(self, places: list[list[float]], flat: float) -> None:
        # Numbers of Python are quicker one by one than NumPy's.
        self._x, self._y = places
        self._flat = flat
        count = len(self._x)
        self._before: list[int] = [count - 1, *range(count - 1)]
        self._after: list[int] = [*range(1, count), 0]
        self._left = count
        self._inwards = {corner for corner in range(count) if self._turn(corner) <= 0}

    def cut(self) -> list[list[int]]:
        found: list[list[int]] = []
        corner = 0
        waiting = [one for one in range(self._left - 1, -1, -1) if self._is_ear(one)]
        while self._left > 3:
            ear = self._next_ear(waiting, corner)
            if ear is None:
                break
            before, after = self._before[ear], self._after[ear]
            found.append([before, ear, after])
            self._after[before], self._before[after], self._after[ear] = after, before, -1
            self._left -= 1
            self._inwards.discard(ear)
            corner = after
            for one in (before, after):
                if self._turn(one) > 0:
                    self._inwards.discard(one)
                else:
                    self._inwards.add(one)
                if self._is_ear(one):
                    waiting.append(one)
        rest = self._rest(corner)
        return [*found, *([rest[0], *rest[at : at + 2]] for at in range(1, len(rest) - 1))]

    def _next_ear(self, waiting: list[int], corner: int) -> int | None:
        while waiting:
            ear = waiting.pop()
            if self._after[ear] >= 0 and self._is_ear(ear):
                return ear
        return next(
            (one for one in self._rest(corner) if abs(self._turn(one)) <= self._flat), None
        )

    def _rest(self, corner: int) -> list[int]:
        found = [corner]
        while (corner := self._after[corner]) != found[0]:
            found.append(corner)
        return found

    def _turn(self, corner: int) -> float:
        """Return twice the area of the triangle at a corner, below 0 where it turns inwards."""
        x, y, a, c = self._x, self._y, self._before[corner], self._after[corner]
        return (x[corner] - x[a]) * (y[c] - y[a]) - (y[corner] - y[a]) * (x[c] - x[a])

    def _is_ear(self, corner: int) -> bool:
        if corner in self._inwards:
            return False
        x, y = self._x, self._y
        a, c = self._before[corner], self._after[corner]
        ax, ay, bx, by, cx, cy = x[a], y[a], x[corner], y[corner], x[c], y[c]
        abx, aby, bcx, bcy, cax, cay = bx - ax, by - ay, cx - bx, cy - by, ax - cx, ay - cy
        for other in self._inwards:
            px, py = x[other], y[other]
            if (
                cax * (py - cy) > cay * (px - cx)
                and abx * (py - ay) > aby * (px - ax)
                and bcx * (py - by) > bcy * (px - bx)
                and other not in (a, c)
            ):
                return False
        return True
