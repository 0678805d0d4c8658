"""Words of the text formats of surfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Point = tuple[float, float, float]


def point(words: Sequence[bytes] | Sequence[str]) -> Point:
    """Return the three numbers of a point.

    Raises
    ------
    ValueError
        There are more or fewer words, or one is no number.
    """
    try:
        x, y, z = words
        return float(x), float(y), float(z)
    except ValueError:
        raise ValueError("a vertex is three numbers") from None
