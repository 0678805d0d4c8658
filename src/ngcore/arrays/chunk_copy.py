"""Copies chunks out of the rows they lie in, and boxes out of chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore import _encode
from ngcore.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ITEM_SIZES = (1, 2, 4, 8)


def copy_chunk(voxels: NDArray[Any], out: NDArray[Any]) -> bool:
    r"""Copy a chunk to Fortran order, and tell whether it holds anything but zeros.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z, channel)
        Items of 1, 2, 4 or 8 bytes, any strides.
    out : ndarray of the same shape and type, in Fortran order
        Written; its memory must not be that of `voxels`.

    Returns
    -------
    bool
        Whether any bit is set: -0.0 is not zero here.

    Raises
    ------
    InputError
        The arrays don't match, or have other axes or items than these.

    Examples
    --------
    >>> import numpy as np
    >>> row = np.zeros((4, 2, 1, 1), np.uint8)
    >>> row[3, 1] = 7
    >>> chunk = np.empty((2, 2, 1, 1), np.uint8, order="F")
    >>> copy_chunk(row[:2], chunk), copy_chunk(row[2:], chunk), chunk.tobytes("F")
    (False, True, b'\x00\x00\x00\x07')
    """
    if voxels.ndim != 4 or voxels.itemsize not in _ITEM_SIZES:
        raise InputError(
            f"a chunk has four axes and items of 1, 2, 4 or 8 bytes, got {voxels.dtype} of "
            f"{voxels.shape}"
        )
    if (out.shape, out.dtype) != (voxels.shape, voxels.dtype) or not out.flags.f_contiguous:
        raise InputError(
            f"out must be in Fortran order, {voxels.dtype} of {voxels.shape}, got {out.dtype} of "
            f"{out.shape}"
        )
    return _encode.copy_chunk(voxels, out) == 1


def copy_box(voxels: NDArray[Any], out: NDArray[Any]) -> None:
    """Write voxels into an array of their shape, as ``out[...] = voxels`` does.

    It is several times as quick where axes change places, as in planes of constant x.

    Parameters
    ----------
    voxels : ndarray, shape (x, y, z, channel)
        Any strides.
    out : ndarray of the same shape and type, whatever its strides
        Written; its memory must not be that of `voxels`.

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.zeros((2, 3, 1, 1), np.uint8)
    >>> copy_box(np.full((2, 2, 1, 1), 7, np.uint8, order="F"), plane[:, 1:])
    >>> plane[..., 0, 0].tolist()
    [[0, 7, 7], [0, 7, 7]]
    """
    if (
        out.ndim != 4
        or out.strides[0] == out.itemsize  # x runs fastest: NumPy is as quick there
        or out.itemsize not in _ITEM_SIZES
        or (voxels.shape, voxels.dtype) != (out.shape, out.dtype)
        or _encode.copy_chunk(voxels, out) < 0
    ):
        out[...] = voxels
