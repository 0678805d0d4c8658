"""The `.mat` that SPM99 and SPM2 keep beside an Analyze pair: an affine, in a MATLAB 4 file.

nibabel reads it with SciPy, which is a large package for sixteen numbers. MATLAB 5 files are left
to it.

https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf, section "Level 4 MAT-Files"
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.arrays.affines import Affine

_KINDS = {0: "f8", 1: "f4", 2: "i4", 3: "i2", 4: "u2", 5: "u1"}
_HEADER_BYTES = 20
_LONGEST = 1 << 20


class SpmAffine(NamedTuple):
    """An affine from voxel centres to millimetres, and whether its x is that of the header.

    Attributes
    ----------
    affine : ndarray of float64, shape (4, 4)
    is_flipped : bool
        It is SPM99's `M`, which takes no account of x running to the left in Analyze.
    """

    affine: Affine
    is_flipped: bool


def read_spm_affine(path: Path) -> SpmAffine | None:
    """Return the affine of a `.mat` file; None where it is not MATLAB 4, or there is none.

    Raises
    ------
    FormatError
        If it breaks off, or holds no 4x4 matrix `mat` or `M`.
    """
    if not path.is_file() or path.stat().st_size == 0:
        return None
    with path.open("rb") as file:
        data = file.read(_LONGEST)
    if data.startswith(b"MATLAB"):
        return None
    matrices = dict(_matrices(data, path.name))
    for name, is_flipped in (("mat", False), ("M", True)):
        if name in matrices:
            from_one = np.eye(4)
            from_one[:3, 3] = 1  # MATLAB counts voxels from 1
            return SpmAffine(matrices[name] @ from_one, is_flipped)
    raise FormatError(
        f"the file {path.name!r} beside it has no affine 'mat' or 'M'; remove or replace it"
    )


def _matrices(data: bytes, name: str) -> list[tuple[str, Affine]]:
    found = []
    while data:
        try:
            code, rows, columns, is_complex, name_length = struct.unpack(
                "<5i", data[:_HEADER_BYTES]
            )
            order = "<"
            if not 0 <= code < 1000:
                fields = struct.unpack(">5i", data[:_HEADER_BYTES])
                code, rows, columns, is_complex, name_length = fields
                order = ">"
            dtype = np.dtype(order + _KINDS[code % 100 // 10])
            size = dtype.itemsize * rows * columns * (2 if is_complex else 1)
            start = _HEADER_BYTES + name_length
            if min(rows, columns, name_length) < 0 or start + size > len(data):
                raise ValueError("it breaks off")
            title = data[_HEADER_BYTES:start].rstrip(b"\0").decode("latin-1")
            if (rows, columns, is_complex) == (4, 4, 0):
                values = np.frombuffer(data, dtype, 16, start).reshape(4, 4, order="F")
                found.append((title, values.astype(np.float64)))
            data = data[start + size :]
        except (struct.error, KeyError, ValueError) as error:
            raise FormatError(
                f"the file {name!r} beside it is not a MATLAB file ({error}); remove or replace it"
            ) from error
    return found
