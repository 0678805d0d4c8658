"""MetaImage: `.mha`, and `.mhd` with the voxels in a file beside it; LPS millimetres.

https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.files import missing_file, open_binary
from ngcore.sources.geometry import placed_header
from ngcore.sources.packed import (
    Packing,
    numbers,
    open_packed,
    shape_of,
    whole_numbers,
)
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.gzip_stream import GzipStream, ZlibStream
from ngcore.sources.volumes.raw import order_of

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.arrays.affines import Affine
    from ngcore.sources.base import Source

_DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LONGEST_HEADER = 1 << 20
_LPS_TO_RAS = np.diag([-1.0, -1, 1])
_TRANSFORMS = ("TransformMatrix", "Rotation", "Orientation")
_ORIGINS = ("Offset", "Position", "Origin")
_BYTE_ORDERS = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")


def open_metaimage(found: Found, asked: Asked) -> Source:
    """Open a MetaImage file.

    Raises
    ------
    FormatError
        If its header is broken, or it is shorter than that says.
    InputError
        If it can't be shown.
    """
    open_binary(found.path, found.name).close()
    fields, end = _header(found.path)
    rank = whole_numbers(fields.get("NDims", "3"), "NDims")
    lengths = whole_numbers(fields.get("DimSize", ""), "DimSize")
    if rank != [len(lengths)] or not 2 <= len(lengths) <= 4 or min(lengths) < 1:
        raise FormatError(
            f"corrupt header: NDims {fields.get('NDims')} and DimSize {fields.get('DimSize')!r}; "
            "expected 2 to 4 positive sizes"
        )
    kind = fields.get("ElementType", "").upper().removesuffix("_ARRAY")
    if kind not in _DTYPES:
        raise InputError(f"values are of type {kind!r}, which can't be converted; save as numbers")
    is_big = any(fields.get(name, "").lower() in ("true", "1") for name in _BYTE_ORDERS)
    dtype = np.dtype(_DTYPES[kind]).newbyteorder(">" if is_big else "<")
    colors = whole_numbers(fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels")
    if len(colors) != 1 or colors[0] < 1:
        raise FormatError(f"corrupt header: ElementNumberOfChannels is {colors}")
    letters = "xyzc"[: len(lengths)]
    if colors[0] > 1:
        if len(lengths) == 4 and lengths[3] > 1:
            raise InputError("has channels at several times; save one part of it")
        letters, lengths = "c" + letters[:3], [colors[0], *lengths[:3]]
    shape = shape_of(letters, lengths)
    path, offset = _voxels(fields, found, end)
    is_packed = fields.get("CompressedData", "False").lower() in ("true", "1")
    header = placed_header(
        _affine(fields, whole_numbers(fields.get("NDims", "3"), "NDims")[0]),
        asked.geometry,
        shape=shape,
        dtype=dtype.newbyteorder("="),
        suggested_type=suggest_type(found.name, shape[3]),
        files=tuple(dict.fromkeys((found.path, path))),
    )
    if offset == -1:
        offset = path.stat().st_size - header.byte_count
    packing = Packing(path, offset, order_of(letters), dtype)
    if is_packed:
        with path.open("rb") as file:
            file.seek(max(0, offset))
            is_gzip = file.read(2) == GzipStream.magic
        stream = GzipStream if is_gzip else ZlibStream
        packing = packing._replace(offset=0, stream=stream, stream_start=max(0, offset))
    return open_packed(header, packing)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of a header, and where it ends."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while file.tell() < _LONGEST_HEADER:
            line = file.readline(1 << 16)
            key, mark, value = line.decode("latin-1").partition("=")
            if not mark:
                if line.strip() or not line:
                    break
                continue
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                return fields, file.tell()
    raise FormatError("corrupt or truncated header: it has no ElementDataFile; download it again")


def _voxels(fields: dict[str, str], found: Found, end: int) -> tuple[Path, int]:
    """Return the file that holds the voxels, and where they begin; -1: at its end."""
    name = fields["ElementDataFile"]
    skip = whole_numbers(fields.get("HeaderSize", "0"), "HeaderSize")
    if len(skip) != 1 or skip[0] < -1:
        raise FormatError(f"corrupt header: HeaderSize is {fields['HeaderSize']!r}")
    if name.upper() == "LOCAL":
        return found.path, end
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError("its voxels lie in several files; save them as one")
    path = found.path.parent / name
    if not path.is_file():
        raise missing_file(path, found.name)
    return path, skip[0]


def _affine(fields: dict[str, str], rank: int) -> Affine:
    """Return the affine to RAS millimetres; the direction of each axis is a row in the file."""
    matrix, origin, spacing = np.eye(rank), np.zeros(rank), np.ones(rank)
    for name in _TRANSFORMS:
        if name in fields:
            matrix = np.array(numbers(fields[name], rank * rank, name)).reshape(rank, rank)
            break
    for name in _ORIGINS:
        if name in fields:
            origin = np.array(numbers(fields[name], rank, name))
            break
    for name in ("ElementSpacing", "ElementSize"):
        if name in fields:
            spacing = np.array(numbers(fields[name], rank, name))
            break
    spatial = min(rank, 3)
    affine = np.eye(4)
    affine[:spatial, :spatial] = matrix[:spatial, :spatial].T * spacing[:spatial]
    affine[:spatial, 3] = origin[:spatial]
    affine[:3] = _LPS_TO_RAS @ affine[:3]
    return affine


register(
    SourceFormat(
        name="MetaImage",
        open=open_metaimage,
        is_it=lambda found: found.head.startswith((b"ObjectType", b"NDims")),
        endings=(".mha", ".mhd"),
    )
)
