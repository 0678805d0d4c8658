"""Where a source's voxels lie: what its header says, and what the caller asks for over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict, Unpack

import numpy as np

from ngcore.arrays.affines import (
    NM_PER_MM,
    Affine,
    checked_affine,
    is_sheared,
    resolution_nm,
    with_resolution,
)
from ngcore.errors import FormatError, InputError
from ngcore.sources.base import Segment, Shape4, SourceHeader, SuggestedType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ngcore.precomputed.chunks import Vec3


_FAR_OFF = 100
"""So many times smaller or larger, a voxel size is hardly what was meant."""


class AskedGeometry(NamedTuple):
    """What the caller wants instead of what a source says; None: as the source says.

    Attributes
    ----------
    resolution : tuple of float, (x, y, z), or None
        Voxel size in nanometres.
    voxel_offset : tuple of int, (x, y, z), or None
        Global index of the first voxel.
    affine : ndarray of float64, shape (4, 4), or None
        From voxel centres to millimetres.
    """

    resolution: tuple[float, float, float] | None = None
    voxel_offset: Vec3 | None = None
    affine: Affine | None = None


class HeaderFields(TypedDict, total=False):
    """Fields of `SourceHeader` that have nothing to do with its place."""

    shape: Required[Shape4]
    dtype: Required[np.dtype[Any]]
    suggested_type: Required[SuggestedType]
    slope: float
    intercept: float
    files: tuple[Path, ...]
    facts: Mapping[str, Any]
    segments: tuple[Segment, ...]


class Placement(NamedTuple):
    """Where voxels lie; the fields of `SourceHeader` of the same names."""

    affine_voxel_to_mm: Affine | None
    resolution_nm: tuple[float, float, float] | None
    voxel_offset: Vec3
    notes: tuple[str, ...] = ()


def asked_affine(values: Any) -> Affine | None:
    """Return the affine that a caller passes: 4x4, 3x4, or 12 or 16 numbers, row-major.

    Raises
    ------
    InputError
        If it is none, or can't be turned back.
    """
    if values is None:
        return None
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.size not in (12, 16) or (numbers.ndim > 1 and numbers.shape[-1] != 4):
        got = f"shape {numbers.shape}" if numbers.size else repr(values)
        raise InputError(f"affine must be a 4 x 4 array, or 12 or 16 numbers, got {got}")
    affine = np.vstack([numbers.reshape(-1, 4)[:3], [0, 0, 0, 1]])
    if numbers.size == 16 and not np.array_equal(numbers.reshape(4, 4)[3], affine[3]):
        raise InputError("affine must end with the row 0, 0, 0, 1; pass it row-major")
    try:
        return checked_affine(affine, "--affine", advice="pass one that can be inverted")
    except FormatError as error:
        raise InputError(str(error)) from error


def place(affine: Affine | None, asked: AskedGeometry, name: str) -> Placement:
    """Combine a source's affine with what was asked for.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4), or None
        From voxel centres to millimetres, unchecked. None: the source has none.
    asked : AskedGeometry
    name : str
        The source, for messages.

    Raises
    ------
    FormatError
        If the affine can't be used and no resolution stands in for it.
    """
    offset = asked.voxel_offset or (0, 0, 0)
    if asked.affine is not None:
        affine = asked.affine
    if affine is None:
        return Placement(None, asked.resolution, offset)
    notes: tuple[str, ...] = ()
    try:
        affine = checked_affine(affine, name)
    except FormatError as error:
        message = str(error).removeprefix(": ")
        if asked.resolution is None:
            raise FormatError(message) from error
        reason = message.partition(";")[0]
        notes = (f"{reason}; axes are assumed to be right, anterior, superior, with --resolution",)
        affine = np.diag([*(size / NM_PER_MM for size in asked.resolution), 1.0])
    if is_sheared(affine):
        notes += (
            f"{name}{': ' if name else ''}the affine is sheared; transform.json keeps the shear",
        )
    if asked.resolution is None:
        return Placement(affine, resolution_nm(affine), offset, notes)
    notes += far_off(resolution_nm(affine), asked.resolution)
    affine = with_resolution(affine, asked.resolution)
    return Placement(affine, asked.resolution, offset, notes)


def far_off(
    stated: tuple[float, float, float], asked: tuple[float, float, float]
) -> tuple[str, ...]:
    """Return a warning where voxel sizes, in nm, are so far apart that units are mixed up."""
    ratios = [new / old for new, old in zip(asked, stated, strict=True)]
    if all(1 / _FAR_OFF <= ratio <= _FAR_OFF for ratio in ratios):
        return ()
    here, there = (" x ".join(f"{size:g}" for size in sizes) for sizes in (asked, stated))
    return (
        f"--resolution says voxels of {here} nm, the source itself {there} nm; check the unit",
    )


def placed_header(
    affine: Affine | None,
    asked: AskedGeometry,
    *,
    notes: tuple[str, ...] = (),
    resolution: tuple[float, float, float] | None = None,
    **fields: Unpack[HeaderFields],
) -> SourceHeader:
    """Return the header of a source with its place in the world.

    Parameters
    ----------
    affine : ndarray of float64, shape (4, 4), or None
        As the source has it, unchecked.
    asked : AskedGeometry
        What the caller wants instead.
    notes : tuple of str
        What else should be said.
    resolution : tuple of float, (x, y, z), in nanometres, optional
        Of a source that has voxel sizes and no affine.
    **fields
        Of `SourceHeader`.
    """
    if affine is None and asked.affine is None and asked.resolution is None:
        asked = asked._replace(resolution=resolution)
    if affine is None and resolution is not None and asked.resolution is not None:
        notes += far_off(resolution, asked.resolution)
    placement = place(affine, asked, "")
    return SourceHeader(
        name="",
        affine_voxel_to_mm=placement.affine_voxel_to_mm,
        resolution_nm=placement.resolution_nm,
        voxel_offset=placement.voxel_offset,
        notes=notes + placement.notes,
        **fields,
    )


def shape_with_channels(shape: Sequence[int], name: str, color_count: int = 1) -> Shape4:
    """Return a shape as (x, y, z, channel).

    Parameters
    ----------
    shape : sequence of int
        As stored, without the colours of a voxel.
    name : str
        The source, for messages; empty where it is put onto them later.
    color_count : int
        3 or 4 where a voxel is RGB or RGBA.

    Raises
    ------
    InputError
        If there are fewer than two axes, or more than can be shown.
    """
    lengths = [int(length) for length in shape]
    where = f"{name}: " if name else ""
    if len(lengths) < 2:
        raise InputError(f"{where}a volume has 2 to 4 axes, got shape {tuple(lengths)}")
    kept = lengths[:3] if color_count > 1 else lengths[:4]
    if any(length != 1 for length in lengths[len(kept) :]):
        extra = " of colours" if color_count > 1 else ""
        raise InputError(
            f"{where}shape {tuple(lengths)}{extra} has more axes than x, y, z and channel; "
            f"axes beyond them must be of length 1: save one part of it, or reorder its axes"
        )
    kept += [1] * (3 - len(kept))
    x, y, z = kept[:3]
    channels = kept[3] if len(kept) == 4 else color_count
    return x, y, z, channels
