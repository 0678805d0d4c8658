"""VTK PolyData in the legacy format, as text or binary, of all its versions.

https://docs.vtk.org/en/latest/vtk_file_formats/vtk_legacy_file_format.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.surfaces.parsed import Parsed, numbers_of, triangulated

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = b"# vtk DataFile"
_START = re.compile(
    rb"# vtk DataFile[^\n]*\n([^\n]*)\n\s*(ASCII|BINARY)\s*?\n\s*DATASET\s+(\w+)[^\n]*\n", re.I
)
_SECTION = re.compile(
    rb"^[ \t]*(POINTS|VERTICES|LINES|POLYGONS|TRIANGLE_STRIPS|OFFSETS|CONNECTIVITY|POINT_DATA|"
    rb"CELL_DATA|METADATA|FIELD)[ \t]+(\w+)(?:[ \t]+(\w+))?[ \t]*\r?\n|^[ \t]*METADATA\s*?\n",
    re.I | re.M,
)
_TYPES = {
    "char": "i1", "unsigned_char": "u1", "short": "i2", "unsigned_short": "u2", "int": "i4",
    "unsigned_int": "u4", "long": "i8", "unsigned_long": "u8", "float": "f4", "double": "f8",
    "vtktypeint64": "i8", "vtktypeint32": "i4", "vtkidtype": "i4", "vtktypeuint64": "u8",
}  # fmt: skip


def parse_vtk(data: bytes, name: str) -> Parsed:
    """Return the points and triangles of a legacy VTK file; lines and vertices are passed over.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What to call it in errors.

    Raises
    ------
    InputError
        If it is a grid, not PolyData.
    FormatError
        If its header is malformed, or its sections are not as long as they say.
    """
    start = _START.match(data)
    if start is None:
        raise FormatError(
            f"{name!r} is not a legacy VTK file: its four header lines are malformed"
        )
    if start[3].upper() != b"POLYDATA":
        kind = start[3][:30].decode("latin-1")
        raise InputError(
            f"{name!r} holds a VTK {kind}, not PolyData; extract its surface (in ParaView: "
            "Extract Surface)"
        )
    reader = _Reader(data, name, start.end(), is_binary=start[2].upper() == b"BINARY")
    try:
        points, triangles = reader.read()
    except InputError:
        raise  # of what is no fault of the file
    except (ValueError, MemoryError) as error:
        raise FormatError(f"{name!r}: VTK: {error}") from error
    if points is None:
        raise FormatError(f"{name!r}: VTK: it has no POINTS")
    return Parsed(points, triangles, None, start[1].decode("latin-1"))


class _Reader:
    def __init__(self, data: bytes, name: str, at: int, *, is_binary: bool) -> None:
        self._data, self._name, self._at, self._is_binary = data, name, at, is_binary

    def read(self) -> tuple[NDArray[np.float64] | None, NDArray[np.int64]]:
        points: NDArray[np.float64] | None = None
        triangles = [np.empty((0, 3), np.int64)]
        polygons = []
        while (section := self._next()) is not None:
            keyword, first, second = section
            if keyword in ("POINT_DATA", "CELL_DATA"):
                break  # what follows are values at the points
            if keyword == "POINTS":
                flat = self._numbers(3 * _count(first), second)
                points = flat.astype(np.float64).reshape(-1, 3)
            elif keyword in ("VERTICES", "LINES", "POLYGONS", "TRIANGLE_STRIPS"):
                counts, corners = self._cells(_count(first), _count(second))
                if keyword == "POLYGONS":
                    polygons.append((counts, corners))
                elif keyword == "TRIANGLE_STRIPS":
                    triangles.append(_strips(counts, corners))
        places = np.empty((0, 3)) if points is None else points
        cut = [triangulated(*polygon, places, self._place) for polygon in polygons]
        return points, np.concatenate([*cut, *triangles])

    def _place(self, polygon: int) -> str:
        return f"{self._name!r}, polygon {polygon + 1}"

    def _next(self) -> tuple[str, str, str] | None:
        """Return the next section's keyword and words, and go to what follows that line."""
        found = _SECTION.search(self._data, self._at)
        if found is None:
            return None
        self._at = found.end()
        words = [(word or b"").decode("latin-1") for word in found.groups()]
        return words[0].upper(), words[1], words[2]

    def _numbers(self, count: int, kind: str) -> NDArray[Any]:
        if kind.lower() not in _TYPES:
            raise ValueError(f"values of type {kind[:30]!r}")
        code = _TYPES[kind.lower()]
        if self._is_binary:
            size = count * int(code[1])
            if size > len(self._data) - self._at:
                raise ValueError(
                    f"the file is truncated: expected {count} values at byte {self._at}"
                )
            found = np.frombuffer(self._data, f">{code}", count, self._at)
            self._at += size
            return found
        end = _SECTION.search(self._data, self._at)
        text = self._data[self._at : len(self._data) if end is None else end.start()]
        words = text.split()
        if len(words) != count:
            raise ValueError(f"{len(words)} values, but {count} are expected")
        self._at += len(text)
        return numbers_of(words, code)

    def _cells(self, first: int, second: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return how many corners each cell has, and the corners of all."""
        at = self._at
        section = self._next()
        if section is not None and section[0] == "OFFSETS":
            # version 5.1: one more offset than cells, and the corners
            offsets = self._numbers(first, section[1]).astype(np.int64)
            section = self._next()
            if section is None or section[0] != "CONNECTIVITY":
                raise ValueError("OFFSETS without CONNECTIVITY")
            corners = self._numbers(second, section[1])
            counts = np.diff(offsets)
            is_sound = offsets.size == 0 or (offsets[0] == 0 and offsets[-1] == corners.size)
            if not is_sound or (counts < 0).any():
                raise ValueError("the offsets of cells don't fit their corners")
            return counts, corners
        self._at = at
        flat = self._numbers(second, "int").astype(np.int64)
        if first and flat.size == 4 * first and (flat[::4] == 3).all():
            return flat[::4], flat.reshape(-1, 4)[:, 1:].ravel()
        return _counted(flat, first)


def _counted(flat: NDArray[np.int64], cells: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part cells that each begin with the number of their corners."""
    counts: list[int] = []
    is_corner = np.ones(flat.size, bool)
    at = 0
    for _ in range(cells):
        if at >= flat.size or not 0 <= flat[at] < flat.size - at:
            raise ValueError(f"the sizes of cells differ from those declared, at value {at}")
        counts.append(int(flat[at]))
        is_corner[at] = False
        at += 1 + counts[-1]
    if at != flat.size:
        raise ValueError(f"{flat.size - at} values more than the cells take")
    return np.array(counts, np.int64), flat[is_corner]


def _strips(counts: NDArray[Any], corners: NDArray[Any]) -> NDArray[np.int64]:
    """Cut strips into triangles; every other one turns the other way."""
    starts = np.cumsum(counts) - counts
    pieces = [np.empty((0, 3), np.int64)]
    for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
        strip = np.asarray(corners[start : start + count], np.int64)
        rows = np.stack([strip[:-2], strip[1:-1], strip[2:]], axis=1) if count >= 3 else pieces[0]
        rows[1::2] = rows[1::2, ::-1]
        pieces.append(rows)
    return np.concatenate(pieces)


def _count(word: str) -> int:
    if not word.isdecimal() or len(word) > 15:
        raise ValueError(f"expected a count, got {word[:30]!r}")
    return int(word)
