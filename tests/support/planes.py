"""Boxes of planes along the axis that a source is walked along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.precomputed.chunks import Box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.sources.base import Source


def planes_box(
    source: Source, start: int, stop: int, window: Sequence[slice] | None = None
) -> Box:
    """Return the box of planes [start, stop), counted from the source's first.

    `window` has ranges on the two other spatial axes, in ascending axis order; default all.
    """
    box = [slice(0, length) for length in source.shape[:3]]
    for axis in range(3):
        if axis == source.stream_axis:
            box[axis] = slice(start, stop)
        elif window is not None:
            box[axis], *window = window
    return Box.of_slices(box, source.header.voxel_offset)
