"""What comes before and after the voxels in MGH and `.npy` files.

https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat and
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib import format as npy_format

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ngcore.arrays.affines import Affine

_MGH_CODES = {"uint8": 0, "int32": 1, "float32": 3, "int16": 4}
_MGH_WIDER = {
    "int8": "int16",
    "uint16": "int32",
    "uint32": "int32",
    "int64": "int32",
    "uint64": "int32",
    "float64": "float32",
}
_MGH_VOXELS = 284
_LONGEST_MGH_AXIS = 1 << 31


def mgh_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type in which MGH keeps values; what it has no room for is refused later."""
    return np.dtype(_MGH_WIDER.get(dtype.name, dtype.name))


def mgh_header(shape: tuple[int, int, int, int], dtype: np.dtype[Any], affine: Affine) -> bytes:
    """Return the 284 bytes before the voxels of an MGH file, which are big-endian.

    Parameters
    ----------
    shape : tuple of int, (x, y, z, frame)
    dtype : dtype
        One of those that `mgh_dtype` returns.
    affine : ndarray of float64, shape (4, 4)
        From indices of voxel centres to world millimetres.
    """
    if max(shape) >= _LONGEST_MGH_AXIS:
        raise InputError(f"an axis of {max(shape)} voxels is longer than MGH can hold")
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    directions = affine[:3, :3] / sizes
    centre = affine[:3, :3] @ (np.array(shape[:3]) / 2) + affine[:3, 3]
    head = struct.pack(">7i", 1, *shape, _MGH_CODES[dtype.name], 0) + struct.pack(
        ">h15f", 1, *sizes, *directions.T.ravel(), *centre
    )
    return head.ljust(_MGH_VOXELS, b"\0")


def mgh_tail(facts: Mapping[str, Any]) -> bytes:
    """Return what follows the voxels: repetition time in ms, and four numbers not known here."""
    step = float(facts.get("time_step") or 0)
    return struct.pack(">5f", step * 1000, 0, 0, 0, 0)


def npy_header(shape: tuple[int, int, int, int], dtype: np.dtype[Any]) -> bytes:
    """Return what comes before the voxels of a `.npy` file in Fortran order.

    One channel makes no axis of its own.
    """
    buffer = io.BytesIO()
    lengths = shape if shape[3] > 1 else shape[:3]
    fields = {
        "descr": npy_format.dtype_to_descr(dtype.newbyteorder("<")),
        "fortran_order": True,
        "shape": lengths,
    }
    npy_format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()
