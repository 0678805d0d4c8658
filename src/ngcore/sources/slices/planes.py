"""Volumes that come plane by plane, in any order: folders of slices and TIFF stacks.

Each plane is decoded once per `read`, several at a time on threads, straight into its place in the
caller's memory; an inverted or exchanged axis is a matter of where a pixel goes.
"""

from __future__ import annotations

import os
import threading
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.affines import NM_PER_MM
from ngcore.sources.base import Cost
from ngcore.sources.geometry import AskedGeometry, placed_header
from ngcore.sources.slices.orientation import SliceOrientation
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.raw import ReadableSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ngcore.sources.base import Box3
    from ngcore.sources.slices.slice_file import PlaneLayout


class PlanesSource(ReadableSource):
    """A stack of planes, each decoded on its own; any number of threads may read.

    Parameters
    ----------
    name : str
        For messages.
    layout : PlaneLayout
        Of every plane, all channels included.
    plane_count : int
    input_orientation : str or None
        One of 48 codes; the volume that comes out has RAS axis order, and lies in the world.
        None: RAS, without a world.
    pixel_size_nm : tuple of float, (column, row, slice), or None
        What the input says about its resolution.
    asked : AskedGeometry
        Overrides what the input says.
    workers : int, optional
        Planes decoded at a time; default the number of processors. Settable until the first read.
    notes : tuple of str
    files : tuple of Path
        Where the planes lie.
    plane_scratch_bytes : int
        Memory that decoding one plane takes, beside the array that it fills.
    is_compressed : bool
        A part of a plane costs as much as the plane.
    facts : mapping of str to JSON value, optional
        See `SourceHeader`.
    """

    def __init__(
        self,
        name: str,
        layout: PlaneLayout,
        plane_count: int,
        input_orientation: str | None,
        *,
        pixel_size_nm: tuple[float, float, float] | None = None,
        asked: AskedGeometry = AskedGeometry(),  # noqa: B008 - it is frozen
        workers: int | None = None,
        notes: tuple[str, ...] = (),
        files: tuple[Path, ...] = (),
        plane_scratch_bytes: int = 0,
        is_compressed: bool = True,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        orientation = SliceOrientation("RAS" if input_orientation is None else input_orientation)
        size = None if pixel_size_nm is None else orientation.in_volume_order(*pixel_size_nm)
        lengths = size or asked.resolution
        affine = None
        if input_orientation is not None and lengths is not None:
            # somebody said how the slices lie: the volume, in RAS order, lies in the world
            affine = np.diag([*(length / NM_PER_MM for length in lengths), 1.0])
        header = placed_header(
            affine,
            asked,
            notes=notes,
            resolution=size,
            shape=(
                *orientation.in_volume_order(layout.columns, layout.rows, plane_count),
                layout.samples,
            ),
            dtype=layout.dtype,
            suggested_type=suggest_type(name, layout.samples),
            files=files,
            facts=facts or {},
        )
        self.header = replace(header, name=name)
        self.orientation = orientation
        self.stream_axis = orientation.stream_axis
        self.memory_order = orientation.memory_order
        self.workers = workers or os.cpu_count() or 1
        self._layout = layout
        self._plane_count = plane_count
        self._executor: ThreadPoolExecutor | None = None
        self._executor_lock = threading.Lock()
        self.cost = Cost(
            "whole planes" if is_compressed else "planes",
            is_concurrent=True,
            bytes_per_thread=plane_scratch_bytes,
        )

    @abstractmethod
    def _read_plane(
        self, index: int, into: np.ndarray[Any, Any], rows: slice, columns: slice
    ) -> None:
        """Fill `into`, of shape (row, column, channel), with a window of plane `index`."""

    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        # Each plane is decoded once, whatever part of it the box takes. Nothing is kept.
        start, stop = box[self.stream_axis].start, box[self.stream_axis].stop
        flip_columns, flip_rows, flip_planes = self.orientation.inverted
        column_axis, row_axis, _ = self.orientation.axes
        rows = _in_input(box[row_axis], self._layout.rows, is_inverted=flip_rows)
        columns = _in_input(box[column_axis], self._layout.columns, is_inverted=flip_columns)

        def read_plane(position: int) -> None:
            index = self._plane_count - 1 - position if flip_planes else position
            into = self.orientation.plane_of_volume(out, position - start)
            self._read_plane(index, into, rows, columns)

        if stop - start == 1 or self.workers == 1:
            for position in range(start, stop):
                read_plane(position)
            return
        futures = [self._threads().submit(read_plane, position) for position in range(start, stop)]
        try:
            for future in futures:
                future.result()
        finally:
            # after an error nothing may go on writing to the caller's memory
            for future in futures:
                future.cancel()
            for future in futures:
                if not future.cancelled():
                    future.exception()

    def close(self) -> None:
        """End the threads."""
        with self._executor_lock:
            if self._executor is not None:
                self._executor.shutdown()
                self._executor = None

    def _threads(self) -> ThreadPoolExecutor:
        with self._executor_lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self.workers, "ngcore-slices")
            return self._executor


def _in_input(part: slice, length: int, *, is_inverted: bool) -> slice:
    """Return a range of the volume as the input counts it."""
    if is_inverted:
        return slice(length - part.stop, length - part.start)
    return slice(part.start, part.stop)
