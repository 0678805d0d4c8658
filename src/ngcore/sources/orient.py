"""Reordering the axes of a source on the way in (`--orient`); every voxel is still read once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.affines import (
    Affine,
    axes_between,
    orientation_of,
    parse_orientation,
    reoriented,
    world_nm_to_affine,
)
from ngcore.precomputed.chunks import Box
from ngcore.sources.base import Source
from ngcore.sources.geometry import AskedGeometry, place
from ngcore.sources.volumes.raw import RawSource

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.arrays.affines import Axes, Signs
    from ngcore.sources.base import Box3, SourceHeader, Sparsity
    from ngcore.storage.stored_path import StoredPath


def orient_source(source: Source, code: str, asked: AskedGeometry) -> Source:
    """Return a source whose axes run as `code` says.

    Parameters
    ----------
    source : Source
        As stored. Without an affine, its axes are taken to run right, anterior, superior.
    code : str
        Anatomical direction of increasing x, y and z, such as "LPS".
    asked : AskedGeometry
        Resolution and offset of the result; `source` was opened without.

    Raises
    ------
    InputError
        If the code is none.
    """
    target = parse_orientation(code)
    affine = source.header.affine_voxel_to_mm
    own = "RAS" if affine is None else orientation_of(affine)
    axes, signs = axes_between(own, target)
    shape = source.shape
    new_affine: Affine | None = None
    resolution = asked.resolution
    if affine is not None:
        new_affine = reoriented(affine, shape, axes, signs)
    elif source.header.resolution_nm is not None:
        # Of a volume without transform.json: its own nanometres are the world.
        own_affine = world_nm_to_affine(
            np.eye(4), source.header.resolution_nm, source.header.voxel_offset
        )
        new_affine = reoriented(own_affine, shape, axes, signs)
    elif resolution is not None:
        by_own_axis = [resolution[axes.index(axis)] for axis in range(3)]
        own_affine = world_nm_to_affine(np.eye(4), by_own_axis, (0, 0, 0))
        new_affine = reoriented(own_affine, shape, axes, signs)
    a, b, c = (source.header.voxel_offset[axis] for axis in axes)
    placement = place(
        new_affine, AskedGeometry(resolution, asked.voxel_offset or (a, b, c)), source.name
    )
    if resolution is None and source.header.resolution_nm is not None:
        x, y, z = (source.header.resolution_nm[axis] for axis in axes)
        resolution = (x, y, z)
    header = replace(
        source.header,
        shape=(shape[axes[0]], shape[axes[1]], shape[axes[2]], shape[3]),
        affine_voxel_to_mm=placement.affine_voxel_to_mm,
        resolution_nm=resolution,
        voxel_offset=placement.voxel_offset,
    )
    return OrientedSource(header, source, axes, signs)


class OrientedSource(Source):
    """Another source, seen through a permutation and flips of its spatial axes.

    Parameters
    ----------
    header : SourceHeader
        Of the result.
    source : Source
    axes, signs : tuple of int
        `axes[t]` is the source's axis that becomes axis t, flipped where `signs[t]` is -1.
    """

    def __init__(self, header: SourceHeader, source: Source, axes: Axes, signs: Signs) -> None:
        self.header = header
        self._source = source
        self._axes = axes
        self._signs = signs
        self.stream_axis = axes.index(source.stream_axis)
        rows = axes.index(0 if source.memory_order == "F" else 2)
        self.memory_order = "C" if rows == 2 else "F"
        self._is_reversed = signs[self.stream_axis] < 0
        cost = source.cost
        if self._is_reversed and cost.access == "forward":
            cost = cost._replace(access="unpack")
        self.cost = cost
        self.workers = source.workers

    def sparsity(self) -> Sparsity | None:
        """Return how few chunks of the source are there."""
        return self._source.sparsity()

    def is_empty(self, box: Box) -> bool:
        """Whether the source knows a box to be empty."""
        return self._source.is_empty(self._stored(box.slices(self.header.voxel_offset)))

    def use_threads(self, count: int) -> None:
        """Let the source use so many threads."""
        self.workers = count
        self._source.use_threads(count)

    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        flips = tuple(slice(None, None, sign) for sign in self._signs)
        order = [self._axes.index(axis) for axis in range(3)]
        view = out[flips].transpose(*order, 3)
        self._source.read(self._stored(box), view)

    def _stored(self, box: Box3) -> Box:
        """Return a box of the source's own axes, for slices along those of this."""
        order = [self._axes.index(axis) for axis in range(3)]
        ranges = [_flipped(box[axis], self.shape[axis], self._signs[axis]) for axis in order]
        return Box.of_slices(ranges, self._source.header.voxel_offset)

    def spooled(self, path: Path) -> Source:
        """Unpack the source, and look at that through the same permutation."""
        spooled = self._source.spooled(path)
        return OrientedSource(self.header, spooled, self._axes, self._signs)

    def at(self, path: StoredPath) -> OrientedSource:
        """Do as `RawSource.at` with what was unpacked."""
        source = self._source
        assert isinstance(source, RawSource | OrientedSource)
        return OrientedSource(self.header, source.at(path), self._axes, self._signs)

    def finish(self) -> None:
        """Finish the source."""
        self._source.finish()

    def close(self) -> None:
        """Close the source."""
        self._source.close()


def _flipped(part: slice, length: int, sign: int) -> slice:
    """Return the range of the source's axis that a range of the result's stands for."""
    return part if sign > 0 else slice(length - part.stop, length - part.start)
