"""STL: triangles without an index, as text or binary.

https://www.fabbers.com/tech/STL_Format
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError
from ngcore.sources.surfaces.parsed import Parsed, point

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.sources.surfaces.parsed import Point

_COUNT_OFFSET, _HEADER_BYTES = 80, 84
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
_IDLE_WORDS = frozenset([b"solid", b"endsolid", b"facet", b"endfacet"])


def parse_stl(data: bytes, name: str) -> Parsed:
    """Return the vertices and triangles of an STL file; corners at equal places are one vertex.

    Parameters
    ----------
    data : bytes
        The file. It is binary if its length is what its facet count says, whatever it starts
        with: binary files that start with `solid` are common.
    name : str
        What to call it in errors.

    Raises
    ------
    FormatError
        If the bytes are neither kind of STL, or end early.
    """
    count = int.from_bytes(data[_COUNT_OFFSET:_HEADER_BYTES], "little")
    needed = _HEADER_BYTES + count * _FACET.itemsize
    if len(data) >= _HEADER_BYTES and len(data) == needed:
        facets = np.frombuffer(data, _FACET, offset=_HEADER_BYTES)
        corners = facets["corners"].reshape(-1, 3).astype(np.float64)
    elif _is_text(data):
        corners = _text_corners(data.removeprefix(BOM_UTF8), name)
    elif len(data) < _HEADER_BYTES:
        raise FormatError(f"{name!r} is not an STL file: it has {len(data)} bytes and no 'solid'")
    else:
        raise FormatError(
            f"binary STL {name!r} declares {count} facets, which take {needed} bytes, "
            f"but it has {len(data)} bytes"
        )
    vertices, triangles = _merge_equal(corners)
    header = data[:_COUNT_OFFSET] if len(data) == needed else data[:1000].split(b"\n", 1)[0]
    return Parsed(vertices, triangles, None, header.decode("latin-1"))


def _is_text(data: bytes) -> bool:
    start = data.removeprefix(BOM_UTF8).lstrip()[:5]
    return start.lower() == b"solid" and b"\0" not in data[:_HEADER_BYTES]


def _text_corners(data: bytes, name: str) -> NDArray[np.float64]:
    corners: list[Point] = []
    loop_start: int | None = None
    last_word = b""
    for number, line in enumerate(data.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        last_word = words[0].lower()
        try:
            if last_word == b"vertex" and loop_start is not None:
                corners.append(point(words[1:]))
                continue
        except ValueError as error:
            raise FormatError(f"{name!r}, line {number}: {error}") from error
        if last_word == b"outer" and loop_start is None:
            loop_start = len(corners)
        elif last_word == b"endloop" and loop_start is not None:
            if len(corners) - loop_start != 3:
                raise FormatError(
                    f"{name!r}, line {number}: a facet has {len(corners) - loop_start} corners; "
                    "STL facets are triangles"
                )
            loop_start = None
        elif last_word not in _IDLE_WORDS or loop_start is not None:
            word = last_word[:20].decode("latin-1")
            raise FormatError(f"{name!r}, line {number}: unexpected {word!r} in an STL file")
    if last_word != b"endsolid":
        raise FormatError(f"{name!r} ends without 'endsolid': the file is truncated")
    return np.array(corners, dtype=np.float64).reshape(-1, 3)


def _merge_equal(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    order = np.lexsort(corners.T)
    in_order = corners[order]
    is_first = np.ones(len(corners), dtype=bool)
    is_first[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    index = np.empty(len(corners), dtype=np.int64)
    index[order] = np.cumsum(is_first) - 1
    return in_order[is_first], index.reshape(-1, 3)
