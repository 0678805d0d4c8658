"""What a conversion must write, worked out anew from the public contract: slow and obvious.

Nothing of ngcore is used here, nor of the oracles of single modules: this is a second opinion on
what they make together.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any, NamedTuple

import numpy as np

Vector = tuple[Any, Any, Any]


class ExpectedScale(NamedTuple):
    """One scale; `voxels` has shape (x, y, z, channel)."""

    resolution: Vector
    offset: Vector
    chunk_size: Vector
    voxels: np.ndarray[Any, Any]


class RefusalError(Exception):
    """The contract says that this conversion is an error."""


def expected_data_type(
    stored: np.dtype[Any], slope: float, intercept: float, *, is_label: bool
) -> str:
    """Return the data type of a volume where none is asked for."""
    if is_label:
        return "uint64" if stored.itemsize == 8 else "uint32"
    is_scaled = (slope, intercept) != (1, 0)
    if stored.kind == "b":
        stored = np.dtype("u1")
    if stored.kind == "f" or (is_scaled and not (slope == 1 and intercept == int(intercept))):
        return "float32"
    if not is_scaled and stored.name in ("uint8", "int8", "uint16", "int16", "uint32", "int32"):
        return stored.name
    if stored.itemsize == 8:
        raise RefusalError("64-bit images need a data type")
    limits = np.iinfo(stored)
    low, high = int(limits.min) + int(intercept), int(limits.max) + int(intercept)
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64"):
        if np.iinfo(name).min <= low and high <= np.iinfo(name).max:
            return name
    raise RefusalError("no integer type holds the range")


def expected_values(
    stored: np.ndarray[Any, Any],
    data_type: str,
    slope: float,
    intercept: float,
    *,
    is_label: bool,
    input_range: tuple[float, float] | None,
) -> tuple[np.ndarray[Any, Any], int, int]:
    """Return the values of scale 0, and how many were clipped and rounded on their way."""
    out = np.empty(stored.shape, data_type)
    clipped = rounded = 0
    is_exact = stored.dtype.kind in "biu" and slope == 1 and intercept == int(intercept)
    for place in product(*map(range, stored.shape)):
        value: Any = stored[place].item()
        if slope != 1 or intercept != 0:
            value = value + int(intercept) if is_exact else value * float(slope) + intercept
        if input_range is not None:
            low, high = input_range
            full = (0, 1) if data_type == "float32" else _limits(data_type)
            value = (float(value) - low) / (high - low) * (full[1] - full[0]) + full[0]
        if data_type == "float32":
            with np.errstate(over="ignore"):
                single = np.float32(value)
            if math.isinf(single) and not math.isinf(value):
                clipped += 1
                single = np.copysign(np.finfo(np.float32).max, single)
            elif isinstance(value, int) and int(single) != value:
                rounded += 1
            out[place] = single
            continue
        if isinstance(value, float) and math.isnan(value):
            raise RefusalError("NaN in an integer type")
        low, high = _limits(data_type)
        if is_label and (value < 0 or value > high or value != math.floor(value)):
            raise RefusalError("no label")
        if value == math.inf or value == -math.inf or not low <= round(value) <= high:
            clipped += 1
            value = low if value < low else high
        elif value != round(value):
            rounded += 1
        out[place] = round(value)  # ties to even
    return out, clipped, rounded


def _limits(data_type: str) -> tuple[int, int]:
    limits = np.iinfo(data_type)
    return int(limits.min), int(limits.max)


def expected_scales(
    finest: np.ndarray[Any, Any],
    resolution: Vector,
    offset: Vector,
    *,
    method: str,
    chunk_size: Vector | None,
    max_scales: int | None,
    outside_value: float | None,
) -> list[ExpectedScale]:
    """Return every scale that the classic rule makes of the finest one."""
    finest_side = min(resolution)
    delays = [round(math.log2(side / finest_side)) for side in resolution]
    scales: list[ExpectedScale] = []
    voxels, halvings = finest, [0, 0, 0]
    at = tuple(offset)
    for step in range(64):
        if scales:
            # An axis waits while its voxels are larger than the others', and stops at one voxel.
            factors = [
                2 if step - delay > 0 and voxels.shape[axis] > 1 else 1
                for axis, delay in enumerate(delays)
            ]
            if factors == [1, 1, 1]:
                continue
            voxels = _downsample(voxels, at, factors, method, outside_value)
            at = tuple(math.floor(o / f) for o, f in zip(at, factors, strict=True))
            halvings = [h + (f == 2) for h, f in zip(halvings, factors, strict=True)]
        chunk = chunk_size or _chunk_size(delays, step)
        sides = tuple(side * 2**h for side, h in zip(resolution, halvings, strict=True))
        scales.append(ExpectedScale(sides, at, chunk, voxels))
        # The two voxels -1 and 0 of the global grid stay two, however often they are halved.
        fits = all(
            n <= c or (n, o) == (2, -1) for n, c, o in zip(voxels.shape, chunk, at, strict=False)
        )
        if fits or len(scales) == max_scales:
            break
    return scales


def _chunk_size(delays: list[int], step: int) -> Vector:
    extra = [max(0, max(delays) - delay - step) for delay in delays]
    log_side = 6 - (sum(extra) + 1) // 3
    x, y, z = (2 ** max(0, log_side + e) for e in extra)
    return x, y, z


def _downsample(
    voxels: np.ndarray[Any, Any],
    offset: Vector,
    factors: list[int],
    method: str,
    outside_value: float | None,
) -> np.ndarray[Any, Any]:
    starts = [o // f for o, f in zip(offset, factors, strict=True)]
    ends = [-(-(o + n) // f) for o, n, f in zip(offset, voxels.shape, factors, strict=False)]
    out = np.empty(
        [*(e - s for s, e in zip(starts, ends, strict=True)), voxels.shape[3]], voxels.dtype
    )
    for place in product(*map(range, out.shape)):
        inside = []
        for z, y, x in product(*(range(f) for f in reversed(factors))):
            index = [
                (s + p) * f + d - o
                for s, p, f, d, o in zip(starts, place, factors, (x, y, z), offset, strict=False)
            ]
            if all(0 <= i < n for i, n in zip(index, voxels.shape, strict=False)):
                inside.append(voxels[(*index, place[3])].item())
        missing = math.prod(factors) - len(inside)
        out[place] = _reduce(inside, missing, method, outside_value, voxels.dtype)
    return out


def _reduce(
    inside: list[Any], missing: int, method: str, outside_value: float | None, dtype: np.dtype[Any]
) -> Any:
    if method == "stride":
        return inside[0]
    if method == "majority":
        return min(inside, key=lambda value: (-inside.count(value), value))
    inside = [value for value in inside if value == value]  # NaN is absence
    values = inside if outside_value is None else [*inside, *[outside_value] * missing]
    if not (values if method == "average" else inside):
        return math.nan
    if method in ("min", "max"):
        return {"min": min, "max": max}[method](inside)
    if dtype.kind == "f":
        is_undecided = math.inf in values and -math.inf in values
        return math.nan if is_undecided else math.fsum(values) / len(values)
    return round(Fraction(sum(map(Fraction, values)), len(values)))
