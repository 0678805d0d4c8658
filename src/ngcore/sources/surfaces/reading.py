"""Reading surface meshes of any kind we know, into nanometres.

Each kind has its own module; here a file's kind is found out, and whatever it holds is made into
a checked `Mesh`. Files are taken to be in millimetres where they don't say otherwise.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.precomputed.mesh import Mesh, affine_mm_to_nm
from ngcore.sources.surfaces.freesurfer import QUAD_MAGICS, TRIANGLE_MAGIC, parse_freesurfer
from ngcore.sources.surfaces.gifti import parse_gifti
from ngcore.sources.surfaces.header import UNITS_MM, follow_header
from ngcore.sources.surfaces.mni_obj import is_mni_obj, parse_mni_obj
from ngcore.sources.surfaces.ply import parse_ply
from ngcore.sources.surfaces.polygons import parse_obj, parse_off
from ngcore.sources.surfaces.stl import parse_stl
from ngcore.sources.surfaces.vtk import MAGIC as VTK_MAGIC
from ngcore.sources.surfaces.vtk import parse_vtk

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.sources.surfaces.parsed import Parsed

# What a small .gz may unpack to before it is taken for a bomb.
_MAX_UNPACKED_BYTES = 1 << 32

_FARTHEST_NM = float(np.finfo(np.float32).max)
"""What is written holds float32."""

_OFF_START = re.compile(rb"(?:ST)?C?N?OFF\s")
KINDS = "GIfTI, FreeSurfer, STL, PLY, OBJ (Wavefront's and MNI's), OFF or legacy VTK PolyData"
"""What is read, for messages and help."""


def read_mesh(path: str | Path, *, kind: str | None = None, units: str | None = None) -> Mesh:
    """Return the mesh in a GIfTI, FreeSurfer, STL, PLY, OBJ, OFF or VTK file, gzipped or not.

    GIfTI coordinates go through their coordinate system's transform, FreeSurfer's to scanner RAS
    as far as the file tells how; others are RAS, or what their headers name (``SPACE=LPS``).
    Polygons are cut into triangles. Vertices of an STL file that are equal are merged.

    Parameters
    ----------
    path : str or Path
        The file, known by its first bytes; Wavefront's OBJ and STL by the name's ending.
    kind : str, optional
        `gii`, `stl`, `ply`, `obj`, `mni`, `off`, `vtk` or `freesurfer`, whatever the file's start.
    units : str, optional
        Unit of the coordinates: nm, um or mm; default the one that its header names, else mm.

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
    if units is not None and units not in UNITS_MM:
        raise InputError(f"units must be nm, um or mm, got {units!r}")
    kind = kind or _kind(name, data)
    if kind not in _PARSERS:
        raise InputError(f"{name!r} is not a mesh of a known kind; expected {KINDS}{_way(data)}")
    try:
        return _parse(data, name, kind, units)
    except FormatError as error:
        raise FormatError(f"{error}; copy the file or export the surface again") from error


def _parse(data: bytes, name: str, kind: str, units: str | None) -> Mesh:
    parsed = _PARSERS[kind](data, name)
    if len(parsed.triangles) == 0:
        raise FormatError(f"{name!r} has no triangles")
    parsed = follow_header(parsed, name, units)
    try:
        mesh = Mesh.from_mm(parsed.vertices, parsed.triangles)
        if parsed.affine_mm is not None:
            mesh = mesh.transformed(affine_mm_to_nm(parsed.affine_mm))
    except InputError as error:
        text = str(error).removesuffix("; pass another")  # it is the file's own
        raise FormatError(f"mesh {name!r}: {text}") from error
    if np.abs(mesh.vertices_nm).max() > _FARTHEST_NM:
        raise FormatError(f"mesh {name!r}: a vertex is too far away for float32 nanometres")
    return mesh


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
    """Return the kind by the first bytes, else the name's ending."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    bare_name = name[:-3] if name.lower().endswith(".gz") else name
    ending = bare_name.rpartition(".")[2].lower()
    if data[:3] in {TRIANGLE_MAGIC, *QUAD_MAGICS}:
        return "freesurfer"
    if start.startswith((b"ply\n", b"ply\r")):
        return "ply"
    if start.startswith(VTK_MAGIC):
        return "vtk"
    if start.startswith(b"<") and b"<GIFTI" in start:
        return "gii"
    if _OFF_START.match(start):
        return "off"
    return "mni" if ending == "obj" and is_mni_obj(data) else ending


def _way(data: bytes) -> str:
    if b"<VTKFile" in data[:200]:
        return "; save this XML VTK file as legacy .vtk or .ply (in ParaView: Save Data)"
    return "; convert it to one of them"


_PARSERS: dict[str, Callable[[bytes, str], Parsed]] = {
    "freesurfer": parse_freesurfer,
    "gii": parse_gifti,
    "stl": parse_stl,
    "ply": parse_ply,
    "obj": parse_obj,
    "mni": parse_mni_obj,
    "off": parse_off,
    "vtk": parse_vtk,
}
