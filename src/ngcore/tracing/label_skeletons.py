"""Skeletons of the labels of a volume: each found in the box that holds it, in bounded memory."""

from __future__ import annotations

import logging
import math
import os
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import InputError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.skeletons import Skeleton
from ngcore.tracing.centre_lines import centre_lines, memory_needed
from ngcore.volume.chunk_scan import blocks_there
from ngcore.volume.read import open as open_volume
from ngcore.work.processes import WorkerProcesses
from ngcore.work.threads import map_ahead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3
    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray

    Corners = tuple[Vec3, Vec3]

logger = logging.getLogger(__name__)

_READ_BYTES = 32 << 20
_PROCESS_BYTES = 160 << 20
"""Of a process with NumPy and SciPy, before it works."""
_LEAST_BYTES = 64 << 20
_MOST_BYTES = 640 << 20
"""For a label. Larger boxes are looked at in larger voxels, however much memory there is: what is
found must not depend on that. The usual `--memory` lets so much in."""
_CACHE_BYTES = 64 << 20
_SHOWN = 3


class _Found(NamedTuple):
    """A label, the box that holds it, in voxels from 0, and how many of them make one."""

    label: int
    start: Vec3
    stop: Vec3
    factors: Vec3


def check_segmentation(volume: Volume, scale: int) -> ScaleArray:
    """Return the scale whose labels are wanted.

    Raises
    ------
    InputError
        The volume is an image, or has no such scale.
    """
    where, scales = volume.store.location, volume.scales
    if volume.info.type != "segmentation":
        raise InputError(
            f"{where} is an image, and only labels have skeletons; convert it with --type "
            "segmentation if it holds labels"
        )
    if not 0 <= scale < len(scales):
        raise InputError(f"{where} has no scale {scale}; choose 0 to {len(scales) - 1}")
    return scales[scale]


def label_skeletons(
    scale: ScaleArray, boxes: Mapping[int, Corners], memory: int, workers: int | None
) -> Iterator[tuple[int, Skeleton]]:
    """Yield labels and their skeletons, in nanometres of the volume.

    Parameters
    ----------
    scale : ScaleArray
    boxes : mapping of int to (first voxel, the one after the last)
        As `find_boxes` returns them.
    memory : int, in bytes
        How many labels are looked at together; it changes no skeleton. Labels whose boxes are very
        large are looked at in larger voxels, and a warning names them.
    workers : int, optional
        Processes; default all cores.

    Raises
    ------
    InputError
        A label alone takes more memory.
    """
    with WorkerProcesses(workers) as processes:
        count = min(processes.workers, len(boxes))
        alone = max(_LEAST_BYTES, memory - 2 * _PROCESS_BYTES)
        share = max(_LEAST_BYTES, (memory - _PROCESS_BYTES) // count - _PROCESS_BYTES)
        small: list[_Found] = []
        large: list[_Found] = []
        for label, (start, stop) in boxes.items():
            factors = _factors(start, stop, scale.resolution, _MOST_BYTES)
            found = _Found(label, start, stop, factors)
            needed = _needed(start, stop, factors, scale.resolution)
            if needed > max(share, alone):
                raise InputError(
                    f"label {label} has a box of {_text_of(start, stop)} voxels, too many for "
                    f"--memory of {memory >> 20} MiB; pass --memory "
                    f"{-(-(needed + 2 * _PROCESS_BYTES) >> 20)}M or a coarser --scale"
                )
            (small if needed <= share else large).append(found)
        _warn_of_larger([*small, *large])
        # Neighbours share chunks, which stay in memory for a while.
        small.sort(key=lambda found: (found.start[::-1], found.label))
        trace = partial(_trace, processes, os.urandom(8), scale)
        yield from map_ahead(trace, small, processes.workers)
        for found in large:
            yield trace(found)


def find_boxes(scale: ScaleArray, wanted: Collection[int] | None) -> dict[int, Corners]:
    """Return the first voxel of each label but 0, and the one after its last, along each axis.

    Raises
    ------
    InputError
        There are no labels, or not all that are wanted.
    """
    asked = None if wanted is None else np.array(sorted(wanted), np.uint64)
    boxes: dict[int, NDArray[np.int64]] = {}
    for place, block in blocks_there(scale):
        labels, found = _boxes_in(block[..., 0])
        found += np.tile([part.start for part in place], 2)
        keep = labels != 0
        if asked is not None:
            keep &= np.isin(labels, asked)
        for label, box in zip(labels[keep].tolist(), found[keep], strict=True):
            known = boxes.get(label)
            if known is not None:
                np.minimum(known[:3], box[:3], out=known[:3])
                np.maximum(known[3:], box[3:], out=known[3:])
            else:
                boxes[label] = box
    missing = sorted({*(wanted or ())} - boxes.keys())
    if missing:
        raise InputError(f"{scale.location} holds no voxel of label {missing[0]}; choose others")
    if not boxes:
        raise InputError(f"{scale.location} holds no labels but 0; there is nothing to trace")
    return {label: _corners(box) for label, box in sorted(boxes.items())}


def _corners(box: NDArray[np.int64]) -> Corners:
    a, b, c, d, e, f = box.tolist()
    return (a, b, c), (d, e, f)


def _boxes_in(block: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the labels of a block, shape (x, y, z), and the box of each, shape (n, 6)."""
    flat = block.reshape(-1, order="F")
    width, height, _ = block.shape
    # Runs of one label along x, of which there are far fewer than voxels.
    is_start = np.empty(len(flat), np.bool_)
    is_start[1:] = flat[1:] != flat[:-1]
    is_start[::width] = True
    starts = np.flatnonzero(is_start)
    rows, x = np.divmod(starts, width)
    z, y = np.divmod(rows, height)
    stops = np.append(starts[1:], len(flat)) - rows * width
    values = flat[starts]
    labels = np.where(values > 0, values, 0).astype(np.uint64)  # below 0 is no label
    order = np.argsort(labels, kind="stable")
    labels = labels[order]
    firsts = np.flatnonzero(np.append(True, labels[1:] != labels[:-1]))
    low = [np.minimum.reduceat(part[order], firsts) for part in (x, y, z)]
    high = [np.maximum.reduceat(part[order], firsts) for part in (stops, y + 1, z + 1)]
    return labels[firsts], np.stack([*low, *high], axis=1)


def _factors(start: Vec3, stop: Vec3, resolution: Iterable[float], most: int) -> Vec3:
    """Return how many voxels are taken as one along each axis, for a box to fit."""
    factors = [1, 1, 1]
    sizes = tuple(resolution)
    while _needed(start, stop, factors, sizes) > most:
        voxel = [size * factor for size, factor in zip(sizes, factors, strict=True)]
        sides = [b - a for a, b in zip(start, stop, strict=True)]
        # The smallest side of a voxel first, where there is anything to join.
        axis = min(range(3), key=lambda n: (sides[n] <= factors[n], voxel[n], n))
        factors[axis] *= 2
    return factors[0], factors[1], factors[2]


def _needed(start: Vec3, stop: Vec3, factors: Iterable[int], sizes: Iterable[float]) -> int:
    shape = [-(-(b - a) // f) + 2 for a, b, f in zip(start, stop, factors, strict=True)]
    return memory_needed(shape, np.multiply(tuple(sizes), tuple(factors)).tolist())


def _warn_of_larger(found: list[_Found]) -> None:
    coarse = [label for label in found if label.factors != (1, 1, 1)]
    if not coarse:
        return
    names = ", ".join(f"{x.label} ({_text_of(x.start, x.stop)} voxels)" for x in coarse[:_SHOWN])
    more = f" and {len(coarse) - _SHOWN} more" if len(coarse) > _SHOWN else ""
    logger.warning(
        "label %s%s: so large that up to %s voxels count as one if any of them has the label, "
        "whatever --memory is; lines of thin parts that lie close together may join",
        *(names, more, " x ".join(map(str, np.max([x.factors for x in coarse], axis=0)))),
    )


def _text_of(start: Vec3, stop: Vec3) -> str:
    return " x ".join(map(str, np.subtract(stop, start).tolist()))


def _trace(
    processes: WorkerProcesses, run: bytes, scale: ScaleArray, found: _Found
) -> tuple[int, Skeleton]:
    return found.label, processes.call(trace_label, run, scale.location, scale.index, found)


def trace_label(run: bytes, location: str, scale: int, found: _Found) -> Skeleton:
    """Return the skeleton of a label, in nanometres of its volume.

    Parameters
    ----------
    run : bytes
        For calls with the same ones the volume is opened once.
    location : str
    scale : int
    found : _Found

    Raises
    ------
    FormatError, StorageError
        The volume is damaged or can't be read.
    """
    array = _opened(run, location).scales[scale]
    factors = np.array(found.factors)
    sizes = np.array(array.resolution) * factors
    lines = centre_lines(_shape_of(array, found), sizes.tolist())
    # From the centre of the first voxel of the shape.
    first = (np.add(array.voxel_offset, found.start) + factors / 2) * array.resolution
    points = (lines.points + first).astype(np.float32)
    return Skeleton(points, lines.edges.astype(np.uint32), {"radius": lines.radii})


@lru_cache(maxsize=1)
def _opened(_run: bytes, location: str) -> Volume:
    volume = open_volume(location, workers=1, cache_bytes=_CACHE_BYTES)
    volume.store.lost_chunks = "refuse"
    return volume


def _shape_of(array: ScaleArray, found: _Found) -> NDArray[np.bool_]:
    """Return where the label is, some planes at a time; of several voxels where any is."""
    sides = np.subtract(found.stop, found.start).tolist()
    a, b, c = np.add(array.voxel_offset, found.start).tolist()
    x, y, z = found.factors
    shape = np.zeros([-(-n // f) for n, f in zip(sides, (x, y, z), strict=True)], np.bool_)
    plane = math.prod(sides[:2]) * z
    step = max(1, _READ_BYTES // (plane * array.dtype.itemsize)) * z
    for low in range(0, sides[2], step):
        high = min(low + step, sides[2])
        box = Box((a, b, c + low), (a + sides[0], b + sides[1], c + high))
        part = array.read(box)[..., 0] == found.label
        for axis, factor in enumerate((x, y, z)):
            if factor > 1:
                edges = np.arange(0, part.shape[axis], factor)
                part = np.logical_or.reduceat(part, edges, axis=axis)
        shape[:, :, low // z : low // z + part.shape[2]] = part
    return shape
