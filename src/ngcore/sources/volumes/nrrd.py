"""NRRD, data attached or in a file beside it, and segmentations of 3D Slicer (`.seg.nrrd`).

https://teem.sourceforge.net/nrrd/format.html and
https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.base import Segment, SuggestedType
from ngcore.sources.containers import foreign_errors, mm_per_unit, need
from ngcore.sources.files import missing_file, open_binary
from ngcore.sources.geometry import placed_header
from ngcore.sources.packed import Packing, open_packed, shape_of
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.gzip_stream import Bzip2Stream, GzipStream
from ngcore.sources.volumes.raw import order_of

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.arrays.affines import Affine
    from ngcore.sources.base import Source

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": (
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64",
        "int64_t",
    ),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_DTYPES = {name: code for code, names in _TYPES.items() for name in names}
_STREAMS = {
    "raw": None,
    "gzip": GzipStream,
    "gz": GzipStream,
    "bzip2": Bzip2Stream,
    "bz2": Bzip2Stream,
}
_SPACES = {
    "ras": "right-anterior-superior",
    "las": "left-anterior-superior",
    "lps": "left-posterior-superior",
}
_WORLD = {
    "right": (0, 1),
    "left": (0, -1),
    "anterior": (1, 1),
    "posterior": (1, -1),
    "superior": (2, 1),
    "inferior": (2, -1),
}
"""World axis and sign of RAS, by the words that spaces are made of."""


class _Geometry(NamedTuple):
    letters: str
    affine: Affine | None
    resolution_nm: tuple[float, float, float] | None
    notes: tuple[str, ...]


@foreign_errors("corrupt NRRD header")
def open_nrrd(found: Found, asked: Asked) -> Source:
    """Open a NRRD file.

    Raises
    ------
    FormatError
        If its header is broken, or it is shorter than that says.
    InputError
        If it can't be shown.
    MissingExtraError
        If pynrrd is not installed.
    """
    nrrd = need("nrrd", "NRRD")
    open_binary(found.path, found.name).close()
    with foreign_errors("corrupt NRRD header"), found.path.open("rb") as file:
        header = nrrd.read_header(file)
        place = file.tell()
        lengths = [int(length) for length in header["sizes"]]
        encoding = str(header.get("encoding", "")).lower()
        kind = str(header.get("type", "")).lower()
    if kind not in _DTYPES:
        raise InputError(f"values are of type {kind!r}, which can't be converted; save as numbers")
    if encoding not in _STREAMS:
        raise InputError(f"its encoding {encoding!r} is not read; save it as raw or gzip")
    dtype = np.dtype(_DTYPES[kind])
    if dtype.itemsize > 1:
        endian = str(header.get("endian", "")).lower()
        if endian not in ("little", "big"):
            raise FormatError(f"corrupt header: endian is {endian!r}, expected little or big")
        dtype = dtype.newbyteorder("<" if endian == "little" else ">")
    rank = int(header.get("dimension", 0))
    if len(lengths) != rank or rank < 2 or min(lengths) < 1:
        raise FormatError(
            f"corrupt header: dimension {rank} and sizes {lengths}; expected two or more, positive"
        )
    geometry = _geometry(header, lengths)
    shape = shape_of(geometry.letters, list(lengths))
    path, offset = _place(header, found, place, shape, dtype)
    segments = _segments(header, shape[3])
    suggested = suggest_type(found.name, shape[3])
    if segments or found.ends_with(".seg.nrrd"):
        suggested = SuggestedType("segmentation", "it is a segmentation of 3D Slicer")
    stream: Any = _STREAMS[encoding]
    source_header = placed_header(
        geometry.affine,
        asked.geometry,
        resolution=geometry.resolution_nm,
        shape=shape,
        dtype=dtype.newbyteorder("="),
        suggested_type=suggested,
        notes=geometry.notes,
        files=tuple(dict.fromkeys((found.path, path))),
        segments=segments,
    )
    packing = Packing(path, offset, order_of(geometry.letters), dtype)
    if stream is not None:
        skip = _number(header, "byte skip")
        packing = packing._replace(offset=max(0, skip), stream=stream, stream_start=offset)
    return open_packed(source_header, packing)


def _number(header: Any, name: str) -> int:
    with foreign_errors(f"corrupt header: {name} is not a number"):
        return int(header.get(name, header.get(name.replace(" ", ""), 0)))


def _place(
    header: Any, found: Found, place: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[Path, int]:
    """Return the file that holds the voxels, and where they, or their stream, begin."""
    name = header.get("data file", header.get("datafile"))
    path, offset = found.path, place
    if name is not None:
        words = str(name)
        if words.startswith("LIST") or "%" in words:
            raise InputError("its data lie in several files; save them as one")
        path, offset = found.path.parent / words, 0
        if not path.is_file():
            raise missing_file(path, found.name)
    lines = _number(header, "line skip")
    if not 0 <= lines < 10000:
        raise FormatError(f"corrupt header: line skip is {lines}")
    if lines:
        with path.open("rb") as file:
            file.seek(offset)
            for _ in range(lines):
                file.readline(1 << 20)
            offset = file.tell()
    if str(header.get("encoding", "")).lower() == "raw":
        skip = _number(header, "byte skip")
        if skip == -1:
            size = int(np.prod(shape, dtype=object)) * dtype.itemsize
            return path, path.stat().st_size - size
        if skip < 0:
            raise FormatError(f"corrupt header: byte skip is {skip}")
        offset += skip
    return path, offset


def _geometry(header: Any, lengths: list[int]) -> _Geometry:
    """Return which dimension is which, fastest first, and where voxels lie."""
    rank = len(lengths)
    directions = header.get("space directions")
    if directions is not None:
        with foreign_errors("corrupt header: space directions"):
            vectors = [
                None if row is None or np.isnan(row).all() else np.asarray(row, np.float64)
                for row in directions
            ]
    else:
        kinds = [str(kind).lower() for kind in header.get("kinds", [])]
        vectors = [None] * rank
        for axis, kind in enumerate(kinds[:rank]):
            if kind in ("domain", "space"):
                vectors[axis] = np.ones(1)
        if not any(vector is not None for vector in vectors):
            is_colors = rank > 3 and lengths[0] <= 4 < lengths[-1]
            first = 1 if is_colors else 0
            vectors = [np.ones(1) if first <= axis < first + 3 else None for axis in range(rank)]
    if len(vectors) != rank:
        raise FormatError(f"corrupt header: {len(vectors)} space directions for {rank} sizes")
    letters, spatial = "", "xyz"
    for vector, length in zip(vectors, lengths, strict=True):
        if vector is not None and spatial:
            letters, spatial = letters + spatial[0], spatial[1:]
        elif "c" not in letters:
            letters += "c"
        elif length == 1:
            raise InputError(f"sizes {lengths} have more than x, y, z and channel; save one part")
        else:
            raise InputError(f"sizes {lengths} have more than x, y, z and channel; save one part")
    if "x" not in letters or "y" not in letters:
        raise InputError(f"sizes {lengths}: fewer than two of its axes lie in space")
    if directions is None:
        return _Geometry(letters, None, _spacings(header, letters), ())
    columns = [vector for vector in vectors if vector is not None]
    affine, notes = _affine(header, columns)
    return _Geometry(letters, affine, None, notes)


def _spacings(header: Any, letters: str) -> tuple[float, float, float] | None:
    """Return voxel sizes of a file without directions, in nanometres; None if it has none."""
    spacings = header.get("spacings")
    if spacings is None:
        return None
    units = header.get("units") or []
    sizes = {}
    for axis, letter in enumerate(letters):
        if letter == "c" or axis >= len(spacings):
            continue
        size = abs(float(spacings[axis]))
        factor = mm_per_unit(units[axis]) if axis < len(units) and units[axis] else 1.0
        if not np.isfinite(size) or size == 0 or factor is None:
            return None
        sizes[letter] = size * factor * 1e6
    x, y = sizes.get("x"), sizes.get("y")
    return None if x is None or y is None else (x, y, sizes.get("z", x))


def _affine(header: Any, columns: list[np.ndarray[Any, Any]]) -> tuple[Affine, tuple[str, ...]]:
    """Return the affine to RAS millimetres of directions in the file's own space."""
    notes: tuple[str, ...] = ()
    space = str(header.get("space", "")).strip().lower()
    words = _SPACES.get(space, space).split("-")
    dimension = len(words) if space in _SPACES or words[0] in _WORLD else 3
    signs, target = np.ones(3), [0, 1, 2]
    if words[0] in _WORLD and len(words) >= 3 and all(word in _WORLD for word in words[:3]):
        places = [_WORLD[word] for word in words[:3]]
        target = [place[0] for place in places]
        signs = np.array([place[1] for place in places], float)
        if sorted(target) != [0, 1, 2]:
            raise FormatError(f"corrupt header: space {space!r} names a direction twice")
    else:
        named = f"is {space!r}" if space else "is not named"
        notes = (f"its space {named}; right, anterior, superior is assumed",)
    if dimension > 3 or any(column.shape != (3,) for column in columns):
        raise InputError(
            f"its space has {max(dimension, *(len(c) for c in columns))} dimensions, expected 3; "
            "pass --affine"
        )
    factors = np.ones(3)
    for axis, unit in enumerate(header.get("space units") or []):
        factor = mm_per_unit(unit) if str(unit).strip() else 1.0
        if factor is None:
            raise InputError(f"space units {unit!r} is not a length; pass --affine")
        if axis < 3:
            factors[axis] = factor
    if len(columns) == 2:  # a single slice
        across = np.cross(columns[0], columns[1])
        columns = [*columns, across / max(np.linalg.norm(across), 1e-300)]
    origin = header.get("space origin")
    own = np.zeros((3, 4))
    own[:, :3] = np.array(columns).T
    if origin is not None:
        origin = np.asarray(origin, np.float64)
        if origin.shape != (3,):
            raise FormatError(
                f"corrupt header: space origin {origin.tolist()}, expected 3 numbers"
            )
        own[:, 3] = origin
    own *= (signs * factors)[:, np.newaxis]
    affine = np.eye(4)
    for row, world in enumerate(target):
        affine[world] = own[row]
    return affine, notes


def _segments(header: Any, channels: int) -> tuple[Segment, ...]:
    """Return names and colours of segments; several layers are refused."""
    found = []
    layers = set()
    for number in range(100_000):
        start = f"Segment{number}_"
        if f"{start}ID" not in header and f"{start}Name" not in header:
            break
        layers.add(str(header.get(f"{start}Layer", "0")))
        try:
            value = int(header.get(f"{start}LabelValue", number + 1))
            rgb = [float(part) for part in str(header.get(f"{start}Color", "")).split()]
        except ValueError as error:
            raise FormatError(f"corrupt header: {start[:-1]} ({error})") from error
        name = str(header.get(f"{start}Name", header.get(f"{start}ID", value)))
        color = None
        if len(rgb) == 3 and all(0 <= part <= 1 for part in rgb):
            color = "#{:02x}{:02x}{:02x}".format(*(round(255 * part) for part in rgb))
        found.append(Segment(value, name, color))
    if len(layers) > 1 or (found and channels > 1):
        raise InputError(
            f"has segments that overlap, in {max(len(layers), channels)} layers, but a volume "
            "holds one label per voxel; export them from 3D Slicer as a labelmap"
        )
    return tuple(sorted(found))


register(
    SourceFormat(
        name="NRRD",
        open=open_nrrd,
        is_it=lambda found: found.head.startswith(b"NRRD000"),
        endings=(".nrrd", ".nhdr"),
    )
)
