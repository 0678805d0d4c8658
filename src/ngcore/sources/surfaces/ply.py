"""PLY: elements with properties that the header lists, as text or binary.

Read are the vertices' x, y, z and the faces' vertex_indices, polygons of any number of corners.
https://paulbourke.net/dataformats/ply/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.surfaces.parsed import Parsed, numbers_of, triangulated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2",
    "ushort": "u2", "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8", "int64": "i8",
    "uint64": "u8",
}  # fmt: skip
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}
_MOST = 1 << 40


@dataclass(frozen=True, slots=True)
class _Property:
    name: str
    type: str
    count_type: str | None = None
    """Of a list: the type of its length."""

    @property
    def text_type(self) -> str:
        """The type of what text says, whose digits a smaller one would cut off."""
        return f"{self.type[0]}8"


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    count: int
    properties: tuple[_Property, ...]


def parse_ply(data: bytes, name: str) -> Parsed:
    """Return the vertices and triangles of a PLY file.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What to call it in errors.

    Raises
    ------
    FormatError
        If the header is malformed, or what follows is not what it announces.
    """
    head, end, _ = data.partition(b"end_header")
    if not data.startswith(b"ply") or not end:
        raise FormatError(f"{name!r} is not a PLY file: it has no PLY header")
    body_at = len(head) + len(end)
    body_at += 2 if data[body_at : body_at + 2] == b"\r\n" else 1
    lines = head.decode("latin-1").splitlines()
    try:
        kind, elements = _elements(lines)
        body: _Body = (
            _Text(data[body_at:].split())
            if kind == "ascii"
            else _Binary(data, body_at, _BYTE_ORDERS[kind])
        )
        found = {element.name: _read(body, element) for element in elements}
        body.check_end()
        vertices = np.stack([found["vertex"][axis][1] for axis in "xyz"], axis=1)
        faces = found["face"]
        counts, corners = faces["vertex_indices" if "vertex_indices" in faces else "vertex_index"]
        if counts is None or corners.dtype.kind not in "iu":
            raise ValueError("the vertex_indices of faces must be a list of whole numbers")
        triangles = triangulated(counts, corners, vertices, lambda at: f"{name!r}, face {at + 1}")
    except InputError:
        raise  # of what is no fault of the file
    except KeyError as error:
        raise FormatError(f"{name!r}: the PLY header lacks {error}") from error
    except (ValueError, MemoryError) as error:
        raise FormatError(f"{name!r}: PLY: {error}") from error
    comments = [line for line in lines if line.startswith(("comment", "obj_info"))]
    return Parsed(vertices.astype(np.float64), triangles, None, "\n".join(comments))


def _elements(lines: Sequence[str]) -> tuple[str, list[_Element]]:
    kind = ""
    elements: list[_Element] = []
    for line in lines[1:]:
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        match words:
            case ["format", kind, *_] if kind == "ascii" or kind in _BYTE_ORDERS:
                pass
            case ["element", element, count] if count.isdecimal() and int(count[:20]) < _MOST:
                elements.append(_Element(element, int(count), ()))
            case ["property", "list", count_type, item_type, name] if elements:
                elements[-1] = _with(elements[-1], name, item_type, count_type)
            case ["property", scalar_type, name] if elements:
                elements[-1] = _with(elements[-1], name, scalar_type, None)
            case _:
                raise ValueError(f"the header line {line[:60]!r} is not understood")
    if not kind:
        raise ValueError("the header has no format")
    return kind, elements


def _with(element: _Element, name: str, kind: str, count_type: str | None) -> _Element:
    for word in (kind, count_type):
        if word is not None and word not in _TYPES:
            raise ValueError(f"the type {word!r} is not known")
    if count_type is not None and _TYPES[count_type][0] == "f":
        raise ValueError(f"the lengths of the list {name!r} are of type {count_type!r}")
    if any(other.name == name for other in element.properties):
        raise ValueError(f"the property {name!r} occurs twice")
    one = _Property(name, _TYPES[kind], None if count_type is None else _TYPES[count_type])
    return _Element(element.name, element.count, (*element.properties, one))


_Values = tuple["NDArray[Any] | None", "NDArray[Any]"]
"""Of a property: lengths of its lists (None for a scalar), and the values of all rows."""


class _Body(Protocol):
    def uniform(self, element: _Element, lengths: Sequence[int | None]) -> list[_Values] | None:
        """Read rows whose lists all have these lengths; None, and nothing read, if they differ."""

    def lengths(self, element: _Element) -> list[int | None]:
        """Return the lengths of the lists of the next row."""

    def walk(self, element: _Element) -> list[_Values]:
        """Read rows one by one."""

    def check_end(self) -> None:
        """Raise ValueError if something follows."""


def _read(body: _Body, element: _Element) -> dict[str, _Values]:
    values: list[_Values] | None
    if not element.count or not element.properties:
        values = [
            (None if one.count_type is None else np.empty(0, np.int64), np.empty(0, one.type))
            for one in element.properties
        ]
    else:
        values = body.uniform(element, body.lengths(element))
        if values is None:
            values = body.walk(element)
    return {one.name: value for one, value in zip(element.properties, values, strict=True)}


class _Text:
    """Values of a text file: words, whatever lines they stand in."""

    def __init__(self, words: list[bytes]) -> None:
        self._words = words
        self._at = 0

    def check_end(self) -> None:
        if self._at < len(self._words):
            raise ValueError(f"{len(self._words) - self._at} values more than the header declares")

    def lengths(self, element: _Element) -> list[int | None]:
        at, found = self._at, list[int | None]()
        for one in element.properties:
            length = None if one.count_type is None else self._count(at)
            found.append(length)
            at += 1 if length is None else 1 + length
        return found

    def uniform(self, element: _Element, lengths: Sequence[int | None]) -> list[_Values] | None:
        width = sum(1 if length is None else 1 + length for length in lengths)
        words = self._words[self._at : self._at + width * element.count]
        if len(words) < width * element.count:
            return None  # cut off, or rows of other lengths: the walk tells
        values: list[_Values] = []
        column = 0
        for one, length in zip(element.properties, lengths, strict=True):
            if length is None:
                values.append((None, numbers_of(words[column::width], one.text_type)))
                column += 1
                continue
            if set(words[column::width]) != {words[column]}:
                return None
            items = [
                numbers_of(words[column + 1 + n :: width], one.text_type) for n in range(length)
            ]
            flat = np.stack(items, axis=1).ravel() if items else np.empty(0, one.type)
            values.append((np.full(element.count, length), flat))
            column += 1 + length
        self._at += width * element.count
        return values

    def walk(self, element: _Element) -> list[_Values]:
        words: list[list[bytes]] = [[] for _ in element.properties]
        counts: list[list[int]] = [[] for _ in element.properties]
        for _ in range(element.count):
            for n, one in enumerate(element.properties):
                length = 1
                if one.count_type is not None:
                    length = self._count(self._at)
                    counts[n].append(length)
                    self._at += 1
                items = self._words[self._at : self._at + length]
                if len(items) < length:
                    raise ValueError(_cut_off(element))
                words[n] += items
                self._at += length
        return [
            (
                None if one.count_type is None else np.array(counts[n], np.int64),
                numbers_of(words[n], one.text_type),
            )
            for n, one in enumerate(element.properties)
        ]

    def _count(self, at: int) -> int:
        word = self._words[at] if at < len(self._words) else b""
        if not word.isdigit():
            raise ValueError(
                f"expected the length of a list, got {word[:20]!r}; is the file cut off?"
            )
        return int(word[:18])


class _Binary:
    """Values of a binary file."""

    def __init__(self, data: bytes, at: int, byte_order: str) -> None:
        self._data, self._at, self._order = data, at, byte_order

    def check_end(self) -> None:
        rest = len(self._data) - self._at
        if rest > 0 and self._data[self._at : self._at + 16].strip(b"\r\n \0"):
            raise ValueError(f"{rest} bytes more than the header declares")

    def lengths(self, element: _Element) -> list[int | None]:
        at, found = self._at, list[int | None]()
        for one in element.properties:
            length = None
            if one.count_type is not None:
                length = self._count(at, one.count_type, element)
                at += np.dtype(one.count_type).itemsize
            at += np.dtype(one.type).itemsize * (1 if length is None else length)
            found.append(length)
        return found

    def uniform(self, element: _Element, lengths: Sequence[int | None]) -> list[_Values] | None:
        fields: list[Any] = []
        for n, (one, length) in enumerate(zip(element.properties, lengths, strict=True)):
            if one.count_type is not None:
                fields.append((f"n{n}", self._order + one.count_type))
            fields.append((f"v{n}", self._order + one.type, () if length is None else (length,)))
        kind = np.dtype(fields)
        if self._at + kind.itemsize * element.count > len(self._data):
            return None
        rows = np.frombuffer(self._data, kind, element.count, self._at)
        for n, length in enumerate(lengths):
            if length is not None and (rows[f"n{n}"] != length).any():
                return None
        self._at += rows.nbytes
        return [
            (None if length is None else np.full(element.count, length), rows[f"v{n}"].ravel())
            for n, length in enumerate(lengths)
        ]

    def walk(self, element: _Element) -> list[_Values]:
        starts: list[list[int]] = [[] for _ in element.properties]
        counts: list[list[int]] = [[] for _ in element.properties]
        sizes = [np.dtype(one.type).itemsize for one in element.properties]
        for _ in range(element.count):
            for n, one in enumerate(element.properties):
                length = 1
                if one.count_type is not None:
                    length = self._count(self._at, one.count_type, element)
                    self._at += int(one.count_type[1])
                starts[n].append(self._at)
                counts[n].append(length)
                self._at += length * sizes[n]
                if self._at > len(self._data):
                    raise ValueError(_cut_off(element))
        return [
            (
                None if one.count_type is None else np.array(counts[n], np.int64),
                self._gather(np.array(starts[n]), np.array(counts[n]), one.type),
            )
            for n, one in enumerate(element.properties)
        ]

    def _gather(
        self, starts: NDArray[np.int64], counts: NDArray[np.int64], kind: str
    ) -> NDArray[Any]:
        size = np.dtype(kind).itemsize
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        places = np.repeat(starts, counts) + size * within
        octets = np.frombuffer(self._data, np.uint8)[places[:, np.newaxis] + np.arange(size)]
        found: NDArray[Any] = octets.view(self._order + kind).ravel()
        return found

    def _count(self, at: int, kind: str, element: _Element) -> int:
        octets = self._data[at : at + int(kind[1])]
        if len(octets) < int(kind[1]):
            raise ValueError(_cut_off(element))
        length = int(np.frombuffer(octets, self._order + kind)[0])
        if not 0 <= length <= len(self._data):
            raise ValueError(f"{element.name!r} has a list of {length} values")
        return length


def _cut_off(element: _Element) -> str:
    return f"the file is truncated: {element.count} of {element.name!r} are expected"
