"""For tests of programs that use ngcore: random volumes, and whether two volumes are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ngcore.volume.read import Volume
from ngcore.volume.read import open as open_volume

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray

    from ngcore.volume.scale import ScaleArray

__all__ = ["assert_same_volume", "random_image", "random_labels", "random_volume"]


def random_image(
    shape: Sequence[int], dtype: DTypeLike = "uint8", *, seed: int = 0
) -> NDArray[Any]:
    """Return noise over a wave, so that no two places, axes or directions look the same.

    Parameters
    ----------
    shape : sequence of int, (x, y, z) or (x, y, z, channel), in voxels
    dtype : dtype
        Integers fill their range, float32 lies in 0 to 1.
    seed : int
        The same seed gives the same voxels.

    Returns
    -------
    ndarray of `dtype` and `shape`, Fortran order

    Examples
    --------
    >>> random_image((4, 3, 2), "uint16", seed=7).shape
    (4, 3, 2)
    """
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    wave = sum(
        np.sin(index / (3.0 + 2 * axis)) for axis, index in enumerate(np.ogrid[_slices(shape)])
    )
    values = np.clip(0.5 + wave / 12 + random.normal(0, 0.08, tuple(shape)), 0, 1)
    if dtype.kind == "f":
        return np.asfortranarray(values.astype(dtype))
    limits = np.iinfo(dtype)
    span = float(limits.max) - float(limits.min)
    # Scaled in float64, which can't hold the largest 64-bit integers: stay below them.
    scaled = np.clip(
        float(limits.min) + values * span, float(limits.min), limits.max * (1 - 2**-11)
    )
    return np.asfortranarray(scaled.astype(dtype))


def random_labels(
    shape: Sequence[int], dtype: DTypeLike = "uint64", *, count: int = 20, seed: int = 0
) -> NDArray[Any]:
    """Return labels as a segmentation has them: connected cells with ids from the whole type.

    Parameters
    ----------
    shape : sequence of int, (x, y, z), in voxels
    dtype : dtype
        An unsigned integer.
    count : int
        How many cells there are at most, the background (0) among them.
    seed : int
        The same seed gives the same voxels.

    Returns
    -------
    ndarray of `dtype` and `shape`, Fortran order

    Examples
    --------
    >>> labels = random_labels((20, 20, 20), "uint32", count=5)
    >>> len(np.unique(labels)) <= 5
    True
    """
    random = np.random.default_rng(seed)
    seeds = random.random((count, len(shape))) * shape
    nearest = np.zeros(tuple(shape), np.intp, order="F")
    least = np.full(tuple(shape), np.inf, order="F")
    grid = np.ogrid[_slices(shape)]
    for number, place in enumerate(seeds):
        distance = sum((index - at) ** 2 for index, at in zip(grid, place, strict=True))
        nearest[distance < least] = number
        least = np.minimum(least, distance)
    ids = random.integers(1, np.iinfo(dtype).max, count, dtype=np.dtype(dtype), endpoint=True)
    ids[0] = 0
    return np.asfortranarray(ids[nearest])


def random_volume(
    dest: str | os.PathLike[str],
    *,
    shape: Sequence[int] = (70, 50, 40),
    type: Literal["image", "segmentation"] = "image",  # noqa: A002 - the format's word
    data_type: str = "uint8",
    seed: int = 0,
    **options: Any,
) -> Volume:
    """Convert random voxels into a small volume with several scales.

    Parameters
    ----------
    dest : path
        A new or an empty folder.
    shape : sequence of int, (x, y, z) or (x, y, z, channel), in voxels
    type : {"image", "segmentation"}
    data_type : str
        One of the format; uint32 or uint64 for a segmentation.
    seed : int
        The same seed gives the same volume.
    **options
        Those of `ngcore.convert`; `resolution` is (8, 8, 40) nm unless given.

    Returns
    -------
    Volume
    """
    from ngcore.conversion.convert import convert

    make = random_labels if type == "segmentation" else random_image
    voxels = make(shape, data_type, seed=seed)
    return convert(
        voxels, dest, type=type, **{"resolution": (8, 8, 40), "chunk_size": 32, **options}
    )


def assert_same_volume(
    actual: Volume | str | os.PathLike[str], expected: Volume | str | os.PathLike[str]
) -> None:
    """Raise AssertionError unless two volumes hold the same: what is read from them is equal.

    Compared are type, data type, channels, and of each scale its size, resolution, offset and
    voxels; NaN equals NaN. Chunk sizes, encodings and the layout of files may differ.

    Parameters
    ----------
    actual, expected : Volume, path or URL

    Raises
    ------
    AssertionError
        They differ; the message says where first.
    FormatError, StorageError, InputError
        One of them can't be read.

    Examples
    --------
    >>> import tempfile
    >>> one, two = tempfile.mkdtemp(), tempfile.mkdtemp()
    >>> _ = random_volume(one, seed=1)
    >>> _ = random_volume(two, seed=1, sharding=False, encoding="png")
    >>> assert_same_volume(one, two)
    """
    one, two = (
        volume if isinstance(volume, Volume) else open_volume(volume)
        for volume in (actual, expected)
    )
    for name in ("type", "data_type", "num_channels"):
        _check(name, getattr(one.info, name), getattr(two.info, name))
    _check("number of scales", len(one.scales), len(two.scales))
    pairs = list(zip(one.scales, two.scales, strict=True))
    for index, (mine, other) in enumerate(pairs):
        for name in ("shape", "resolution", "voxel_offset"):
            _check(f"{name} of scale {index}", getattr(mine, name), getattr(other, name))
    for index, (mine, other) in enumerate(pairs):
        _check_voxels(index, mine, other)


def _check(what: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: {actual!r}, expected {expected!r}")


def _check_voxels(index: int, mine: ScaleArray, other: ScaleArray) -> None:
    for box, block in mine.blocks():
        there = other[box]
        differs = block != there
        if block.dtype.kind == "f":
            differs &= ~(np.isnan(block) & np.isnan(there))
        if differs.any():
            at = np.argwhere(differs)[0]
            place = tuple(
                int(a) + part.start for a, part in zip(at, (*box, slice(0, None)), strict=True)
            )
            raise AssertionError(
                f"voxel {place} of scale {index} (x, y, z, channel): {block[tuple(at)]}, "
                f"expected {there[tuple(at)]}; {int(differs.sum())} voxels of this block differ"
            )


def _slices(shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in shape)
