"""Reading surface meshes of any kind we know, into nanometres.

Each kind has its own module; here a file's kind is found out, and whatever it holds is made into
a checked `Mesh`. Files are taken to be in millimetres.
"""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.precomputed.mesh import Mesh, affine_mm_to_nm
from ngcore.sources.surfaces.freesurfer import QUAD_MAGICS, TRIANGLE_MAGIC, parse_freesurfer
from ngcore.sources.surfaces.gifti import parse_gifti
from ngcore.sources.surfaces.polygons import parse_obj, parse_off
from ngcore.sources.surfaces.stl import parse_stl

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Parsed = tuple[NDArray[Any], NDArray[Any], NDArray[np.float64] | None]

# What a small .gz may unpack to before it is taken for a bomb.
_MAX_UNPACKED_BYTES = 1 << 32

# What trimesh's PLY reader lets escape on malformed files, found by mutating files and by reading
# it; it checks little before it indexes.
_TRIMESH_ERRORS = (
    AttributeError,
    DeprecationWarning,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    UnboundLocalError,
    ValueError,
)
_PLY_ELEMENT = re.compile(rb"^\s*element\s+\S+\s+(\d+)", re.MULTILINE)


def read_mesh(path: str | Path, *, kind: str | None = None) -> Mesh:
    """Return the mesh in a GIfTI, FreeSurfer, STL, PLY, OBJ or OFF file, gzipped or not.

    GIfTI coordinates go through their coordinate system's transform, FreeSurfer's to scanner RAS
    as far as the file tells how. Polygons are cut into triangles. Vertices of an STL file that
    are equal are merged.

    Parameters
    ----------
    path : str or Path
        The file. FreeSurfer surfaces are known by their first bytes, the others by the name's
        ending.
    kind : str, optional
        `gii`, `stl`, `ply`, `obj`, `off` or `freesurfer`, whatever the name's ending.

    Returns
    -------
    Mesh
        In nanometres.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    InputError
        If it can't be read or is of no known kind.
    FormatError
        If it is malformed, or a mesh that can't be drawn: an index that names no vertex, a
        position that is NaN or infinite, no triangles, a singular transform.
    """
    name = str(path)
    data = _bytes_of(Path(path))
    kind = kind or _kind(name, data)
    if kind not in _PARSERS:
        raise InputError(
            f"{name!r} is of no known kind of mesh; expected GIfTI (.gii), a FreeSurfer surface, "
            "STL, PLY, OBJ or OFF; convert it to one of them"
        )
    try:
        return _parse(data, name, kind)
    except FormatError as error:
        raise FormatError(f"{error}; get a whole copy, or export the surface again") from error


def _parse(data: bytes, name: str, kind: str) -> Mesh:
    vertices_mm, triangles, affine_mm = _PARSERS[kind](data, name)
    if len(triangles) == 0:
        raise FormatError(f"{name!r} has no triangles")
    try:
        mesh = Mesh.from_mm(vertices_mm, triangles)
        return mesh if affine_mm is None else mesh.transformed(affine_mm_to_nm(affine_mm))
    except InputError as error:
        raise FormatError(f"mesh {name!r}: {error}") from error


def mesh_stem(path: str | Path) -> str:
    """Return a mesh file's name without the ending that tells its kind, and without `.gz`.

    FreeSurfer's names have no such ending: `lh.pial` stays whole, so that `lh.white` is another.
    """
    name = Path(path).name
    if name.lower().endswith(".gz"):
        name = name[:-3]
    stem, dot, ending = name.rpartition(".")
    return stem if dot and stem and ending.lower() in _PARSERS else name


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputNotFoundError(f"there is no mesh file {str(path)!r}; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"mesh file {str(path)!r} can't be read: {reason}; pass a file that you may read"
        ) from error
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data, max_size=_MAX_UNPACKED_BYTES)
    except FormatError as error:
        raise FormatError(f"mesh file {str(path)!r}: {error}") from error


def _kind(name: str, data: bytes) -> str:
    if data[:3] in {TRIANGLE_MAGIC, *QUAD_MAGICS}:
        return "freesurfer"
    bare_name = name[:-3] if name.lower().endswith(".gz") else name
    return bare_name.rpartition(".")[2].lower()


def _parse_ply(data: bytes, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    _check_ply_is_whole(data, name)
    import trimesh

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, about numbers that are refused later
            # Until 2.3 NumPy only warned that it passes over the rest of a line of numbers.
            warnings.filterwarnings("error", "string or file could not be read")
            mesh: Any = trimesh.load(
                io.BytesIO(data), file_type="ply", process=False, force="mesh"
            )
    except _TRIMESH_ERRORS as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise FormatError(f"{name!r} is no sound PLY file: {reason}") from error
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def _check_ply_is_whole(data: bytes, name: str) -> None:
    # trimesh takes a text file that was cut off for a smaller mesh.
    header, end, body = data.partition(b"end_header")
    if not header.startswith(b"ply") or not end:
        raise FormatError(f"{name!r} is no PLY file: it has no PLY header")
    announced = sum(int(count[:20]) for count in _PLY_ELEMENT.findall(header))
    if re.search(rb"^\s*format\s+ascii\b", header, re.MULTILINE):
        found = sum(1 for line in body.splitlines() if line.strip())
        if found < announced:
            raise FormatError(
                f"{name!r} is cut off: its header announces {announced} lines, {found} follow"
            )


def _without_affine(
    parse: Callable[[bytes, str], tuple[NDArray[Any], NDArray[Any]]],
) -> Callable[[bytes, str], Parsed]:
    return lambda data, name: (*parse(data, name), None)


_PARSERS: dict[str, Callable[[bytes, str], Parsed]] = {
    "freesurfer": parse_freesurfer,
    "gii": parse_gifti,
    "stl": _without_affine(parse_stl),
    "ply": _without_affine(_parse_ply),
    "obj": _without_affine(parse_obj),
    "off": _without_affine(parse_off),
}
