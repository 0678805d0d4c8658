"""OBJ and OFF: polygons as text, of which only the geometry is read.

Polygons of more than three corners are cut into triangles.

https://paulbourke.net/dataformats/obj/ and https://www.geomview.org/docs/html/OFF.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.surfaces.parsed import Parsed, numbers_of, point, triangulated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.sources.surfaces.parsed import Point

# Normals, colours and texture places may follow each position; 4OFF and nOFF have other positions.
_OFF_KEYWORD = re.compile(rb"(?:ST)?C?N?OFF")
_MAX_INDEX = 2**32
_HEAD_BYTES = 1 << 14
"""Where comments that tell of coordinates stand."""


def parse_obj(data: bytes, name: str) -> Parsed:
    """Return the vertices and triangles of an OBJ file, its objects and groups taken together.

    Vertices keep the file's order; texture places, normals and materials are passed over.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What to call it in errors.

    Raises
    ------
    FormatError
        If a vertex or face is malformed.
    """
    vertices: list[Point] = []
    faces: list[list[int]] = []
    places: list[int] = []
    # A backslash at the end of a line continues it.
    lines = data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines()
    quick = _uniform_obj(lines)
    if quick is not None:
        return quick._replace(header=_comments(data))
    for number, line in enumerate(lines, start=1):
        words = line.split()
        try:
            if words and words[0] == b"v":
                vertices.append(point(words[1:4]))
            elif words and words[0] == b"f":
                corners = [_obj_index(word.split(b"/", 1)[0], len(vertices)) for word in words[1:]]
                faces.append(_face(corners))
                places.append(number)
        except ValueError as error:
            raise FormatError(f"{name!r}, line {number}: {error}") from error
    return _arrays(vertices, faces, places, data, name)


def parse_off(data: bytes, name: str) -> Parsed:
    """Return the vertices and triangles of an OFF file (text; OFF, COFF, NOFF, STOFF).

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What to call it in errors.

    Raises
    ------
    FormatError
        If the file has another header, a malformed line, or fewer lines than it announces.
    """
    lines = [
        (number, words)
        for number, text in enumerate(data.splitlines(), start=1)
        if (words := text.split(b"#", 1)[0].split())
    ]
    if not lines or not _OFF_KEYWORD.fullmatch(lines[0][1][0]):
        raise FormatError(f"{name!r} is not an OFF file: it does not start with OFF")
    if lines[0][1][1:2] == [b"BINARY"]:
        raise InputError(f"{name!r} is a binary OFF file; save it as text or as PLY")
    keyword_line, (_, *after_keyword) = lines.pop(0)
    if after_keyword:
        lines.insert(0, (keyword_line, after_keyword))
    number = keyword_line
    try:
        number, counts = lines[0] if lines else (number, [])
        vertex_count, face_count = (_off_count(word) for word in counts[:2])
        if len(lines) < 1 + vertex_count + face_count:
            raise ValueError(
                f"{vertex_count} vertices and {face_count} faces are declared, "
                f"but {len(lines) - 1} lines follow"
            )
        vertices = []
        for line in lines[1 : 1 + vertex_count]:
            number, words = line
            vertices.append(point(words[:3]))
        faces = []
        for line in lines[1 + vertex_count :][:face_count]:
            number, words = line
            corner_count = _off_count(words[0])
            if len(words) - 1 < corner_count:
                raise ValueError(
                    f"a face declares {corner_count} corners, but lists {len(words) - 1}"
                )
            faces.append(_face([_off_count(word) for word in words[1 : 1 + corner_count]]))
    except ValueError as error:
        raise FormatError(f"{name!r}, line {number}: {error}") from error
    places = [number for number, _ in lines[1 + vertex_count :]]
    return _arrays(vertices, faces, places, data, name)


def _uniform_obj(lines: Sequence[bytes]) -> Parsed | None:
    """Read the plainest files as a whole: the same words in each vertex, and in each face.

    Returns None for others, and for what is wrong: reading line by line tells where.
    """
    vertices = [line[2:] for line in lines if line.startswith(b"v ")]
    faces = [line[2:] for line in lines if line.startswith(b"f ")]
    if not vertices or not faces:
        return None
    others = sum(line.lstrip()[:2] in (b"v ", b"f ", b"v\t", b"f\t") for line in lines)
    width, corners = len(vertices[0].split()), len(faces[0].split())
    words = b" ".join(vertices).split()
    indices = re.sub(rb"/\S*", b"", b" ".join(faces)).split()
    is_uniform = (
        others == len(vertices) + len(faces)
        and width >= 3
        and corners >= 3
        and len(words) == width * len(vertices)
        and len(indices) == corners * len(faces)
        and all(len(line.split()) == width for line in vertices)
        and all(len(line.split()) == corners for line in faces)
    )
    if not is_uniform:
        return None
    try:
        positions = numbers_of(words, "f8").reshape(-1, width)[:, :3]
        numbers = numbers_of(indices, "i8")
    except ValueError:
        return None
    if numbers.min() < 1:
        return None
    try:
        counts = np.full(len(faces), corners)
        triangles = triangulated(counts, numbers - 1, positions, str)
    except ValueError:
        return None
    return Parsed(positions, triangles)


def _obj_index(word: bytes, vertex_count: int) -> int:
    """Return an index from 0: OBJ counts from 1, or back from the latest vertex."""
    value = int(word)
    index = value - 1 if value > 0 else vertex_count + value
    if value == 0 or not 0 <= index < _MAX_INDEX:
        raise ValueError(
            f"a face refers to vertex {value}, but only {vertex_count} vertices come before it"
        )
    return index


def _off_count(word: bytes) -> int:
    value = int(word)
    if not 0 <= value < _MAX_INDEX:
        raise ValueError(f"{value} is not a count or index")
    return value


def _face(corners: list[int]) -> list[int]:
    if len(corners) < 3:
        raise ValueError(f"a face has {len(corners)} corners, but needs at least 3")
    return corners


def _arrays(
    vertices: list[Point], faces: list[list[int]], lines: list[int], data: bytes, name: str
) -> Parsed:
    places = np.array(vertices, dtype=np.float64).reshape(-1, 3)
    counts = np.array([len(corners) for corners in faces], np.int64)
    corners = np.array([corner for face in faces for corner in face], np.int64)

    def line(face: int) -> str:
        return f"{name!r}, line {lines[face]}"

    return Parsed(places, triangulated(counts, corners, places, line), None, _comments(data))


def _comments(data: bytes) -> str:
    comments = [line for line in data[:_HEAD_BYTES].splitlines() if line.lstrip().startswith(b"#")]
    return b"\n".join(comments).decode("latin-1")
