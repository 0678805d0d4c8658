"""Neuroglancer's single-resolution ("legacy") meshes, as bytes and JSON.

A folder of meshes holds `info`, fragments (binary triangle meshes in nanometres, under any name)
and, per segment, a manifest `LABEL:0` that lists the fragments of that segment.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.json_members import fail, parse_object
from ngcore.precomputed.mesh import Mesh
from ngcore.precomputed.names import LEGACY_MESH_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_LABEL = 2**64 - 1
_MANIFEST_NAME = re.compile(r"[0-9]+:[0-9]+")


def encode_fragment(mesh: Mesh) -> bytes:
    """Return a mesh as the bytes of one fragment.

    The fragment is the number n of vertices as uint32, n x 3 float32 positions in nanometres, and
    three uint32 indices per triangle, all little-endian.

    Raises
    ------
    InputError
        If a coordinate does not fit in float32.
    """
    with np.errstate(over="ignore"):
        positions = mesh.vertices_nm.astype("<f4")
    is_finite = np.isfinite(positions).all(axis=1)
    if not is_finite.all():
        raise InputError(
            f"vertex {int(np.argmin(is_finite))} is too far away for float32 nanometres"
        )
    count = np.array([len(positions)], dtype="<u4")
    return count.tobytes() + positions.tobytes() + mesh.triangles.astype("<u4").tobytes()


def decode_fragment(data: bytes, name: str = "fragment") -> Mesh:
    """Return the mesh in the bytes of a fragment.

    Parameters
    ----------
    data : bytes
        The fragment, not gzipped.
    name : str
        What to call it in errors.

    Raises
    ------
    FormatError
        If the bytes end early, are not a whole number of triangles, hold a position that is not
        finite, or an index that names no vertex.
    """
    if len(data) < 4:
        raise FormatError(f"mesh fragment {name!r} has {len(data)} bytes; it needs at least 4")
    count = int.from_bytes(data[:4], "little")
    start = 4 + 12 * count
    if len(data) < start:
        raise FormatError(
            f"mesh fragment {name!r} has {len(data)} bytes, but its {count} vertices end at "
            f"byte {start}"
        )
    if (len(data) - start) % 12:
        raise FormatError(
            f"mesh fragment {name!r} ends inside a triangle: {len(data) - start} bytes follow "
            f"its vertices at byte {start}, not a multiple of 12"
        )
    vertices = np.frombuffer(data, "<f4", 3 * count, offset=4).reshape(-1, 3)
    triangles = np.frombuffer(data, "<u4", offset=start).reshape(-1, 3)
    try:
        return Mesh(vertices, triangles)
    except InputError as error:
        raise FormatError(f"mesh fragment {name!r}: {error}") from error


def encode_manifest(fragments: Sequence[str]) -> bytes:
    """Return the JSON of a segment's manifest: the names of its fragments."""
    return json.dumps({"fragments": list(fragments)}, separators=(",", ":")).encode()


def decode_manifest(data: bytes, name: str = "manifest") -> tuple[str, ...]:
    """Return the names of the fragments that a segment's manifest lists.

    Raises
    ------
    FormatError
        If it is not a JSON object with a list of strings under `fragments`.
    """
    fragments = json_members(data, name).get("fragments")
    if not isinstance(fragments, list) or not all(isinstance(item, str) for item in fragments):
        fail(f"{name}: fragments", "an array of names", fragments)
    return tuple(fragments)


def encode_mesh_info() -> bytes:
    """Return the JSON of `info` in a folder of legacy meshes."""
    return json.dumps({"@type": LEGACY_MESH_TYPE}).encode()


def mesh_info_type(data: bytes, name: str = "mesh/info") -> str:
    """Return which kind of meshes a folder's `info` announces; without `@type` it is legacy.

    Raises
    ------
    FormatError
        If it is not a JSON object, or its `@type` is not a string.
    """
    kind = json_members(data, name).get("@type", LEGACY_MESH_TYPE)
    if not isinstance(kind, str):
        fail(f"{name}: @type", "a string", kind)
    return kind


def manifest_name(label: int, *, colon_suffix: bool = True) -> str:
    """Return the file name of a segment's manifest: `LABEL:0`, or `LABEL` alone.

    Raises
    ------
    InputError
        If the label is not a whole number of 64 bits, 0 to 2^64 - 1.
    """
    if not 0 <= label <= _MAX_LABEL:
        raise InputError(f"label {label} is outside of 0 to {_MAX_LABEL}")
    return f"{label}:0" if colon_suffix else f"{label}"


def check_fragment_name(name: str) -> None:
    """Refuse names under which a fragment would be lost or would hide another file.

    Raises
    ------
    InputError
        If the name is empty, `info`, a manifest's (`12:0`), ends in `.gz`, starts with a dot or
        holds a slash, a backslash or a control character.
    """
    if not name or name.startswith(".") or any(c in "/\\" or ord(c) < 32 for c in name):
        raise InputError(f"{name!r} can't name a mesh fragment: it must be one plain file name")
    if name == "info" or name.endswith(".gz") or _MANIFEST_NAME.fullmatch(name):
        raise InputError(
            f"{name!r} can't name a mesh fragment: the mesh folder needs that name itself; "
            "pass another mesh name"
        )


def json_members(data: bytes, name: str) -> dict[str, Any]:
    """Return the members of a JSON object; a FormatError of it starts with `name`."""
    try:
        return parse_object(data)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
