"""From stored values to those of a volume's data type: exact, or counted; never wrapped.

A stored value v means `slope * v + intercept`. Integers that stay integers are never taken through
floating point, so labels above 2^53 keep their last bit. What is clipped to the range of the data
type or rounded to a whole number is counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = np.ndarray[Any, Any]


BLOCK_VALUES = 1 << 15
"""Values worked on at a time: their temporaries (8 bytes each) stay in the processor's cache."""

SCALED_LABEL_TOLERANCE = 1e-3
"""Labels that were stored with a slope come out so far from whole numbers, at most."""

_PLAUSIBLE_TOLERANCE = 0.2
"""Labels that are farther from whole numbers are none."""

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

EXACT_IN_FLOAT32 = 1 << 24
"""Integers up to this one are all float32 numbers."""

EXACT_IN_FLOAT64 = 1 << 53
"""Integers up to this one are all float64 numbers."""


class Counts(NamedTuple):
    """What happened to values on their way.

    Attributes
    ----------
    clipped : int
        Values beyond the range of the data type, set to its end.
    rounded : int
        Values that the data type could only hold approximately.
    """

    clipped: int = 0
    rounded: int = 0

    def plus(self, other: Counts) -> Counts:
        """Return the sums."""
        return Counts(self.clipped + other.clipped, self.rounded + other.rounded)


@dataclass(frozen=True, slots=True)
class ValueMapping:
    """How stored values become values of a data type; checked where it is made.

    Attributes
    ----------
    stored : numpy.dtype
        Integer or float type of the stored values, native byte order.
    output : numpy.dtype
        One of the format's data types.
    slope, intercept : float
        A stored value v means `slope * v + intercept`.
    input_min, input_max : float, optional
        Range of meant values that becomes the full range of an integer `output`, or 0 to 1.
    is_label : bool
        Labels must come out exact, whole and not negative; anything else is an error.
    label_tolerance : float, optional
        How far from a whole number a label may be, to be rounded and counted; default
        `SCALED_LABEL_TOLERANCE` where there is a slope or a fractional intercept, else 0.
    name : str
        Where the values come from, for messages.
    is_identity : bool
        Whether stored bytes can be taken as they are.

    Raises
    ------
    InputError
        If no such mapping is possible.
    """

    stored: np.dtype[Any]
    output: np.dtype[Any]
    slope: float = 1.0
    intercept: float = 0.0
    input_min: float | None = None
    input_max: float | None = None
    is_label: bool = False
    name: str = "the source"
    label_tolerance: float | None = None
    is_identity: bool = field(init=False, repr=False)
    _is_integer_shift: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_stored(self.stored, self.name)
        is_plain = self.slope == 1 and self.input_max is None
        is_identity = is_plain and self.intercept == 0 and self.stored == self.output
        is_identity &= not (self.is_label and self.stored.kind != "u")
        is_shift = is_plain and self.stored.kind in "iu" and float(self.intercept).is_integer()
        object.__setattr__(self, "is_identity", bool(is_identity))
        object.__setattr__(self, "_is_integer_shift", bool(is_shift))
        if self.output.name not in DATA_TYPES:
            raise InputError(
                f"data type {self.output.name!r} is not one of {', '.join(DATA_TYPES)}"
            )
        if self.input_max is None:
            if self.input_min is not None:
                raise InputError(f"--input-min {self.input_min:g} needs --input-max too")
        else:
            low, high = self.input_min or 0.0, self.input_max
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise InputError(f"--input-min {low:g} must be below --input-max {high:g}")
        if self.is_label:
            self._check_label()
        elif self.label_tolerance is not None:
            raise InputError(
                f"{self.name}: --label-tolerance is for labels, but this is taken as an image; "
                "pass --type segmentation, or leave it out"
            )

    def _check_label(self) -> None:
        if self.output.kind == "f":
            raise InputError(
                f"{self.name}: labels must be integers, not {self.output}; "
                f"pass --data-type uint32 or --type image"
            )
        if self.input_max is not None:
            raise InputError(
                f"{self.name}: --input-max would change labels; pass --type image, or leave it out"
            )
        if self.stored.kind in "iu" and self.stored.itemsize == 8 and not self._is_integer_shift:
            raise InputError(
                f"{self.name}: 64-bit labels with slope {self.slope:g} and intercept "
                f"{self.intercept:g} can't be exact; pass --type image, or --ignore-scaling if "
                f"the stored values are the labels"
            )

    def apply(self, stored: Array, out: Array) -> Counts:
        """Fill `out` with the values meant by `stored`; return what was clipped and rounded.

        Parameters
        ----------
        stored : ndarray of the `stored` type
            Any shape and memory order.
        out : ndarray of the `output` type, same shape
            Best of the same memory order. May be `stored` itself where `is_identity`.

        Raises
        ------
        InputError
            If a value is NaN and `out` an integer type, or if a label is negative, fractional or
            beyond the range of `out`; says how many of `stored` are.
        """
        if stored.shape != out.shape or stored.dtype != self.stored or out.dtype != self.output:
            raise ValueError(
                f"expected {self.stored} to {self.output} of one shape, got {stored.dtype} "
                f"{stored.shape} to {out.dtype} {out.shape}"
            )
        if self.is_identity:
            if out is not stored:
                np.copyto(out, stored)
            return Counts()
        if self._is_integer_shift and self.output.kind in "iu":
            return self._shift_integers(stored, out)
        with np.errstate(all="ignore"):
            if self.output.kind == "f":
                return self._to_float32(stored, out)
            return self._round_to_integers(stored, out)

    def _shift_integers(self, stored: Array, out: Array) -> Counts:
        shift = int(self.intercept)
        limits, bounds = np.iinfo(self.stored), np.iinfo(self.output)
        lowest = 0 if self.is_label else int(bounds.min)
        # The stored values that stay in range. Their sum fits, so arithmetic that wraps is exact.
        low, high = lowest - shift, int(bounds.max) - shift
        wrapped_shift = np.array(shift % (int(bounds.max) - int(bounds.min) + 1), np.uint64)
        wrapped_shift = wrapped_shift.astype(self.output)
        below = above = 0
        for part, result in _blocks(stored, out):
            values = part
            if low > limits.min:
                if low > limits.max:
                    below += part.size
                    result[...] = lowest
                    continue
                below += int(np.count_nonzero(part < low))
                values = np.maximum(values, np.array(low, self.stored))
            if high < limits.max:
                if high < limits.min:
                    above += part.size
                    result[...] = bounds.max
                    continue
                above += int(np.count_nonzero(part > high))
                values = np.minimum(values, np.array(high, self.stored))
            np.copyto(result, values, casting="unsafe")
            if shift:
                result += wrapped_shift
        if self.is_label:
            self._check_counts(below, above)
        return Counts(clipped=below + above)

    def _to_float32(self, stored: Array, out: Array) -> Counts:
        if self._is_integer_shift and self.intercept == 0:
            return _integers_to_float32(stored, out)
        scratch = np.empty(min(BLOCK_VALUES, max(1, stored.size)))
        clipped = 0
        for part, result in _blocks(stored, out):
            values = self._meant(part, scratch)
            np.copyto(result, values, casting="same_kind")
            is_infinite = np.isinf(result)
            if is_infinite.any():
                is_far = is_infinite & np.isfinite(values)
                clipped += int(np.count_nonzero(is_far))
                result[is_far] = np.copysign(LARGEST_FLOAT32, values[is_far])
        return Counts(clipped=clipped)

    def _round_to_integers(self, stored: Array, out: Array) -> Counts:
        bounds = np.iinfo(self.output)
        lowest, largest = (0 if self.is_label else int(bounds.min)), int(bounds.max)
        # As floats; largest + 1 is a power of two, which every float type holds.
        end = float(largest + 1)
        # The end of a mapped range is the largest value, which float64 rounds up in 64 bits.
        clipped_from = end
        if self.input_max is not None and float(largest) == end:
            clipped_from = math.nextafter(end, math.inf)
        scratch = np.empty(min(BLOCK_VALUES, max(1, stored.size)))
        rounded_scratch = np.empty_like(scratch)
        below = above = fractional = nans = inexact = 0
        off_by = 0.0
        for part, result in _blocks(stored, out):
            meant = self._meant(part, scratch)
            whole = np.rint(meant, out=rounded_scratch[: part.size].reshape(part.shape))
            differs = whole != meant
            has_fraction = int(np.count_nonzero(differs))
            if has_fraction:
                is_nan = np.isnan(meant)
                nans += int(np.count_nonzero(is_nan))
                has_fraction -= int(np.count_nonzero(is_nan))
            is_below, is_above = whole < lowest, whole >= end
            count_below = int(np.count_nonzero(is_below))
            count_above = int(np.count_nonzero(is_above))
            if count_below or count_above:
                above += int(np.count_nonzero(whole >= clipped_from))
                is_out = is_below | is_above
                has_fraction -= int(np.count_nonzero(differs & is_out & np.isfinite(meant)))
                whole[is_out] = 0
            if self.is_label and not self.is_unscaled:
                inexact += int(np.count_nonzero(whole > EXACT_IN_FLOAT64))
            if nans == 0:  # casting NaN to an integer is undefined
                np.copyto(result, whole, casting="unsafe")
                if count_below:
                    result[is_below] = lowest
                if count_above:
                    result[is_above] = largest
            below += count_below
            fractional += has_fraction
            if self.is_label and has_fraction:
                off = np.abs(meant - np.rint(meant))
                off_by = max(off_by, float(np.max(off, initial=0, where=np.isfinite(off))))
        if nans:
            way_out = "--type image" if self.is_label else "--data-type float32"
            raise InputError(
                f"{self.name}: {nans} of {stored.size} voxels read are NaN, which "
                f"{self.output} can't hold; pass {way_out}"
            )
        if self.is_label:
            if off_by > self._tolerance and not below:
                self._refuse_fractional(fractional, off_by)
            self._check_counts(below, above, inexact)
        return Counts(clipped=below + above, rounded=fractional)

    def _meant(self, part: Array, scratch: Array) -> Array:
        """Return the values meant by a block, mapped from the input range, as float64."""
        values: Array = scratch[: part.size].reshape(part.shape)
        np.copyto(values, part)
        if self.slope != 1:
            values *= self.slope
        if self.intercept != 0:
            values += self.intercept
        if self.input_max is not None:
            low = self.input_min or 0.0
            values -= low
            # Divided first, so that the ends of the range come out exactly.
            values /= self.input_max - low
            if self.output.kind in "iu":
                bounds = np.iinfo(self.output)
                values *= float(int(bounds.max) - int(bounds.min))
                values += float(bounds.min)
        return values

    @property
    def _tolerance(self) -> float:
        """How far from a whole number a label may be."""
        if self.label_tolerance is not None:
            return self.label_tolerance
        return 0 if self._is_whole_shift else SCALED_LABEL_TOLERANCE

    @property
    def _is_whole_shift(self) -> bool:
        return self.slope == 1 and float(self.intercept).is_integer()

    def _refuse_fractional(self, count: int, off_by: float) -> None:
        # What rounding to stored integers does at most, wherever this block lies.
        if self.stored.kind in "iu":
            off_by = max(off_by, abs(self.slope) / 2)
        advice = "pass --type image"
        if off_by <= _PLAUSIBLE_TOLERANCE:
            advice = (
                f"pass --label-tolerance {_rounded_up(off_by):g} to round them, or --type image"
            )
        self._refuse_labels(count, f"fractional, by up to {off_by:.2g}", advice)

    @property
    def is_unscaled(self) -> bool:
        """Whether stored values are meant as they are, and are not mapped from a range."""
        return self.slope == 1 and self.intercept == 0 and self.input_max is None

    def _check_counts(self, below: int, above: int, inexact: int = 0) -> None:
        """Refuse labels of which so many are out of range, or not exact."""
        advice = "pass --type image"
        if below:
            self._refuse_labels(below, "negative", advice)
        if inexact:
            self._refuse_labels(inexact, "too large to be exact after scaling", advice)
        if above and self.output != np.uint64:
            advice = "pass --data-type uint64"
        if above:
            self._refuse_labels(above, f"beyond {self.output}", advice)

    def _refuse_labels(self, count: int, what: str, advice: str) -> NoReturn:
        raise InputError(
            f"{self.name}: {count} of the labels read are {what}; labels must be whole "
            f"numbers, 0 or more, that fit in {self.output}; {advice}"
        )


def _rounded_up(number: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is not smaller."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= number)


def check_stored(stored: np.dtype[Any], name: str) -> None:
    """Raise InputError for types whose values can't be taken over without loss of meaning."""
    if stored.kind == "c":
        raise InputError(
            f"{name}: complex values ({stored}) can't be converted; "
            f"save their magnitude or phase first"
        )
    if stored.kind not in "iuf" or stored.itemsize > 8:
        raise InputError(
            f"{name}: values of type {stored} can't be converted; save them as integers, "
            f"float32 or float64 first"
        )
    if not stored.isnative:
        raise InputError(f"{name}: values must be in native byte order, got {stored.str}")


def _integers_to_float32(stored: Array, out: Array) -> Counts:
    """Convert integers; count those that float32 only approximates."""
    limits = np.iinfo(stored.dtype)
    is_exact = limits.min >= -EXACT_IN_FLOAT32 and limits.max <= EXACT_IN_FLOAT32
    # 2^31, 2^32, 2^63 or 2^64: no stored value is as large, so a float that is was rounded up.
    end = float(int(limits.max) + 1)
    rounded = 0
    for part, result in _blocks(stored, out):
        np.copyto(result, part, casting="same_kind")
        if not is_exact:
            is_past = result >= end
            back = np.where(is_past, np.float32(0), result).astype(stored.dtype)
            rounded += int(np.count_nonzero(is_past | (back != part)))
    return Counts(rounded=rounded)


def _blocks(stored: Array, out: Array) -> Iterator[tuple[Array, Array]]:
    """Cut two arrays of one shape into pairs of blocks of at most `BLOCK_VALUES`.

    Blocks run along the memory of `out`.
    """
    slow_to_fast = sorted(range(out.ndim), key=lambda axis: -abs(out.strides[axis]))
    stored, out = stored.transpose(slow_to_fast), out.transpose(slow_to_fast)
    if stored.flags.c_contiguous and out.flags.c_contiguous:
        stored, out = stored.reshape(-1), out.reshape(-1)
    yield from _halves(stored, out)


def _halves(stored: Array, out: Array) -> Iterator[tuple[Array, Array]]:
    if out.size <= BLOCK_VALUES:
        if out.size:
            yield stored, out
        return
    if out.ndim == 1:
        for first in range(0, out.size, BLOCK_VALUES):
            part = slice(first, first + BLOCK_VALUES)
            yield stored[part], out[part]
        return
    per_row = out.size // out.shape[0]
    step = max(1, BLOCK_VALUES // per_row)
    for first in range(0, out.shape[0], step):
        part = slice(first, first + step)
        if step > 1:
            yield stored[part], out[part]
        else:
            yield from _halves(stored[first], out[first])
