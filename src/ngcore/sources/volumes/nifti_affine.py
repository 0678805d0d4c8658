"""The affine of a NIfTI header: sform, qform or voxel sizes, in millimetres.

https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields/nifti1fields_pages/qsform.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ngcore.arrays.affines import Affine, checked_affine, difference_in_voxels
from ngcore.errors import FormatError, InputError

if TYPE_CHECKING:
    from ngcore.sources.geometry import AskedGeometry

Form = Literal["auto", "sform", "qform"]
Fields = Mapping[str, Any]
"""A header's fields by name: what a structured NumPy scalar is."""

MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
UNIT_NAMES = {1: "metres", 3: "micrometres"}

EPSILONS_OF_NOISE = 3
"""The square of a quaternion's first part is rounding, of a half turn, up to so many epsilons."""

TOLERATED_DIFFERENCE = 0.01
"""Voxels by which sform and qform may differ unmentioned."""


def affine_of_header(
    fields: Fields,
    shape: tuple[int, ...],
    form: Form,
    asked: AskedGeometry,
    name: str,
) -> tuple[Affine, tuple[str, ...]]:
    """Return the affine in millimetres that `form` asks for, and what should be said about it.

    Parameters
    ----------
    fields : mapping
        The header's fields by their names in nifti1.h.
    shape : tuple of int, (x, y, z, ...)
    form : "auto", "sform" or "qform"
    asked : AskedGeometry
        A resolution in it stands in for voxel sizes that can't be used.
    name : str
        The source, for messages.

    Raises
    ------
    FormatError
        If voxel sizes or quaternion that are needed can't be used.
    InputError
        If the form that is asked for is not there.
    """
    codes = {"sform": int(fields["sform_code"]), "qform": int(fields["qform_code"])}
    used = form
    if form == "auto":
        used = "sform" if codes["sform"] > 0 else "qform"
    elif codes[form] <= 0:
        raise InputError(f"{name}: has no {form} (its code is {codes[form]}); pass --form auto")
    unit = int(fields["xyzt_units"]) & 7
    mm = MM_PER_UNIT.get(unit, 1.0)
    notes: tuple[str, ...] = ()
    if unit in UNIT_NAMES:
        notes = (
            f"{name}: its affine is in {UNIT_NAMES[unit]}; it is read in that unit, not in mm",
        )
    elif unit not in MM_PER_UNIT:
        notes = (f"{name}: its unit of length has the unknown code {unit}; mm is assumed",)
    sform = np.eye(4)
    sform[:3] = [fields["srow_x"], fields["srow_y"], fields["srow_z"]]
    if used == "qform" or codes["qform"] > 0:
        try:
            qform, size_notes = _qform(fields, codes["qform"], shape, asked, name)
            if used == "qform":
                notes += size_notes
        except FormatError:
            if used == "qform" and asked.affine is None:
                raise
            return _in_mm(sform, mm), notes  # one that is not used may be wrong
    if codes["sform"] > 0 and codes["qform"] > 0:
        notes += _compare(sform, qform, shape, used, name)
    return _in_mm(sform if used == "sform" else qform, mm), notes


def _in_mm(affine: Affine, mm_per_unit: float) -> Affine:
    """Return the affine in millimetres; what is not finite is refused where it is placed."""
    with np.errstate(over="ignore"):
        return np.vstack([affine[:3] * mm_per_unit, affine[3:]])


def _qform(
    fields: Fields, code: int, shape: tuple[int, ...], asked: AskedGeometry, name: str
) -> tuple[Affine, tuple[str, ...]]:
    """Return the affine of quaternion, offsets and voxel sizes, and notes.

    At code 0 the sizes are all there is: then x runs to the left and the middle of the volume is
    the origin, as nibabel and SPM have it.
    """
    other = "--form sform" if int(fields["sform_code"]) > 0 else "--affine"
    rank = int(fields["dim"][0])
    sizes = fields["pixdim"][1:4].astype(np.float64)
    sizes[rank:] = np.where(sizes[rank:] > 0, sizes[rank:], 1.0)  # axes that are not there
    if asked.resolution is not None:
        sizes = np.where(np.isfinite(sizes) & (sizes > 0), sizes, 1.0)  # stands in for them
    notes: tuple[str, ...] = ()
    if (sizes < 0).any():
        notes = ("voxel sizes (pixdim) are negative; their signs are ignored",)
        sizes = np.abs(sizes)
    if not (np.isfinite(sizes).all() and sizes.min() > 0):
        raise FormatError(
            f"{name}: voxel sizes (pixdim) are {' x '.join(f'{size:g}' for size in sizes)}, "
            f"expected positive numbers; pass --resolution X,Y,Z in nanometres"
        )
    affine = np.diag([*sizes, 1.0])
    if code <= 0:
        affine[0, 0] = -affine[0, 0]
        lengths = np.array([*shape[:3], 1, 1][:3])
        affine[:3, 3] = -(affine[:3, :3] @ ((lengths - 1) / 2))
        left = (
            "doesn't say where left is (sform and qform codes are 0); x is assumed to run to "
            "the left, as nibabel does; pass --affine if that is wrong"
        )
        return affine, notes if asked.affine is not None else (*notes, left)
    parts = [float(fields[part]) for part in ("quatern_b", "quatern_c", "quatern_d")]
    square = 1 - sum(x * x for x in parts)
    # NIfTI-2 has float64, but often what was float32 before.
    if not square > -EPSILONS_OF_NOISE * float(np.finfo(np.float32).eps):
        raise FormatError(
            f"{name}: the qform's quaternion ({', '.join(f'{part:g}' for part in parts)}) is not "
            f"a rotation; pass {other}"
        )
    noise = EPSILONS_OF_NOISE * float(np.finfo(fields["quatern_b"].dtype).eps)
    rotation = _rotation(math.sqrt(square) if square >= noise else 0.0, *parts)
    if fields["pixdim"][0] < 0:
        sizes[2] = -sizes[2]
    affine[:3, :3] = rotation * sizes
    offsets = ("qoffset_x", "qoffset_y", "qoffset_z")
    affine[:3, 3] = [float(fields[part]) for part in offsets]
    return affine, notes


def _compare(
    sform: Affine, qform: Affine, shape: tuple[int, ...], used: str, name: str
) -> tuple[str, ...]:
    """Say so where sform and qform put voxels at different places."""
    try:
        difference = difference_in_voxels(
            checked_affine(sform, name), checked_affine(qform, name), shape
        )
    except FormatError:
        return ()  # the one that is used is checked where it is used
    if difference <= TOLERATED_DIFFERENCE:
        return ()
    other = "qform" if used == "sform" else "sform"
    return (
        f"{name}: sform and qform differ by up to {difference:.3g} voxels; the {used} is used; "
        f"pass --form {other} for the other (Neuroglancer's own nifti source takes the qform)",
    )


def _rotation(a: float, b: float, c: float, d: float) -> Affine:
    """Return the 3x3 rotation of a quaternion, of length 1 but for rounding."""
    length = math.sqrt(a * a + b * b + c * c + d * d)
    a, b, c, d = a / length, b / length, c / length, d / length
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
