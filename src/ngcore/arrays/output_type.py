"""Which data type a volume gets, and so how the values of its source become its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.arrays.values import ValueMapping, check_stored
from ngcore.errors import InputError


def choose_output_type(
    stored: np.dtype[Any],
    slope: float = 1.0,
    intercept: float = 0.0,
    *,
    is_label: bool,
    data_type: str | None = None,
    input_min: float | None = None,
    input_max: float | None = None,
    label_tolerance: float | None = None,
    name: str = "the source",
) -> ValueMapping:
    """Choose the data type of a volume, and how stored values become values of it.

    Parameters
    ----------
    stored : numpy.dtype
        Type of the stored values.
    slope, intercept : float
        Scaling of the stored values; 1 and 0 to use them as they are.
    is_label : bool
        Whether the volume is a segmentation.
    data_type : str, optional
        What was asked for; default: by the rules of the contract's "Data types".
    input_min, input_max : float, optional
        Range of values to map to the full range of an integer type (float32: 0 to 1).
    label_tolerance : float, optional
        See `ValueMapping`.
    name : str
        The source, for messages.

    Raises
    ------
    InputError
        If nothing sensible can be chosen; says what to pass.

    Examples
    --------
    >>> choose_output_type(np.dtype("int16"), 1, 5, is_label=False).output
    dtype('int32')
    """
    check_stored(stored, name)
    if data_type is not None:
        if data_type not in DATA_TYPES:
            raise InputError(f"--data-type {data_type!r} is not one of {', '.join(DATA_TYPES)}")
        output = np.dtype(data_type)
    elif is_label:
        output = np.dtype(np.uint64 if stored.itemsize == 8 else np.uint32)
    elif stored.kind == "f" or slope != 1 or not float(intercept).is_integer():
        output = np.dtype(np.float32)
    else:
        output = _integer_type_holding(stored, int(intercept), name)
    return ValueMapping(
        stored,
        output,
        slope,
        intercept,
        input_min,
        input_max,
        is_label,
        name,
        label_tolerance,
    )


def _integer_type_holding(stored: np.dtype[Any], shift: int, name: str) -> np.dtype[Any]:
    """Return the narrowest integer type of the format for every stored value plus `shift`."""
    if stored.itemsize == 8:
        raise InputError(
            f"{name}: an image of {stored} has no data type of its own; "
            f"pass --data-type, or --type segmentation if it holds labels"
        )
    if shift == 0 and stored.name in DATA_TYPES:
        return stored
    limits = np.iinfo(stored)
    low, high = int(limits.min) + shift, int(limits.max) + shift
    for candidate in map(np.dtype, DATA_TYPES):
        if candidate.kind == "f":
            continue
        bounds = np.iinfo(candidate)
        if bounds.min <= low and high <= bounds.max:
            return candidate
    raise InputError(
        f"{name}: {stored} plus the intercept {shift} fits no data type; "
        f"pass --data-type, or --ignore-scaling to use the stored values"
    )
