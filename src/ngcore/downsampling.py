"""Coarser arrays from finer ones: average, majority, stride, min and max over cells of voxels.

Cells lie on the global grid of the volume: they start at multiples of the factor counted from
coordinate 0, so the first and the last cell of an array may be partial. The work is done by
`ngcore._downsample`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ngcore import _downsample
from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["METHODS", "downsample"]

METHODS = ("average", "majority", "stride", "min", "max")

_TYPE_NAMES = [
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
]
_DTYPES = tuple(np.dtype(name) for name in _TYPE_NAMES)
_MAX_FACTOR = (1 << 31) - 1
_MAX_CELL_VOXELS = (1 << 31) - 1


def downsample(
    array: NDArray[Any],
    factors: Sequence[int] = (2, 2, 2),
    *,
    method: str = "average",
    offset: Sequence[int] = (0, 0, 0),
    outside_value: float | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Reduce each cell of voxels to one.

    Parameters
    ----------
    array : ndarray of a type of the format or int64, shape (x, y, z) or (x, y, z, channel)
        Voxels, any memory order and strides; may be read-only. Not copied.
    factors : sequence of int, (fx, fy, fz), in voxels
        Size of a cell, each at least 1.
    method : str
        ``average``: the exact mean of the voxels present; integers are rounded to nearest, ties to
        even, float32 is summed in float64. ``majority``: the most frequent value, ties go to the
        smallest; all NaN count as one value, larger than any number. ``stride``: the first voxel
        present. ``min``, ``max``. NaN is absence: average, min and max are of the voxels that have
        a value, and NaN where none has.
    offset : sequence of int, (x, y, z), in voxels
        Global index of the first voxel; may be negative.
    outside_value : number, optional
        average: cells that reach beyond the array are filled up with this value.
    out : ndarray of the same type, optional
        Written and returned, whatever its strides; must not overlap `array`.

    Returns
    -------
    ndarray
        Of the input's type, ``ceil((offset + n) / f) - floor(offset / f)`` voxels per axis. In
        Fortran order, or C order for C-order input, or `out`.

    Raises
    ------
    InputError
        Arguments with which there is nothing to compute.

    Examples
    --------
    >>> import numpy as np
    >>> array = np.arange(5, dtype=np.uint8).reshape(5, 1, 1)
    >>> downsample(array, (2, 1, 1)).ravel().tolist()
    [0, 2, 4]
    >>> downsample(array, (2, 1, 1), offset=(-1, 0, 0), method="max").ravel().tolist()
    [0, 2, 4]
    """
    array = np.asanyarray(array)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in _DTYPES:
        raise InputError(
            f"array must be of one of the types {', '.join(_TYPE_NAMES)}, got {array.dtype}; "
            "convert it"
        )
    if array.ndim not in (3, 4) or min(array.shape) < 1:
        raise InputError(
            "array must have 3 or 4 axes, (x, y, z[, channel]), each at least 1, "
            f"got {array.shape}"
        )
    cell = _checked_factors(factors)
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    outside = checked_outside_value(outside_value, method, dtype)
    if not array.dtype.isnative or not array.flags.aligned:
        array = np.array(array, dtype=dtype, order="K")
    first = tuple(int(at) % f for at, f in zip(_three(offset, "offset"), cell, strict=True))
    shape = tuple(-(-(n + at) // f) for n, at, f in zip(array.shape, first, cell, strict=False))
    shape += array.shape[3:]
    present = math.prod(min(n, f) for n, f in zip(array.shape, cell, strict=False))
    if (math.prod(cell) if outside is not None else present) > _MAX_CELL_VOXELS:
        raise InputError(f"factors {cell} put 2^31 voxels or more in one cell; use smaller ones")
    if out is None:
        order = "C" if array.flags.c_contiguous and not array.flags.f_contiguous else "F"
        result = np.empty(shape, dtype, order=cast("Any", order))
    else:
        _check_out(out, shape, dtype, array)
        result = out
    # The kernel is fastest along the axis whose voxels lie closest together.
    axes = sorted(range(3), key=lambda axis: abs(array.strides[axis]))
    source = array if array.ndim == 4 else array[..., np.newaxis]
    target = result if result.ndim == 4 else result[..., np.newaxis]
    _downsample.downsample(
        source.transpose(*axes, 3),
        target.transpose(*axes, 3),
        (cell[axes[0]], cell[axes[1]], cell[axes[2]]),
        (first[axes[0]], first[axes[1]], first[axes[2]]),
        METHODS.index(method),
        outside,
    )
    return result


def _three(numbers: Sequence[int], what: str) -> tuple[int, int, int]:
    try:
        x, y, z = (int(n) for n in numbers)
        is_whole = (x, y, z) == tuple(numbers)
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise InputError(f"{what} must be three integers, got {numbers!r}")
    return x, y, z


def _checked_factors(factors: Sequence[int]) -> tuple[int, int, int]:
    cell = _three(factors, "factors")
    if min(cell) < 1 or max(cell) > _MAX_FACTOR:
        raise InputError(f"factors must be between 1 and {_MAX_FACTOR}, got {cell}")
    return cell


def checked_outside_value(
    outside_value: float | None,
    method: str,
    dtype: np.dtype[Any],
    *,
    name: str = "outside_value",
) -> float | None:
    """Return the value that pads odd edges, as the type of the voxels has it; None if none does.

    Raises
    ------
    InputError
        The method does not pad, or the type has no such value.
    """
    if outside_value is None:
        return None
    if method != "average":
        raise InputError(f"{name} goes with method 'average' only, got method {method!r}")
    if isinstance(outside_value, str | bytes) or not hasattr(outside_value, "__float__"):
        raise InputError(f"{name} must be a number, got {outside_value!r}")
    if dtype.kind == "f":
        return float(np.float32(outside_value))
    limits = np.iinfo(dtype)
    if not limits.min <= outside_value <= limits.max or outside_value != int(outside_value):
        raise InputError(f"{name} must be a value of {dtype}, got {outside_value:g}")
    return int(outside_value)


def _check_out(
    out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any], array: NDArray[Any]
) -> None:
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        raise InputError(
            f"out must be a writable array of {dtype} and shape {shape}, got "
            f"{'a writable' if out.flags.writeable else 'a read-only'} {out.dtype} of {out.shape}"
        )
    if not out.flags.aligned:
        raise InputError("out must be aligned to its type; pass an array made by numpy.empty")
    if np.may_share_memory(out, array):
        raise InputError("out must not share memory with array; pass another buffer")
