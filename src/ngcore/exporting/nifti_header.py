"""The header of a NIfTI file with a volume in it, as bytes; everything in millimetres.

https://nifti.nimh.nih.gov/nifti-1 and https://nifti.nimh.nih.gov/nifti-2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.affines import is_sheared, voxel_sizes_mm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ngcore.arrays.affines import Affine

LONGEST_NIFTI1_AXIS = 32767
"""NIfTI-1 keeps lengths of axes as int16."""

_ALIGNED = 2
"""The world is some scanner's or template's; a volume does not say which."""

_NO_EXTENSIONS = bytes(4)


def nifti_header(
    shape: tuple[int, int, int, int],
    dtype: np.dtype[Any],
    affine: Affine,
    *,
    is_label: bool,
    facts: Mapping[str, Any] | None = None,
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
    facts : mapping, optional
        Of the source: "sform_code" and "qform_code" are given back as they were, "time_step" is
        the step of the fourth axis in seconds.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kind: Any = Nifti1Header if max(shape) <= LONGEST_NIFTI1_AXIS else Nifti2Header
    header = kind(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape if shape[3] > 1 else shape[:3])
    facts = facts or {}
    sform, qform = _codes(facts, affine, shape)
    if is_sheared(affine):
        header.set_qform(None, code="unknown")
        header.set_zooms([*voxel_sizes_mm(affine), *([1.0] if shape[3] > 1 else [])])
        sform = sform or _ALIGNED
    else:
        header.set_qform(affine, code=qform)
    header.set_sform(affine, code=sform)
    if sform == 0:
        for row in ("srow_x", "srow_y", "srow_z"):
            header[row] = 0
    step = facts.get("time_step") if shape[3] > 1 else None
    header.set_xyzt_units("mm", "sec" if step else None)
    if step:
        header["pixdim"][4] = step
    header.set_slope_inter(1.0, 0.0)
    if is_label:
        header.set_intent("label")
    header["vox_offset"] = len(header.binaryblock) + len(_NO_EXTENSIONS)
    block: bytes = header.binaryblock + _NO_EXTENSIONS
    return block


def _codes(facts: Mapping[str, Any], affine: Affine, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the codes of sform and qform: those of the source, where they still say the truth.

    Without codes a file has its voxel sizes alone: that is so only where x runs to the left and
    the middle of the volume is the origin.
    """
    codes = [facts.get(name) for name in ("sform_code", "qform_code")]
    sform, qform = (
        code if isinstance(code, int) and not isinstance(code, bool) and 0 <= code <= 5 else None
        for code in codes
    )
    if sform is None or qform is None:
        return _ALIGNED, _ALIGNED
    if sform == qform == 0:
        sizes = np.multiply(voxel_sizes_mm(affine), [-1, 1, 1])
        expected = np.diag([*sizes, 1.0])
        expected[:3, 3] = -sizes * (np.array(shape[:3]) - 1) / 2
        if not np.allclose(expected, affine, atol=1e-3 * np.abs(sizes).min()):
            return _ALIGNED, _ALIGNED
    return sform, qform
