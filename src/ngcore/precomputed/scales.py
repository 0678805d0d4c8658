"""The scales of a volume: the classic rule for factors, chunk sizes and keys.

Finer axes are halved first, until voxels are as close to cubes as powers of two bring them; chunks
are shaped so that they are close to cubes in space and hold about T x T x T voxels. The rule is
that of neuroglancer-scripts' ``generate-scales-info``, with four differences: an axis of one
voxel is halved no further, coarse voxels lie on the global grid whatever the voxel_offset, scales
go on until every axis fits in one chunk, and chunks of many channels are smaller.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.chunks import Vec3, vec3
from ngcore.precomputed.json_members import check_integers, check_lengths, plain_number

_Resolution = tuple[float, float, float]

LARGEST_CHUNK_SIDE = 2048
"""In voxels. Neuroglancer draws longer chunks black: textures of WebGL end there."""

LARGEST_CHUNK_BYTES = 4 << 20
"""Of a chunk of the classic rule, with all its channels, before it is encoded."""

DEFAULT_CHUNK_SIDE = 64
"""Of a chunk of cubic voxels; chunks of others hold about as many voxels."""


class PyramidLevel(NamedTuple):
    """One scale to be made.

    Attributes
    ----------
    size, voxel_offset, chunk_size : tuple of int, (x, y, z), in voxels
    resolution : tuple of float, (x, y, z), in nanometres per voxel
        Whole numbers are int.
    factors_from_previous : tuple of int, (x, y, z)
        1 or 2 per axis; (1, 1, 1) for the first level only.
    key : str
        The resolution, as in ``8_8_40``.
    """

    size: Vec3
    resolution: _Resolution
    voxel_offset: Vec3
    chunk_size: Vec3
    factors_from_previous: Vec3
    key: str


def pyramid_scales(
    size: Vec3,
    resolution: _Resolution,
    voxel_offset: Vec3 = (0, 0, 0),
    *,
    target: int = DEFAULT_CHUNK_SIDE,
    chunk_size: Vec3 | None = None,
    max_scales: int | None = None,
    voxel_bytes: int | None = None,
) -> list[PyramidLevel]:
    """Return the scales of a volume, full resolution first.

    Parameters
    ----------
    size : tuple of int, (x, y, z), in voxels
    resolution : tuple of float, (x, y, z), in nanometres per voxel
    voxel_offset : tuple of int, (x, y, z), in voxels
        Global coordinate of the first voxel; may be negative or odd.
    target : int
        Side of a chunk of cubic voxels, a power of two; others hold about as many voxels.
    chunk_size : tuple of int, (x, y, z), in voxels, optional
        Of every scale, instead of the rule.
    max_scales : int, optional
        How many scales at most. By default the last is the first in which every axis fits in one
        chunk.
    voxel_bytes : int, optional
        Bytes of a voxel with all its channels: the target is halved until no chunk has more than
        `LARGEST_CHUNK_BYTES`. By default it is not.

    Returns
    -------
    list of PyramidLevel
        Every level halves at least one axis of the level before, so keys are unique.

    Raises
    ------
    InputError
        A size, resolution or chunk size is not positive, `target` is not a power of two, ...

    Examples
    --------
    >>> for level in pyramid_scales((300, 300, 40), (8, 8, 40)):
    ...     print(level.key, level.size, level.chunk_size)
    8_8_40 (300, 300, 40) (128, 128, 32)
    16_16_40 (150, 150, 40) (64, 64, 32)
    32_32_40 (75, 75, 40) (64, 64, 64)
    64_64_80 (38, 38, 20) (64, 64, 64)
    """
    try:
        resolution = check_lengths(resolution, "resolution")
        level = PyramidLevel(
            size=check_integers(size, "size", 1),
            resolution=resolution,
            voxel_offset=check_integers(voxel_offset, "voxel_offset", None),
            chunk_size=(1, 1, 1),
            factors_from_previous=(1, 1, 1),
            key=resolution_key(resolution),
        )
        if chunk_size is not None:
            chunk_size = check_integers(chunk_size, "chunk size", 1)
    except FormatError as error:
        raise InputError(str(error)) from error
    if target < 1 or target & (target - 1):
        raise InputError(f"the target chunk size must be a power of two, got {target}")
    if max_scales is not None and max_scales < 1:
        raise InputError(f"the number of scales must be 1 or more, got {max_scales}")

    while True:
        levels = _levels(level, target, chunk_size, max_scales)
        largest = max(math.prod(made.chunk_size) for made in levels) * (voxel_bytes or 0)
        if chunk_size is not None or target == 1 or largest <= LARGEST_CHUNK_BYTES:
            return levels
        target //= 2


def _levels(
    level: PyramidLevel, target: int, chunk_size: Vec3 | None, max_scales: int | None
) -> list[PyramidLevel]:
    """Return the scales from the first on, for one target."""
    # The number of steps for which each axis waits until the others have caught up.
    ratios = [length / min(level.resolution) for length in level.resolution]
    delays = vec3(round(math.log2(ratio)) for ratio in ratios)
    levels: list[PyramidLevel] = []
    step = 0
    while True:
        chosen = chunk_size or _classic_chunk_size(delays, step, target)
        # Where only axes of one voxel are expected, a step halves nothing and makes no scale.
        if not levels or 2 in level.factors_from_previous:
            levels.append(level._replace(chunk_size=chosen))
            if len(levels) == max_scales or _is_last(levels[-1]):
                return levels
        step += 1
        level = _halved(level, tuple(step > delay for delay in delays))


def resolution_key(resolution: _Resolution) -> str:
    """Return the key of a scale, such as ``8_8_40``: nanometres, without needless decimals."""
    return "_".join(
        str(int(length)) if length == int(length) else repr(float(length)) for length in resolution
    )


def _classic_chunk_size(delays: Vec3, step: int, target: int) -> Vec3:
    exponent = target.bit_length() - 1
    longer = [max(0, max(delays) - delay - step) for delay in delays]
    # The shortest side has exponent - (sum + 1) // 3 left: 0 or more needs a sum of 3 x exponent.
    # One round can fall short of that, as no axis goes below 0.
    while (excess := sum(longer) - 3 * exponent) > 0:
        share = -(-excess // sum(more > 0 for more in longer))
        longer = [max(0, more - share) for more in longer]
    base = exponent - (sum(longer) + 1) // 3
    return vec3(2 ** (base + more) for more in longer)


def _halved(level: PyramidLevel, is_due: tuple[bool, ...]) -> PyramidLevel:
    factors, starts, sizes, lengths = [], [], [], []
    for axis in range(3):
        size, start = level.size[axis], level.voxel_offset[axis]
        factor = 2 if is_due[axis] and size > 1 else 1
        factors.append(factor)
        coarse_start = start // factor
        starts.append(coarse_start)
        sizes.append(-(-(start + size) // factor) - coarse_start)
        lengths.append(plain_number(level.resolution[axis] * factor))
    resolution = (lengths[0], lengths[1], lengths[2])
    return level._replace(
        size=(sizes[0], sizes[1], sizes[2]),
        resolution=resolution,
        voxel_offset=(starts[0], starts[1], starts[2]),
        factors_from_previous=(factors[0], factors[1], factors[2]),
        key=resolution_key(resolution),
    )


def _is_last(level: PyramidLevel) -> bool:
    """Whether every axis fits in one chunk, or can't get any smaller.

    On the global grid the two voxels -1 and 0 stay two voxels however often they are halved; with
    chunks of one voxel that would never end.
    """
    return all(
        size <= chunk or (size, start) == (2, -1)
        for size, chunk, start in zip(
            level.size, level.chunk_size, level.voxel_offset, strict=True
        )
    )
