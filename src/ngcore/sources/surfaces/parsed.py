"""What each reader of a surface gives, and what they share: polygons as triangles, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import InputError
from ngcore.sources.surfaces.ears import cut_ears

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        raise ValueError(f"expected a number: {error}") from error


_FLAT = 1e-9
"""Of a polygon's area: what a fan may turn over without a thought."""
_ROUNDED = 1e-4
"""Of a polygon's area: what rounded coordinates may turn over in a fan."""
_MOST_WORK = 1 << 25
"""Of all larger polygons that turn inwards: what takes seconds, not hours."""
_WORK_OF_CORNER = 32
"""Besides the look at the other corners, in such looks."""


def _fans(counts: NDArray[Any], corners: NDArray[Any]) -> NDArray[np.int64]:
    """Cut polygons into triangles around their first corner."""
    counts = counts.astype(np.int64)
    if counts.size and counts.min() < 3:
        raise ValueError(f"a face has {counts.min()} corners, but needs at least 3")
    pieces = counts - 2
    starts = np.repeat(np.cumsum(counts) - counts, pieces)
    turns = _runs(np.zeros_like(pieces), pieces)
    triangles = np.stack([starts, starts + turns + 1, starts + turns + 2], axis=1)
    found: NDArray[np.int64] = np.asarray(corners, dtype=np.int64)[triangles]
    return found


def triangulated(
    counts: NDArray[Any],
    corners: NDArray[Any],
    vertices: NDArray[np.float64],
    place: Callable[[int], str],
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
    place : callable
        Says in which file and where the polygon of an index from 0 stands.

    Returns
    -------
    array of int64, shape (m, 3)

    Raises
    ------
    ValueError
        A polygon has less than three corners.
    InputError
        Polygons that turn inwards have too many corners to be cut within seconds.
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
        turned = np.add.reduceat(np.minimum(along, 0), firsts)
        share = -turned / (whole * whole).sum(axis=1)
    faces = np.flatnonzero(share > _FLAT)
    starts = np.cumsum(counts, dtype=np.int64) - counts
    quads = faces[counts[faces] == 4]
    names = corners[starts[quads][:, None] + np.arange(4)].astype(np.int64)
    triangles[firsts[quads]] = names[:, [1, 2, 3]]
    triangles[firsts[quads] + 1] = names[:, [1, 3, 0]]
    many = faces[counts[faces] > 4]
    if _work(counts[many])[-1:].sum() > _MOST_WORK:
        many = many[share[many] > _ROUNDED]
    is_too_much = _work(counts[many]) > _MOST_WORK
    if is_too_much.any():
        face = int(many[np.argmax(is_too_much)])
        which = "cutting it" if len(many) == 1 else f"cutting the {len(many)} that do"
        raise InputError(
            f"{place(face)}: a face with {counts[face]} corners turns inwards; {which} would take "
            "too long; save the surface as triangles"
        )
    if len(many):
        rows, names = _runs(firsts[many], pieces[many]), _runs(starts[many], counts[many])
        ears = cut_ears(counts[many].astype(np.int64), vertices[corners[names]], whole[many])
        triangles[rows] = corners[names][ears]
    return triangles


def _work(counts: NDArray[Any]) -> NDArray[np.float64]:
    lengths = counts.astype(np.float64)
    return np.cumsum(lengths * (lengths + _WORK_OF_CORNER))


def _runs(starts: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return the numbers of runs, one run after the other."""
    lengths = lengths.astype(np.int64)
    skipped: NDArray[np.int64] = starts - (np.cumsum(lengths) - lengths)
    return np.repeat(skipped, lengths) + np.arange(lengths.sum())
