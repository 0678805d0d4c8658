"""A bounded look at the voxels of a volume: where it lies, its range of values, its labels.

The look reads a coarse scale, or evenly spaced chunks of it where even the coarsest is large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray

IMAGE_VOXELS = 1 << 21
LABEL_VOXELS = 1 << 24
SMALL_ATLAS = 1000
"""Labels that are selected at the start; of more, none is."""
# Labels below this are found by counting, which is much faster than sorting.
_COUNTABLE = 1 << 20
_MOST_CHUNK_BYTES = 1 << 27
"""Of a chunk that is looked at: it is decoded whole."""
_LEAST_SHARE_OF_A_SIGN = 0.1
_MOST_AT_THE_FLOOR = 0.02
_SHORTEST_DIRECTION = 0.3
_MOST_FRAMES = 8

Number = int | float
Corner = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class ValueRange:
    """The values shown from black to white, and the wider range the slider offers."""

    low: Number
    high: Number
    window_low: Number
    window_high: Number


@dataclass(frozen=True, slots=True)
class ValueSummary:
    """What was seen of an image's values.

    Attributes
    ----------
    shown : ValueRange
        Of the channel that was asked for, else of several of a series, else of the first.
    is_signed_map : bool
        Floating-point values well below and well above zero, which is not a floor: statistics,
        differences.
    is_unit : bool
        All channels are floating-point values from 0 to 1.
    is_direction : bool
        Three channels of floating-point values that are vectors of length 1, or zero.
    """

    shown: ValueRange
    is_signed_map: bool = False
    is_unit: bool = False
    is_direction: bool = False


class Samples:
    """Chunks, of shape (x, y, z, channel), of about `voxels` voxels together.

    They are the whole of the finest scale of no more voxels, or a part of the coarsest scale.
    Each is read once; when all were looked at, it is known where anything but zeros lies.
    """

    def __init__(self, volume: Volume, voxels: int) -> None:
        sizes = [math.prod(scale.shape) for scale in volume.scales]
        index = next((i for i, size in enumerate(sizes) if size <= voxels), len(sizes) - 1)
        self._scale = volume.scales[index]
        check_chunks(self._scale)
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

    @property
    def has_seen_anything(self) -> bool:
        """Anything but zeros was seen."""
        return bool(np.isfinite(self._low).any())

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


def check_chunks(scale: ScaleArray) -> None:
    """Refuse a scale whose chunks are too large to be decoded for a look.

    Raises
    ------
    InputError
    """
    voxels = math.prod(map(min, scale.chunk_size, scale.shape[:3])) * scale.shape[3]
    if voxels * scale.dtype.itemsize > _MOST_CHUNK_BYTES:
        raise InputError(f"the chunks of scale {scale.key} are too large to read for a picture")


def summarize(
    samples: Samples, channel: int | None = None, *, is_series: bool = False
) -> ValueSummary | None:
    """Return what the values of an image are like; None where there is no finite one.

    Parameters
    ----------
    samples : Samples
    channel : int, optional
        The one whose range of values counts; default several of a series or of floating-point
        values, which share a scale, else the first. Of one that is not there nothing is said here:
        `decide` refuses it.
    is_series : bool
        Channels are points of time.
    """
    parts, all_are_unit, all_are_directions = [], True, True
    for chunk in samples:
        values = _values(chunk, channel, has_one_scale=is_series or chunk.dtype.kind == "f")
        parts.append(values[np.isfinite(values)])
        if chunk.dtype.kind != "f":
            all_are_unit = all_are_directions = False
            continue
        all_are_unit = all_are_unit and _is_unit(chunk)
        all_are_directions = all_are_directions and (not chunk.any() or _holds_directions(chunk))
    values = np.concatenate(parts) if parts else np.zeros(0)
    if not values.size:
        return None
    return ValueSummary(
        robust_range(values),
        is_signed_map=values.dtype.kind == "f" and _is_signed_map(values),
        is_unit=all_are_unit,
        is_direction=all_are_directions and not all_are_unit,
    )


def _values(
    chunk: NDArray[Any], channel: int | None, *, has_one_scale: bool
) -> NDArray[np.generic]:
    """Return values of one channel, or about as many of several of them."""
    count = chunk.shape[3]
    if channel is not None or not has_one_scale:
        return chunk[..., min(channel or 0, count - 1)].ravel(order="K")
    channels = np.unique(np.linspace(0, count - 1, _MOST_FRAMES).astype(int))
    voxels = chunk.reshape(-1, count, order="F")
    return np.concatenate(
        [voxels[start :: len(channels), place] for start, place in enumerate(channels)]
    )


def _is_unit(chunk: NDArray[Any]) -> bool:
    known = chunk[np.isfinite(chunk)]
    return not known.size or bool(known.min() >= 0 and known.max() <= 1)


def _holds_directions(chunk: NDArray[Any]) -> bool:
    """Whether vectors of three channels have the length 1 or less; averaged ones are shorter."""
    if chunk.shape[3] != 3:
        return False
    lengths = np.sqrt((np.nan_to_num(chunk).astype(np.float64) ** 2).sum(axis=3))
    return bool(_SHORTEST_DIRECTION <= lengths.max() <= 1.001)


def _is_signed_map(values: NDArray[Any]) -> bool:
    lowest, highest = float(values.min()), float(values.max())
    if -lowest <= _LEAST_SHARE_OF_A_SIGN * highest or highest <= _LEAST_SHARE_OF_A_SIGN * -lowest:
        return False  # an image that overshoots a little, or nothing on one side
    # The air of a CT is a floor below zero; statistics have none, and zero around them.
    at_floor, at_zero, at_top = (np.mean(values == value) for value in (lowest, 0, highest))
    return bool(at_floor <= max(_MOST_AT_THE_FLOOR, at_zero, 4 * at_top))


def robust_range(values: NDArray[Any]) -> ValueRange:
    """Return the range of values to show, robust against a few bright voxels.

    Zeros are usually what surrounds the object, so they do not count towards the percentiles.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Finite, at least one.
    """
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


def labels_in(samples: Samples) -> tuple[int, ...]:
    """Return the labels of a small atlas, without the background; none of a larger one."""
    found: set[int] = set()
    for chunk in samples:
        labels = chunk.ravel(order="K")
        for start in range(0, labels.size, _COUNTABLE):
            present = _distinct(labels[start : start + _COUNTABLE])
            if present.size <= SMALL_ATLAS + 1:
                found.update(present.tolist())
            if max(present.size, len(found)) > SMALL_ATLAS + 1:
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
