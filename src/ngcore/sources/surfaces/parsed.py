"""What each reader of a surface gives, and what they share: polygons as triangles, counts."""

from __future__ import annotations

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


def fans(counts: NDArray[Any], corners: NDArray[Any]) -> NDArray[np.int64]:
    """Cut polygons into triangles around their first corner.

    Parameters
    ----------
    counts : array of int, shape (n,)
        Corners of each polygon.
    corners : array of int
        The corners of all polygons, one after the other.

    Returns
    -------
    array of int64, shape (m, 3)

    Raises
    ------
    ValueError
        A polygon has less than three corners.
    """
    counts = counts.astype(np.int64)
    if counts.size and counts.min() < 3:
        raise ValueError(f"a face of {counts.min()} corners; it needs 3 or more")
    pieces = counts - 2
    starts = np.repeat(np.cumsum(counts) - counts, pieces)
    turns = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    triangles = np.stack([starts, starts + turns + 1, starts + turns + 2], axis=1)
    found: NDArray[np.int64] = np.asarray(corners, dtype=np.int64)[triangles]
    return found
