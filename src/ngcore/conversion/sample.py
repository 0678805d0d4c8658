"""A look at a sample of a source before it is converted, which `--encoding auto` needs.

It tells the lossless encoding that makes the sample smallest, and whether an image looks like
labels. Without it, that is seen while chunks are written, and the source is read once.

The sample is of chunks of the finest scale, spread evenly; of a source that can only be read in
order, of one row of chunks not far from its middle. So what it tells depends on the source and the
options alone.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.codecs import gzip
from ngcore.conversion.likeness import Likeness, likeness_of_chunk
from ngcore.conversion.window import empty_planes
from ngcore.errors import InputError, MissingExtraError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.encodings import make_encoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ngcore.arrays.values import ValueMapping
    from ngcore.conversion.options import ConvertOptions
    from ngcore.precomputed.encodings import ChunkEncoding
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.sources.base import Source

    Voxels = np.ndarray[Any, np.dtype[Any]]

CANDIDATES = ("raw", "png", "jxl", "compressed_segmentation")
"""Those that lose nothing; of two that are as small, the first is taken."""

_PLACES = (1 / 6, 1 / 2, 5 / 6)
_SAMPLE_BYTES = 32 << 20
_READ_BYTES = 512 << 20
_WORTH = 0.97
"""Of the bytes of raw: what saves less on a sample may take more in all."""


class Look(NamedTuple):
    """What a sample tells.

    Attributes
    ----------
    encoding : str
        The lossless one that makes it smallest.
    likeness : Likeness or None
        Whether it looks like labels; None where nobody asked.
    """

    encoding: str
    likeness: Likeness | None


def look_at(
    info: VolumeInfo,
    mapping: ValueMapping,
    options: ConvertOptions,
    reopen: Callable[[], Source],
    *,
    looks_for_labels: bool,
) -> Look:
    """Look at a sample of a source.

    Parameters
    ----------
    info : VolumeInfo
        With any encoding.
    mapping : ValueMapping
        From stored values to those of the volume.
    options : ConvertOptions
    reopen : callable
        Opens the source; it is read to some part, and closed.
    looks_for_labels : bool
        Whether to tell if the voxels look like labels.
    """
    candidates = _candidates(info)
    if len(candidates) < 2:
        return Look("raw", None)
    sizes = dict.fromkeys(candidates, 0)
    likeness = Likeness() if looks_for_labels else None
    for voxels in _sample(info, mapping, options, reopen):
        if likeness is not None:
            likeness = likeness.plus(likeness_of_chunk(voxels))
        for name, encoding in list(candidates.items()):
            try:
                data = encoding.encode(voxels)
            except InputError:  # more labels than it can hold
                del candidates[name], sizes[name]
                continue
            sizes[name] += len(gzip.compress(data)) if options.is_gzipped else len(data)
    best = min(sizes, key=lambda name: sizes[name])
    return Look(best if sizes[best] <= _WORTH * sizes["raw"] else "raw", likeness)


def _candidates(info: VolumeInfo) -> dict[str, ChunkEncoding]:
    found = {}
    for name in CANDIDATES:
        try:
            scale = replace(
                info.scales[0],
                encoding=name,
                compressed_segmentation_block_size=(8, 8, 8)
                if name == "compressed_segmentation"
                else None,
            )
            found[name] = make_encoding(info, scale)
        except (InputError, MissingExtraError):
            continue
    return found


def _sample(
    info: VolumeInfo,
    mapping: ValueMapping,
    options: ConvertOptions,
    reopen: Callable[[], Source],
) -> Iterator[Voxels]:
    """Yield chunks of a sample, in Fortran order."""
    with reopen() as source:
        if source.cost.access != "unpack":
            yield from _chunks(info, mapping, source)
            return
        with (
            tempfile.TemporaryDirectory(dir=options.tmp) as folder,
            source.spooled(Path(folder) / "source") as spooled,
        ):
            yield from _chunks(info, mapping, spooled)


def _chunks(info: VolumeInfo, mapping: ValueMapping, source: Source) -> Iterator[Voxels]:
    grid, axis = info.scales[0].grid, source.stream_axis
    places = [sorted({int(n * place) for place in _PLACES}) for n in grid.shape]
    if source.cost.is_sequential:
        plane_bytes = source.header.byte_count // source.shape[axis]
        reach = _READ_BYTES // plane_bytes // grid.chunk_size[axis]
        places[axis] = [min(grid.shape[axis] // 2, reach)]
    boxes = [grid.bounds((x, y, z)) for z, y, x in itertools.product(*reversed(places))]
    chunk_bytes = max(math.prod(box.shape) for box in boxes) * source.shape[3]
    boxes = boxes[:: math.ceil(len(boxes) * chunk_bytes * source.dtype.itemsize / _SAMPLE_BYTES)]
    read = _read_forward if source.cost.is_sequential else _read_boxes
    for stored in read(source, boxes):
        values = np.empty(stored.shape, mapping.output, order="F")
        mapping.apply(stored, values)
        yield values


def _read_boxes(source: Source, boxes: Sequence[Box]) -> Iterator[Voxels]:
    for box in boxes:
        stored = _empty(source, box)
        source.read(box, stored)
        yield stored


def _read_forward(source: Source, boxes: Sequence[Box]) -> Iterator[Voxels]:
    """Read plane by plane up to the end of the boxes, which all lie in one row of chunks."""
    axis, origin = source.stream_axis, source.header.voxel_offset
    x, y, z = (start + n for start, n in zip(origin, source.shape, strict=False))
    whole = Box(origin, (x, y, z))
    found = [_empty(source, box) for box in boxes]
    plane = _empty(source, whole.cut(axis, origin[axis], origin[axis] + 1))
    for position in range(origin[axis], boxes[0].stop[axis]):
        at = whole.cut(axis, position, position + 1)
        source.read(at, plane)
        if position >= boxes[0].start[axis]:
            for box, stored in zip(boxes, found, strict=True):
                part = box.cut(axis, position, position + 1)
                stored[part.slices(box.start)] = plane[part.slices(at.start)]
    yield from found


def _empty(source: Source, box: Box) -> Voxels:
    shape = (*box.shape, source.shape[3])
    return empty_planes(shape, source.dtype, source.stream_axis, source.memory_order)
