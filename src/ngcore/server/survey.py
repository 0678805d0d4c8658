"""A look at a volume on disk: where it lies, how bright it is, which labels it holds.

The look is bounded: it reads a coarse scale, or evenly spaced chunks of it where even the
coarsest is large.
"""

from __future__ import annotations

import io
import itertools
import logging
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError, NgcoreError
from ngcore.server.states import ValueRange, VolumeLayer
from ngcore.volume import read
from ngcore.volume.segment_colours import segment_colours
from ngcore.volume.world import world_transform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.server.states import Corner
    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray
    from ngcore.volume.segment_colours import Colour

logger = logging.getLogger(__name__)

_IMAGE_VOXELS = 1 << 21
_LABEL_VOXELS = 1 << 24
_SMALL_ATLAS = 1000
_THUMBNAIL_PIXELS = 96
_THUMBNAIL_PLANE_VOXELS = 1 << 22
# Labels below this are found by counting, which is much faster than sorting.
_COUNTABLE = 1 << 20
_MOST_CHUNK_BYTES = 1 << 27
"""Of a chunk that is looked at: it is decoded whole."""


def find_volumes(folder: Path) -> dict[str, Path]:
    """Return the volumes of a folder by URL path: itself, under "", or the folders in it."""
    if _has_info(folder):
        return {"": folder}
    children = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: path for path in children if path.is_dir() and _has_info(path)}


def _has_info(folder: Path) -> bool:
    return (folder / "info").is_file()


def survey(path: Path, name: str, url: str) -> VolumeLayer:
    """Return a layer that shows the volume in `path` well.

    Chunks that can't be read cost the layer its brightness and labels, with a logged warning,
    but it can still be shown.

    Raises
    ------
    NgcoreError
        There is no volume, or its `info` or `transform.json` is broken.
    """
    volume = read.open(path)
    layer = VolumeLayer(
        name=name or path.resolve().name,
        url=url,
        info=volume.info,
        volume_to_world_nm=world_transform(volume),
    )
    brightness: ValueRange | None = None
    labels: tuple[int, ...] = ()
    content: tuple[Corner, Corner] | None = None
    try:
        if layer.is_segmentation:
            samples = _Samples(volume, _LABEL_VOXELS)
            labels = _labels(samples)
        else:
            samples = _Samples(volume, _IMAGE_VOXELS)
            brightness = _brightness(samples)
        content = samples.content()
    except NgcoreError as error:
        logger.warning("%s is shown without a look at its voxels: %s", path, error)
    colours: dict[int, Colour] = {}
    try:
        colours = segment_colours(volume.store, volume.info)
    except FormatError as error:
        logger.warning("%s is shown without the colours of its label table: %s", path, error)
    return replace(layer, content=content, brightness=brightness, labels=labels, colours=colours)


class _Samples:
    """Chunks, of shape (x, y, z, channel), of about `voxels` voxels together.

    They are the whole of the finest scale of no more voxels, or a part of the coarsest scale.
    Each is read once; when all were looked at, it is known where anything but zeros lies.
    """

    def __init__(self, volume: Volume, voxels: int) -> None:
        sizes = [math.prod(scale.shape) for scale in volume.scales]
        index = next((i for i, size in enumerate(sizes) if size <= voxels), len(sizes) - 1)
        self._scale = volume.scales[index]
        _check_chunks(self._scale)
        self._grid = volume.info.scales[index].grid
        chunks = self._grid.count * math.prod(self._scale.chunk_size)
        self._step = 1 if sizes[index] <= voxels else math.ceil(chunks / max(voxels, 1))
        self._has_seen_all = False
        self._finest = volume.scales[0].resolution
        self._low = np.full(3, np.inf)
        self._high = np.full(3, -np.inf)

    def __iter__(self) -> Iterator[NDArray[np.generic]]:
        for number in range(self._step // 2, self._grid.count, self._step):
            rest, x = divmod(number, self._grid.shape[0])
            z, y = divmod(rest, self._grid.shape[1])
            chunk = self._scale.read_chunk((x, y, z))
            self._widen(chunk, np.array((x, y, z)) * self._scale.chunk_size)
            yield chunk
        self._has_seen_all = self._step == 1

    def _widen(self, chunk: NDArray[Any], start: NDArray[Any]) -> None:
        # Both ways: comparisons with NaN are false.
        is_something: Any = np.logical_or(chunk < 0, chunk > 0).any(axis=3)
        for axis in range(3):
            others = tuple({0, 1, 2} - {axis})
            if (places := np.flatnonzero(is_something.any(axis=others))).size:
                self._low[axis] = min(self._low[axis], start[axis] + places[0])
                self._high[axis] = max(self._high[axis], start[axis] + places[-1] + 1)

    def content(self) -> tuple[Corner, Corner] | None:
        """Return where anything but zeros was seen, in voxels of scale 0; None if unknown."""
        if not self._has_seen_all or not np.isfinite(self._low).all():
            return None
        zoom = np.array(self._scale.resolution) / self._finest
        low, high = (
            ((bound + self._scale.voxel_offset) * zoom).tolist()
            for bound in (self._low, self._high)
        )
        return tuple(low), tuple(high)


def _brightness(samples: _Samples) -> ValueRange | None:
    """Return the range of brightness of the first channel, robust against a few bright voxels.

    Zeros are usually what surrounds the object, so they do not count towards the percentiles.
    """
    parts = []
    for chunk in samples:
        values = chunk[..., 0].ravel(order="K")
        parts.append(values[np.isfinite(values)])
    values = np.concatenate(parts) if parts else np.zeros(0)
    if not values.size:
        return None
    inside = values[values != 0]
    if not inside.size:
        inside = values
    lowest, highest = values.min().item(), values.max().item()
    # Stored integers as `method="nearest"` finds them are exact, whatever their type.
    low, high = (x.item() for x in np.percentile(inside, [0.5, 99.5], method="nearest"))
    if inside.size < values.size and lowest >= 0:
        low = 0
    if low >= high:
        low, high = lowest, highest
    if low == high:
        # Nothing to tell apart: what there is shows as white, or as black where it is zero.
        low, high = (0, 1) if low == 0 else sorted((0, low))
    return ValueRange(low, high, min(lowest, low), max(highest, high))


def _labels(samples: _Samples) -> tuple[int, ...]:
    """Return the labels of a small atlas, without the background; none of a larger one."""
    found: set[int] = set()
    for chunk in samples:
        labels = chunk.ravel(order="K")
        for start in range(0, labels.size, _COUNTABLE):
            present = _distinct(labels[start : start + _COUNTABLE])
            if present.size <= _SMALL_ATLAS + 1:
                found.update(present.tolist())
            if max(present.size, len(found)) > _SMALL_ATLAS + 1:
                return ()
    return tuple(sorted(label for label in found if label > 0))


def _distinct(labels: NDArray[Any]) -> NDArray[Any]:
    if int(labels.min()) >= 0 and int(labels.max()) < _COUNTABLE:
        return np.flatnonzero(np.bincount(labels.astype(np.int64, copy=False)))
    # Not np.unique: NumPy 2.4 looks them up in a table of hashes, in which labels that are
    # multiples of a large power of two collide, and each costs as much as all before it.
    ordered = np.sort(labels)
    distinct: NDArray[Any] = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return distinct


def thumbnail(path: Path) -> bytes:
    """Return a small PNG of a middle slice, from above and with anterior up where known.

    Raises
    ------
    NgcoreError
        The volume can't be read, or is too large for a look.
    """
    volume = read.open(path)
    scale = _picture_scale(volume)
    matrix = world_transform(volume)
    voxels, spacing = _canonical_slice(scale, matrix)
    if volume.info.type == "segmentation":
        picture = _label_colours(voxels[..., 0])
    elif volume.info.num_channels == 3 and volume.info.data_type == "uint8":
        picture = voxels.astype(np.uint8, copy=False)
    else:
        picture = _greys(voxels[..., 0], _brightness(_Samples(volume, _IMAGE_VOXELS)))
    return _png(picture, spacing)


def _picture_scale(volume: Volume) -> ScaleArray:
    """Return the coarsest scale with enough pixels for the picture."""
    for scale in reversed(volume.scales):
        if max(scale.shape[:3]) >= _THUMBNAIL_PIXELS or scale is volume.scales[0]:
            break
    if math.prod(scale.shape) / min(scale.shape[:3]) > _THUMBNAIL_PLANE_VOXELS:
        raise InputError(f"the coarsest scale of {volume.store.location} is too large to look at")
    _check_chunks(scale)
    return scale


def _check_chunks(scale: ScaleArray) -> None:
    voxels = math.prod(map(min, scale.chunk_size, scale.shape[:3])) * scale.shape[3]
    if voxels * scale.dtype.itemsize > _MOST_CHUNK_BYTES:
        raise InputError(f"the chunks of scale {scale.key} are too large to look at")


def _canonical_slice(
    scale: ScaleArray, matrix: NDArray[np.float64] | None
) -> tuple[NDArray[np.generic], tuple[float, float]]:
    """Return the middle slice (column, row, channel), and the size of its pixels in nm.

    With a matrix columns go to the right of the subject and rows to the back; without one they
    are x and y.
    """
    column, row, depth = 0, 1, 2
    signs = (1, -1)
    if matrix is not None:
        weights = np.abs(matrix[:3, :3])
        column, row, depth = max(
            itertools.permutations(range(3)), key=lambda axes: weights[range(3), axes].sum()
        )
        signs = (int(np.sign(matrix[0, column])), int(np.sign(matrix[1, row])))
    # A few times the pixels of the picture are enough, and colours take 50 times their bytes.
    steps = [max(1, length // (4 * _THUMBNAIL_PIXELS)) for length in scale.shape[:3]]
    index: list[slice | int] = [*(slice(None, None, step) for step in steps), slice(None)]
    index[depth] = scale.shape[depth] // 2
    plane = scale[tuple(index)]
    if column > row:
        plane = plane.swapaxes(0, 1)
    plane = plane[:: signs[0], :: -signs[1]]
    width, height = (scale.resolution[axis] * steps[axis] for axis in (column, row))
    return plane, (width, height)


def _greys(values: NDArray[np.generic], shown: ValueRange | None) -> NDArray[np.uint8]:
    if shown is None:
        return np.zeros((*values.shape, 1), dtype=np.uint8)
    scaled = (values.astype(np.float64) - shown.low) / (shown.high - shown.low)
    return (np.nan_to_num(scaled).clip(0, 1) * 255).astype(np.uint8)[..., np.newaxis]


def _label_colours(labels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Give every label a colour of its own, and the background black."""
    bits = labels.astype(np.uint64)
    mixed = (bits * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    channels = [((mixed >> np.uint64(8 * i)) & np.uint64(0xFF)) for i in range(3)]
    colours = (np.stack(channels, axis=-1) // np.uint64(2) + np.uint64(96)).astype(np.uint8)
    colours[bits == 0] = 0
    return colours


def _png(picture: NDArray[np.uint8], spacing: tuple[float, float]) -> bytes:
    from PIL import Image

    rows = np.ascontiguousarray(picture.swapaxes(0, 1))
    image = Image.fromarray(rows[..., 0] if rows.shape[-1] == 1 else rows)
    width, height = image.width * spacing[0], image.height * spacing[1]
    zoom = _THUMBNAIL_PIXELS / max(width, height)
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    file = io.BytesIO()
    image.resize(size).save(file, "PNG")
    return file.getvalue()
