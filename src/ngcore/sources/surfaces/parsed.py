"""What each reader of a surface gives, and what they share: polygons as triangles, counts."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Point = tuple[float, float, float]


class Parsed(NamedTuple):
    """A surface as its file has it, unchecked.

    Attributes
    ----------
    vertices : array of float, shape (n, 3), in the file's unit
    triangles : array of int, shape (m, 3)
    affine_mm : array of float64, shape (4, 4), or None
        From the vertices' space to the space they are to be seen in.
    header : str
        Where the file may name its coordinate system and unit.
    """

    vertices: NDArray[Any]
    triangles: NDArray[Any]
    affine_mm: NDArray[np.float64] | None = None
    header: str = ""


def point(words: Sequence[bytes] | Sequence[str]) -> Point:
    """Return the three numbers of a point.

    Raises
    ------
    ValueError
        There are more or fewer words, or one is not a number.
    """
    try:
        x, y, z = words
        return float(x), float(y), float(z)
    except ValueError:
        raise ValueError("a vertex is three numbers") from None


def numbers_of(words: Sequence[bytes], kind: str) -> NDArray[Any]:
    """Return words of text as numbers of a NumPy type.

    Raises
    ------
    ValueError
        One is none.
    """
    if not words:
        return np.empty(0, kind)
    try:
        # NumPy parses bytes as a whole far quicker than Python word by word.
        return np.array(words).astype(kind)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"a number was expected: {error}") from error


_FLAT = 1e-9
"""Of a polygon's own area: a triangle of less may point anywhere."""
_MOST_WORK = 1 << 20
"""Squared corners of all larger polygons that turn inwards: what takes seconds, not hours."""


def _fans(counts: NDArray[Any], corners: NDArray[Any]) -> NDArray[np.int64]:
    """Cut polygons into triangles around their first corner."""
    counts = counts.astype(np.int64)
    if counts.size and counts.min() < 3:
        raise ValueError(f"a face of {counts.min()} corners; it needs 3 or more")
    pieces = counts - 2
    starts = np.repeat(np.cumsum(counts) - counts, pieces)
    turns = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    triangles = np.stack([starts, starts + turns + 1, starts + turns + 2], axis=1)
    found: NDArray[np.int64] = np.asarray(corners, dtype=np.int64)[triangles]
    return found


def triangulated(
    counts: NDArray[Any], corners: NDArray[Any], vertices: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Cut polygons into triangles that cover them, also those that turn inwards somewhere.

    A fan around the first corner would cover what such a polygon leaves out.

    Parameters
    ----------
    counts : array of int, shape (n,)
        Corners of each polygon.
    corners : array of int
        The corners of all polygons, one after the other.
    vertices : ndarray of float64, shape (v, 3)

    Returns
    -------
    array of int64, shape (m, 3)

    Raises
    ------
    ValueError
        A polygon has less than three corners, or turns inwards and has very many.
    """
    triangles = _fans(counts, corners)
    if not len(triangles) or counts.max() == 3:
        return triangles
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        return triangles  # to be refused as it is
    a, b, c = vertices[triangles].transpose(1, 0, 2)
    with np.errstate(all="ignore"):  # what is not finite is refused later
        normals = np.cross(b - a, c - a)
        pieces = counts.astype(np.int64) - 2
        firsts = np.cumsum(pieces) - pieces
        whole = np.add.reduceat(normals, firsts)
        along = (normals * np.repeat(whole, pieces, axis=0)).sum(axis=1)
        turned = along < -_FLAT * np.repeat((whole * whole).sum(axis=1), pieces)
    faces = np.unique(np.repeat(np.arange(len(counts)), pieces)[turned])
    starts = np.cumsum(counts, dtype=np.int64) - counts
    quads = faces[counts[faces] == 4]
    names = corners[starts[quads][:, None] + np.arange(4)].astype(np.int64)
    triangles[firsts[quads]] = names[:, [1, 2, 3]]
    triangles[firsts[quads] + 1] = names[:, [1, 3, 0]]
    many = faces[counts[faces] > 4].tolist()
    if sum(counts[many].astype(float) ** 2) > _MOST_WORK:
        raise ValueError(
            f"{len(many)} faces of five corners or more turn inwards; cut them into triangles"
        )
    for face in many:
        names = corners[starts[face] : starts[face] + counts[face]].astype(np.int64)
        rows = slice(firsts[face], firsts[face] + pieces[face])
        triangles[rows] = names[_ears(vertices[names], whole[face])]
    return triangles


def _ears(points: NDArray[np.float64], normal: NDArray[np.float64]) -> list[list[int]]:
    """Cut corner after corner off a polygon, where the triangle holds no other corner."""
    left, start = list(range(len(points))), 0
    found: list[list[int]] = []
    while len(left) > 3:
        # Beside the last ear is mostly the next one.
        turns = ((start + turn) % len(left) for turn in range(len(left)))
        ear = next((at for at in turns if _is_ear(points[left], at, normal)), None)
        if ear is None:  # it crosses itself, or is bent: no triangles cover it once
            return [*found, *([left[0], *pair] for pair in pairwise(left[1:]))]
        last, after = left[ear - 1], left[(ear + 1) % len(left)]
        found.append([last, left.pop(ear), after])
        start = ear
    return [*found, left]


def _is_ear(points: NDArray[np.float64], at: int, normal: NDArray[np.float64]) -> bool:
    around = [at - 1, at, (at + 1) % len(points)]
    corners = points[around]
    sides = np.roll(corners, -1, axis=0) - corners
    if np.cross(sides[0], sides[1]) @ normal <= 0:
        return False
    others = np.delete(points, around, axis=0)
    inwards = np.cross(sides[:, None], others[None] - corners[:, None]) @ normal
    return not (inwards > 0).all(axis=0).any()
