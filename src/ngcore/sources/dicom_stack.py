"""How frames of a series make a volume: sorted along the normal, gaps found, times apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.arrays.affines import Affine
    from ngcore.sources.dicom_frames import Frame

_LPS_TO_RAS = np.diag([-1.0, -1, 1, 1])
_TURNED = 1e-3
"""Directions that differ by no more are one."""
_ASIDE = 0.02
"""Share of the distance of slices by which one may be off its place."""
_MOST_MISSING = 10
"""Times as many slices as there are: a larger gap is not a gap in a stack."""


class Stack(NamedTuple):
    """Frames in the order of a volume.

    Attributes
    ----------
    planes : tuple of tuple of Frame
        By plane along z, then by channel; of segmentations, by segment, none where it is empty.
    channels : int
    affine : ndarray of float64, shape (4, 4), or None
        To RAS millimetres; None where the files do not say where they lie.
    resolution_nm : tuple of float, or None
        Where there is no affine, and sizes nevertheless.
    notes : tuple of str
    """

    planes: tuple[tuple[Frame, ...], ...]
    channels: int
    affine: Affine | None
    resolution_nm: tuple[float, float, float] | None
    notes: tuple[str, ...]


def stack_frames(frames: Sequence[Frame], *, is_segmentation: bool) -> Stack:
    """Sort frames into a volume.

    Raises
    ------
    InputError
        If they are of several sizes or directions, or lie at odd places.
    """
    sizes = sorted({frame.file.size for frame in frames})
    if len(sizes) > 1:
        named = ", ".join(f"{columns} x {rows}" for columns, rows in sizes[:5])
        raise InputError(
            f"has slices of several sizes ({named}); keep only one size in the folder"
        )
    if any(frame.position is None or frame.directions is None for frame in frames):
        return _without_places(frames)
    directions = np.array([frame.directions for frame in frames])
    if np.abs(directions - directions[0]).max() > _TURNED:
        raise InputError(
            "has slices of several directions (a localizer among them?); keep only one "
            "direction in the "
            "folder"
        )
    across, down = directions[0]
    normal = np.cross(across, down)
    if not 0.9 < np.linalg.norm(normal) < 1.1:
        raise InputError("its ImageOrientationPatient does not hold directions; export it again")
    normal /= np.linalg.norm(normal)
    spacings = np.array([frame.spacing or (np.nan, np.nan) for frame in frames])
    if not np.isfinite(spacings).all() or spacings.min() <= 0:
        raise InputError("doesn't say the size of its pixels; pass --resolution and --affine")
    if np.abs(spacings - spacings[0]).max() > 1e-3 * spacings.min():
        raise InputError(
            "has slices with pixels of several sizes; keep only one size in the folder"
        )
    positions = np.array([frame.position for frame in frames])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    thickness = frames[0].thickness or float(spacings[0].min())
    levels = _levels(heights[order], thickness)
    groups = [[order[index] for index in level] for level in levels]
    tops = np.array([positions[group[0]] for group in groups])
    step, numbers = _step(tops, normal, thickness, is_sparse=is_segmentation)
    planes, channels = _planes(frames, groups, numbers, is_segmentation=is_segmentation)
    notes: tuple[str, ...] = ()
    missing = len(planes) - len(groups)
    if missing and not is_segmentation:
        absent = [number + 1 for number, plane in enumerate(planes) if not plane]
        shown = ", ".join(str(number) for number in absent[:5])
        more = f" and {missing - 5} more" if missing > 5 else ""
        word = "slice is" if missing == 1 else "slices are"
        notes = (
            f"{missing} {word} missing (number {shown}{more} of {len(planes)}); left empty, so "
            "that the others keep their places",
        )
    affine = np.eye(4)
    affine[:3, 0] = across * spacings[0, 0]
    affine[:3, 1] = down * spacings[0, 1]
    affine[:3, 2] = step
    affine[:3, 3] = tops[0]
    return Stack(planes, channels, _LPS_TO_RAS @ affine, None, notes)


def _levels(heights: np.ndarray, thickness: float) -> list[list[int]]:
    """Return the sorted frames that lie at one height, together."""
    levels: list[list[int]] = []
    for index, height in enumerate(heights):
        if levels and height - heights[levels[-1][0]] < _ASIDE * thickness:
            levels[-1].append(index)
        else:
            levels.append([index])
    return levels


def _step(
    tops: np.ndarray, normal: np.ndarray, thickness: float, *, is_sparse: bool
) -> tuple[np.ndarray, list[int]]:
    """Return the vector from slice to slice, and the number of each.

    It need not be the normal: a gantry may be tilted.
    """
    if len(tops) == 1:
        return normal * thickness, [0]
    gaps = np.diff(tops @ normal)
    distance = float(gaps.min() if is_sparse else np.median(gaps))
    counts = np.rint(gaps / distance)
    numbers = np.concatenate([[0], np.cumsum(counts)])
    step = (tops[-1] - tops[0]) / numbers[-1]
    aside = np.abs(tops - tops[0] - numbers[:, np.newaxis] * step).max()
    is_odd = aside > 2 * _ASIDE * max(distance, 0.5)
    if is_odd or counts.min() < 1 or (not is_sparse and numbers[-1] > _MOST_MISSING * len(tops)):
        raise InputError(
            f"its slices lie {gaps.min():.4g} to {gaps.max():.4g} mm apart, so they are not "
            "evenly spaced; resample them to one distance first"
        )
    return step, [int(number) for number in numbers]


def _planes(
    frames: Sequence[Frame],
    groups: list[list[int]],
    numbers: list[int],
    *,
    is_segmentation: bool,
) -> tuple[tuple[tuple[Frame, ...], ...], int]:
    planes: list[tuple[Frame, ...]] = [()] * (numbers[-1] + 1)
    for number, group in zip(numbers, groups, strict=True):
        planes[number] = tuple(sorted((frames[index] for index in group), key=_by_order))
    if is_segmentation:
        return tuple(planes), 1
    counts = sorted({len(plane) for plane in planes if plane})
    if len(counts) > 1:
        raise InputError(
            f"has {counts[0]} to {counts[-1]} slices at one place: times or echoes are missing; "
            "keep only one time or echo in the folder"
        )
    return tuple(planes), counts[0]


def _by_order(frame: Frame) -> tuple[float, ...]:
    return frame.order


def _without_places(frames: Sequence[Frame]) -> Stack:
    """Stack frames that don't say where they lie, by their numbers."""
    planes = tuple((frame,) for frame in sorted(frames, key=_by_order))
    spacing, thickness = frames[0].spacing, frames[0].thickness
    resolution = None
    if spacing is not None and min(spacing) > 0:
        z = thickness if thickness and thickness > 0 else spacing[0]
        resolution = (spacing[0] * 1e6, spacing[1] * 1e6, z * 1e6)
    note = (
        "doesn't say where its slices lie; they are sorted by number, and the volume has no "
        "place in the world"
    )
    return Stack(planes, 1, None, resolution, (note,))
