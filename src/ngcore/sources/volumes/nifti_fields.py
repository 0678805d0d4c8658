"""Where the fields that ngcore reads lie in a NIfTI header.

nibabel knows these places too; importing it takes longer than converting a small volume does.

https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h and
https://nifti.nimh.nih.gov/pub/dist/doc/nifti2.h
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_Places = dict[str, tuple[int, str]]
"""Offset in bytes, and type, by the name of the field."""

_NIFTI1: _Places = {
    "sizeof_hdr": (0, "i4"),
    "dim": (40, "8i2"),
    "intent_code": (68, "i2"),
    "datatype": (70, "i2"),
    "pixdim": (76, "8f4"),
    "vox_offset": (108, "f4"),
    "scl_slope": (112, "f4"),
    "scl_inter": (116, "f4"),
    "xyzt_units": (123, "u1"),
    "qform_code": (252, "i2"),
    "sform_code": (254, "i2"),
    "quatern_b": (256, "f4"),
    "quatern_c": (260, "f4"),
    "quatern_d": (264, "f4"),
    "qoffset_x": (268, "f4"),
    "qoffset_y": (272, "f4"),
    "qoffset_z": (276, "f4"),
    "srow_x": (280, "4f4"),
    "srow_y": (296, "4f4"),
    "srow_z": (312, "4f4"),
}

_NIFTI2: _Places = {
    "sizeof_hdr": (0, "i4"),
    "datatype": (12, "i2"),
    "dim": (16, "8i8"),
    "pixdim": (104, "8f8"),
    "vox_offset": (168, "i8"),
    "scl_slope": (176, "f8"),
    "scl_inter": (184, "f8"),
    "qform_code": (344, "i4"),
    "sform_code": (348, "i4"),
    "quatern_b": (352, "f8"),
    "quatern_c": (360, "f8"),
    "quatern_d": (368, "f8"),
    "qoffset_x": (376, "f8"),
    "qoffset_y": (384, "f8"),
    "qoffset_z": (392, "f8"),
    "srow_x": (400, "4f8"),
    "srow_y": (432, "4f8"),
    "srow_z": (464, "4f8"),
    "xyzt_units": (500, "i4"),
    "intent_code": (504, "i4"),
}


def _header_type(places: Mapping[str, tuple[int, str]], size: int) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": list(places),
            "offsets": [offset for offset, _ in places.values()],
            "formats": [kind for _, kind in places.values()],
            "itemsize": size,
        }
    ).newbyteorder("<")


HEADER_TYPES = {348: _header_type(_NIFTI1, 348), 540: _header_type(_NIFTI2, 540)}
"""Little-endian types of a whole header, by its size, which is its first field."""
