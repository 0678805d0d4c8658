"""The header of a NIfTI file with a volume in it, as bytes; everything in millimetres.

https://nifti.nimh.nih.gov/nifti-1 and https://nifti.nimh.nih.gov/nifti-2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore.arrays.affines import is_sheared, voxel_sizes_mm

if TYPE_CHECKING:
    import numpy as np

    from ngcore.arrays.affines import Affine

LONGEST_NIFTI1_AXIS = 32767
"""NIfTI-1 keeps lengths of axes as int16."""

_ALIGNED = "aligned"
"""The world is some scanner's or template's; a volume does not say which."""

_NO_EXTENSIONS = bytes(4)


def nifti_header(
    shape: tuple[int, int, int, int],
    dtype: np.dtype[Any],
    affine: Affine,
    *,
    is_label: bool,
) -> bytes:
    """Return all that comes before the voxels in a `.nii` file; little-endian, as they must be.

    The affine is the sform, and the qform too where its axes meet at right angles, as a qform
    can't hold others. Volumes with an axis of more than 32767 voxels are NIfTI-2.

    Parameters
    ----------
    shape : tuple of int, (x, y, z, channel)
        One channel makes no axis of its own.
    dtype : dtype
        Of the voxels: an integer type or float32.
    affine : ndarray of float64, shape (4, 4)
        From indices of voxel centres to world millimetres.
    is_label : bool
        Say in the header that voxels are labels.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kind: Any = Nifti1Header if max(shape) <= LONGEST_NIFTI1_AXIS else Nifti2Header
    header = kind(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape if shape[3] > 1 else shape[:3])
    if is_sheared(affine):
        header.set_qform(None, code="unknown")
        header.set_zooms([*voxel_sizes_mm(affine), *([1.0] if shape[3] > 1 else [])])
    else:
        header.set_qform(affine, code=_ALIGNED)
    header.set_sform(affine, code=_ALIGNED)
    header.set_xyzt_units("mm")
    header.set_slope_inter(1.0, 0.0)
    if is_label:
        header.set_intent("label")
    header["vox_offset"] = len(header.binaryblock) + len(_NO_EXTENSIONS)
    block: bytes = header.binaryblock + _NO_EXTENSIONS
    return block
