"""Legacy ASCII VTK PolyData, in the dialect that Neuroglancer's `vtk:` data source reads.

The client takes one POINTS and one POLYGONS section, triangles only, one vertex or triangle to a
line, fields apart by blanks, and lines ended by a bare line feed; it takes coordinates for
nanometres. VTK itself reads the same file.

https://docs.vtk.org/en/latest/vtk_file_formats/vtk_legacy_file_format.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ngcore.precomputed.mesh import Mesh

_ROWS_AT_ONCE = 1 << 16


def encode_vtk(mesh: Mesh) -> bytes:
    """Return a mesh as the text of a VTK file, coordinates in nanometres.

    Coordinates are rounded to float32, which is what both readers make of them; nine digits give
    each float32 back exactly.

    Raises
    ------
    InputError
        If a coordinate does not fit in float32.
    """
    with np.errstate(over="ignore"):
        positions = mesh.vertices_nm.astype(np.float32)
    if not np.isfinite(positions).all():
        raise InputError("a vertex is too far away for float32 nanometres")
    return b"".join(_sections(positions, mesh.triangles))


def _sections(positions: NDArray[np.float32], triangles: NDArray[np.uint32]) -> Iterator[bytes]:
    yield b"# vtk DataFile Version 3.0\n"
    yield b"Triangle mesh in nanometres, written by ngcore\n"
    yield b"ASCII\nDATASET POLYDATA\n"
    yield f"POINTS {len(positions)} float\n".encode()
    yield from _lines("%.9g %.9g %.9g\n", positions)
    yield f"POLYGONS {len(triangles)} {4 * len(triangles)}\n".encode()
    yield from _lines("3 %d %d %d\n", triangles)


def _lines(pattern: str, rows: NDArray[np.float32] | NDArray[np.uint32]) -> Iterator[bytes]:
    # One format call for many rows is several times faster than one call a row.
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        yield ((pattern * len(some)) % tuple(some.ravel().tolist())).encode()
