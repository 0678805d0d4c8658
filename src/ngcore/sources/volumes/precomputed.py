"""A precomputed volume as a source: its finest scale.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md
"""

from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.affines import Affine, world_nm_to_affine
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.names import TRANSFORM_NAME
from ngcore.precomputed.transform import parse_transform
from ngcore.sources.base import Cost, SourceHeader, Sparsity, SuggestedType
from ngcore.sources.chunked import refuse_too_many
from ngcore.sources.geometry import AskedGeometry, far_off, place
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.volumes.raw import ReadableSource
from ngcore.storage import is_url, open_store
from ngcore.volume.chunk_scan import is_empty

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.sources.base import Box3, VolumeType
    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray


_MAX_TRANSFORM = 1 << 20


def open_precomputed(found: Found, choices: Asked) -> PrecomputedSource:
    """Open the finest scale of a volume; its type, geometry and `transform.json` stay.

    Raises
    ------
    FormatError
        If `info` or `transform.json` break their format.
    """
    from ngcore.volume.read import open as open_volume

    path, name, asked = found.location, found.name, choices.geometry
    opened = open_volume(path, workers=1, cache_bytes=0)
    opened.store.lost_chunks = "refuse"
    scale = opened.scales[0]
    transform = _transform(opened, name)
    offset = scale.voxel_offset
    if transform is None:
        resolution = asked.resolution or scale.resolution
        placement = place(None, AskedGeometry(resolution, asked.voxel_offset or offset), name)
    else:
        affine = world_nm_to_affine(transform, scale.resolution, offset)
        asked = AskedGeometry(asked.resolution, asked.voxel_offset or offset)
        placement = place(affine, asked, name)
    kind: VolumeType = "segmentation" if opened.info.type == "segmentation" else "image"
    header = SourceHeader(
        name=name,
        shape=scale.shape,
        dtype=scale.dtype.newbyteorder("="),
        affine_voxel_to_mm=placement.affine_voxel_to_mm,
        # As info says it, without a detour over the affine.
        resolution_nm=asked.resolution or scale.resolution,
        voxel_offset=placement.voxel_offset,
        suggested_type=SuggestedType(kind, "the volume's info says so"),
        notes=(
            *(placement.notes or far_off(scale.resolution, asked.resolution or scale.resolution)),
            *_left_behind(opened.info, name),
        ),
        files=_files_beside_chunks(path),
    )
    return PrecomputedSource(header, scale, workers=choices.workers)


def _left_behind(info: VolumeInfo, name: str) -> list[str]:
    """Return a line about what of a volume is not voxels, and stays where it is."""
    members = {
        "mesh": info.mesh,
        "skeletons": info.skeletons,
        "segment_properties": info.segment_properties,
    }
    found = [f"{member} ({folder!r})" for member, folder in members.items() if folder is not None]
    if not found:
        return []
    return [
        f"{name}: its {', '.join(found)} are not converted; copy what is still valid and name "
        "it in info, or make it again with `ngcore mesh` and `ngcore labels`"
    ]


def _files_beside_chunks(path: str | Path) -> tuple[Path, ...]:
    if is_url(path):
        return ()
    if Path(path).is_file():
        return (Path(path),)
    names = ("info", "provenance", TRANSFORM_NAME)
    return tuple(Path(path, name) for name in names if Path(path, name).is_file())


def open_scale(
    scale: ScaleArray, asked: AskedGeometry, name: str = "", *, workers: int | None = None
) -> PrecomputedSource:
    """Open a scale of a volume that was opened already; it is an array with a resolution."""
    placement = place(None, asked, name)
    header = SourceHeader(
        name=name,
        shape=scale.shape,
        dtype=scale.dtype.newbyteorder("="),
        affine_voxel_to_mm=placement.affine_voxel_to_mm,
        resolution_nm=placement.resolution_nm or scale.resolution,
        voxel_offset=asked.voxel_offset or scale.voxel_offset,
        suggested_type=SuggestedType("image", "an array doesn't say that it holds labels"),
    )
    return PrecomputedSource(header, scale, workers=workers)


def _transform(opened: Volume, name: str) -> Affine | None:
    document = opened.store.get_whole(TRANSFORM_NAME, _MAX_TRANSFORM)
    if document is None:
        return None
    return parse_transform(document, f"{name}/{TRANSFORM_NAME}")


class PrecomputedSource(ReadableSource):
    """One scale of a volume. Each chunk is decoded once where planes are read in order.

    Planes of a row of chunks that is only partly asked for are kept until another row is.

    Parameters
    ----------
    header : SourceHeader
    scale : ScaleArray
    workers : int, optional
        Chunks decoded at a time; default the number of processors.
    """

    def __init__(
        self, header: SourceHeader, scale: ScaleArray, *, workers: int | None = None
    ) -> None:
        refuse_too_many(header)
        self.header = header
        self.workers = workers or os.cpu_count() or 1
        self._executor: ThreadPoolExecutor | None = None
        self._scale = scale
        self._depth = scale.chunk_size[2]
        self._kept: tuple[int, tuple[slice, slice], np.ndarray[Any, Any]] | None = None
        sides = zip(scale.chunk_size, self.shape, strict=False)
        chunk_bytes = math.prod(min(chunk, size) for chunk, size in sides) * self._voxel_bytes
        depth = min(self._depth, self.shape[2])
        self.cost = Cost(
            "planes",
            is_shareable=True,
            row_planes=depth,
            bytes_per_thread=2 * chunk_bytes + scale.bytes_ahead,  # encoded and not
            column_bytes=depth * self._voxel_bytes,  # of the row of chunks that is kept
        )

    @property
    def _voxel_bytes(self) -> int:
        return self.shape[3] * self.dtype.itemsize

    def sparsity(self) -> Sparsity | None:
        """Return how few chunks are there."""
        present = self._scale.present
        return None if present is None else Sparsity(len(present), present.total)

    def is_empty(self, box: Box) -> bool:
        """Whether no chunk of a box is there."""
        x, y, z = box.slices(self.header.voxel_offset)
        return is_empty(self._scale, self._box(x, y, z.start, z.stop))

    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        x, y, (start, stop) = box[0], box[1], (box[2].start, box[2].stop)
        first = start
        while first < stop:
            row = first // self._depth
            row_start = row * self._depth
            row_stop = min(row_start + self._depth, self.shape[2])
            last = min(stop, row_stop)
            part = out[:, :, first - start : last - start]
            if (first, last) == (row_start, row_stop):
                self._fill_row(part, x, y, first, last)
            else:
                planes = self._row(row, (x, y), row_start, row_stop)
                part[...] = planes[:, :, first - row_start : last - row_start]
            first = last

    def _row(
        self, row: int, window: tuple[slice, slice], start: int, stop: int
    ) -> np.ndarray[Any, Any]:
        if self._kept is None or self._kept[:2] != (row, window):
            self._kept = None
            x, y = window
            shape = (x.stop - x.start, y.stop - y.start, stop - start, self.shape[3])
            planes = np.empty(shape, self.dtype, order="F")
            self._fill_row(planes, x, y, start, stop)
            self._kept = (row, window, planes)
        return self._kept[2]

    def _fill_row(
        self, out: np.ndarray[Any, Any], x: slice, y: slice, start: int, stop: int
    ) -> None:
        """Fill `out` with a row of chunks; those that share a place on the y axis in one task."""
        height = self._scale.chunk_size[1]
        inner = range((y.start // height + 1) * height, y.stop, height)
        edges = [y.start, *inner, y.stop]
        if len(edges) == 2 or self.workers == 1:
            self._scale.read(self._box(x, y, start, stop), out)
            return
        from concurrent.futures import ThreadPoolExecutor, wait

        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.workers, "ngcore-chunks")
        futures = [
            self._executor.submit(
                self._scale.read,
                self._box(x, slice(first, last), start, stop),
                out[:, first - y.start : last - y.start],
            )
            for first, last in pairwise(edges)
        ]
        try:
            for future in futures:
                future.result()
        finally:
            # After an error nothing may go on writing to the caller's memory.
            for future in futures:
                future.cancel()
            wait(futures)

    def _box(self, x: slice, y: slice, start: int, stop: int) -> Box:
        origin = self._scale.voxel_offset
        first: Vec3 = (origin[0] + x.start, origin[1] + y.start, origin[2] + start)
        last: Vec3 = (origin[0] + x.stop, origin[1] + y.stop, origin[2] + stop)
        return Box(first, last)

    def __reduce__(self) -> tuple[Any, ...]:
        """Be opened anew where this is unpickled, to decode chunks one after the other."""
        return _reopened, (self.header, self._scale.location, self._scale.index)

    def close(self) -> None:
        """Let go of the planes that are kept, and end the threads."""
        self._kept = None
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None


def _reopened(header: SourceHeader, path: str, index: int) -> PrecomputedSource:
    from ngcore.volume.read import open as open_volume

    volume = open_volume(path, workers=1, cache_bytes=0)
    volume.store.lost_chunks = "refuse"
    return PrecomputedSource(header, volume.scales[index], workers=1)


def _is_packed(found: Found) -> bool:
    """Whether it is a zip file with a volume in it."""
    if "|zip:" in found.location:
        return True
    return found.head.startswith(b"PK") and open_store(found.location).size("info") is not None


register(
    SourceFormat(
        name="precomputed",
        open=open_precomputed,
        is_it=lambda found: found.holds("info") or _is_packed(found),
    )
)
register(
    SourceFormat(
        name="a URL of a precomputed volume",
        open=open_precomputed,
        is_it=lambda found: found.is_url,
        is_last_resort=True,
    )
)
