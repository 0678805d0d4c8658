"""MNI's OBJ, as CIVET and the BigBrain project write it: polygons as text, in MNI space.

It shares nothing with Wavefront's format but the ending.
https://www.bic.mni.mcgill.ca/~david/Volume_Viewing/MNI_Formats.html (objects, polygons)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.surfaces.parsed import Parsed, numbers_of, triangulated

if TYPE_CHECKING:
    from numpy.typing import NDArray

_START = re.compile(rb"\s*[PL](\s+[0-9.eE+-]+){2,}")
_SURFACE_PROPERTIES = 5
_COLOURS = {0: "one", 1: "each polygon", 2: "each point"}


def is_mni_obj(data: bytes) -> bool:
    """Whether a file starts as MNI's objects do: ``P 0.3 0.3 0.4 10 1 40962``."""
    return _START.match(data[:200]) is not None or (data[:1] == b"p" and b"\0" in data[:40])


def parse_mni_obj(data: bytes, name: str) -> Parsed:
    """Return the points and triangles of an MNI polygons object.

    Parameters
    ----------
    data : bytes
        The file, as text.
    name : str
        What to call it in errors.

    Raises
    ------
    InputError
        If it is not text of polygons.
    FormatError
        If it is malformed or cut off.
    """
    words = data.split()
    if words[:1] != [b"P"]:
        what = "lines" if words[:1] == [b"L"] else "binary"
        raise InputError(
            f"{name!r} is an MNI OBJ file of {what}; only text of polygons (P) is read: "
            "save it as that (MINC's ascii_binary makes text)"
        )
    try:
        reader = _Words(words[1:])
        reader.take(_SURFACE_PROPERTIES, "f8")
        count = reader.count()
        vertices = reader.take(3 * count, "f8").reshape(-1, 3)
        reader.take(3 * count, "f8")  # normals
        polygons = reader.count()
        flag = reader.count()
        if flag not in _COLOURS:
            raise ValueError(f"the colour flag {flag} is not 0, 1 or 2")
        reader.take(4 * (1, polygons, count)[flag], "f8")
        ends = reader.take(polygons, "i8")
        counts = np.diff(ends, prepend=0)
        corners = reader.take(int(ends[-1]) if polygons else 0, "i8")
        triangles = triangulated(
            counts, corners, vertices, lambda at: f"{name!r}, polygon {at + 1}"
        )
        reader.check_end()
    except InputError:
        raise  # of what is no fault of the file
    except ValueError as error:
        raise FormatError(f"{name!r}: MNI OBJ: {error}") from error
    return Parsed(vertices, triangles)


class _Words:
    def __init__(self, words: list[bytes]) -> None:
        self._words, self._at = words, 0

    def take(self, count: int, kind: str) -> NDArray[np.float64]:
        words = self._words[self._at : self._at + max(0, count)]
        if len(words) != count:
            raise ValueError(
                f"expected {count} numbers, but {len(words)} follow; the file is truncated"
            )
        self._at += count
        return numbers_of(words, kind)

    def count(self) -> int:
        word = self._words[self._at] if self._at < len(self._words) else b""
        if not word.isdigit() or len(word) > 12:
            raise ValueError(f"expected a count, got {word[:20]!r}")
        self._at += 1
        return int(word)

    def check_end(self) -> None:
        if self._at != len(self._words):
            raise ValueError(f"{len(self._words) - self._at} numbers more than expected")
