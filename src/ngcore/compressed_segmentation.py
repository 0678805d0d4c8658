"""compressed_segmentation chunks: labels to bytes and back.

Knows what the format allows and words its errors; the work is done by `ngcore._encode`. Format:
https://github.com/google/neuroglancer/tree/master/src/sliceview/compressed_segmentation.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore._encode import decode_u32, decode_u64, encode_u32, encode_u64
from ngcore.errors import FormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike, NDArray
    from typing_extensions import Buffer

__all__ = ["decode", "encode"]

_UINT32 = np.dtype(np.uint32)
_UINT64 = np.dtype(np.uint64)
_MAX_BLOCK_VOXELS = 1 << 24

_SMALLER_CHUNKS = "use smaller chunks"
_LIMITS = {
    2: f"the tables of one channel exceed 2^24 words, the format's limit; {_SMALLER_CHUNKS}",
    3: f"the encoded chunk exceeds 2^24 words, the format's limit; {_SMALLER_CHUNKS}",
    4: "a block holds more than 65536 labels, the format's limit; use a smaller block_size",
}
_FAULTS = {
    5: "a channel's offset is out of order or outside of the chunk",
    6: "the chunk ends within its block headers",
    7: "a block's width is not one of 0, 1, 2, 4, 8, 16, 32",
    8: "a block's table lies outside of its channel",
    9: "a block's values lie outside of their channel",
    10: "a block's values point outside of its channel",
    11: "unused bytes follow a channel",
}


def encode(labels: NDArray[Any], *, block_size: Sequence[int] = (8, 8, 8)) -> bytes:
    """Encode labels as one compressed_segmentation chunk.

    Parameters
    ----------
    labels : ndarray of uint32 or uint64, shape (x, y, z) or (x, y, z, channel)
        Segment ids, any memory order and strides, none of which is copied; may be read-only.
    block_size : sequence of int, (bx, by, bz), in voxels
        As in `compressed_segmentation_block_size` of the scale.

    Returns
    -------
    bytes
        The chunk, in little-endian words. Equal tables of labels are stored once.

    Raises
    ------
    InputError
        Labels of another type or shape, an axis of length 0, or a limit of the format: offsets
        of 2^24 words, 65536 labels in a block.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.zeros((16, 8, 8), np.uint64)
    >>> labels[8:] = 7
    >>> len(encode(labels))
    36
    """
    labels = np.asanyarray(labels)
    _check_dtype(labels.dtype)
    _check_shape(labels.shape, "labels")
    block = checked_block_size(block_size)
    if not labels.dtype.isnative or not labels.flags.aligned:
        labels = np.array(labels, dtype=labels.dtype.newbyteorder("="), order="K")
    return encode_checked(labels[..., np.newaxis] if labels.ndim == 3 else labels, block)


def encode_checked(labels: NDArray[Any], block: tuple[int, int, int]) -> bytes:
    """Do as `encode`, for who has checked what `encode` checks.

    Parameters
    ----------
    labels : ndarray of uint32 or uint64, shape (x, y, z, channel), native and aligned
    block : tuple of int, (bx, by, bz), in voxels
        As `checked_block_size` returns it.
    """
    kernel = encode_u32 if labels.dtype == _UINT32 else encode_u64
    encoded = kernel(labels, block)
    if isinstance(encoded, int):
        raise InputError(
            f"labels of shape {labels.shape} can't be encoded with block_size {block}: "
            f"{_LIMITS[encoded]}"
        )
    return encoded


def decode(
    data: Buffer,
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    block_size: Sequence[int] = (8, 8, 8),
    region: Sequence[slice] | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Decode one compressed_segmentation chunk, or a box of it.

    Every offset is checked before it is followed. With a region, only the blocks that it touches
    are looked at, so damage elsewhere in the chunk is not found.

    Parameters
    ----------
    data : bytes-like
        The chunk.
    shape : sequence of int, (x, y, z) or (x, y, z, channel), in voxels
        Shape of the chunk, as clipped by the volume's end.
    dtype : uint32 or uint64
        Type of the labels; the chunk does not say it.
    block_size : sequence of int, (bx, by, bz), in voxels
        As in `compressed_segmentation_block_size` of the scale.
    region : sequence of three slices, (x, y, z), in voxels of the chunk, optional
        The box to decode, all channels; steps must be 1. Default: the whole chunk.
    out : ndarray of `dtype`, of `shape` or of the region's shape, optional
        Written and returned, whatever its strides. After an error its content is undefined.

    Returns
    -------
    ndarray of `dtype`, of `shape` or of the region's shape
        In Fortran order, or `out`.

    Raises
    ------
    FormatError
        Bytes that are no such chunk; the message names the byte offset.
    InputError
        Arguments with which nothing can be decoded.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.arange(27, dtype=np.uint32).reshape(3, 3, 3)
    >>> bool((decode(encode(labels), (3, 3, 3), "uint32") == labels).all())
    True
    >>> box = (slice(0, 2), slice(1, 2), slice(2, 3))
    >>> decode(encode(labels), (3, 3, 3), "uint32", region=box).ravel().tolist()
    [5, 14]
    """
    dtype = np.dtype(dtype)
    _check_dtype(dtype)
    dtype = dtype.newbyteorder("=")
    shape = _whole_numbers(shape, "shape")
    _check_shape(shape, "shape")
    block = checked_block_size(block_size)
    corners = _corners(region, shape)
    wanted = tuple(b - a for a, b in zip(corners[:3], corners[3:], strict=True)) + shape[3:]
    if out is not None:
        _check_out(out, wanted, dtype)
    view = _bytes_of(data)
    if len(view) % 4:
        raise FormatError(
            f"compressed_segmentation chunk of {len(view)} bytes is not a whole number of "
            "32-bit words; it is truncated, or another kind of file"
        )
    if len(view) == 0:
        raise FormatError("compressed_segmentation chunk is empty; it is truncated")
    if out is None:
        # Memory is taken only for what the bytes can hold: each block has a header of 8 bytes.
        blocks = math.prod(-(-n // b) for n, b in zip(shape, (*block, 1), strict=False))
        if len(view) < 8 * blocks:
            raise FormatError(
                f"compressed_segmentation chunk of {len(view)} bytes can't hold shape {shape} in "
                f"blocks of {block}: their headers alone take {8 * blocks}; it is truncated, or "
                "of another shape or block_size"
            )
    chunk = np.empty(wanted, dtype, order="F") if out is None else out
    if 0 in wanted:
        return chunk
    volume = chunk[..., np.newaxis] if chunk.ndim == 3 else chunk
    kernel = decode_u32 if dtype == _UINT32 else decode_u64
    status, byte_offset = kernel(
        view, volume, (shape[0], shape[1], shape[2], volume.shape[3]), corners, block
    )
    if status:
        raise FormatError(
            f"compressed_segmentation chunk of {len(view)} bytes, shape {shape}: at byte "
            f"{byte_offset}: {_FAULTS[status]}; it is corrupt, or of another shape, "
            "dtype or block_size"
        )
    return chunk


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.newbyteorder("=") not in (_UINT32, _UINT64):
        raise InputError(
            f"labels must be uint32 or uint64, got {dtype}; convert them, or choose "
            "another encoding"
        )


def _check_shape(shape: tuple[int, ...], what: str) -> None:
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise InputError(
            f"{what} must have 3 or 4 axes, (x, y, z[, channel]), each at least 1, got {shape}"
        )


def _whole_numbers(numbers: Sequence[int], what: str) -> tuple[int, ...]:
    try:
        whole = tuple(int(n) for n in numbers)
        is_whole = all(n == given for n, given in zip(whole, numbers, strict=True))
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise InputError(f"{what} must be whole numbers, got {numbers!r}")
    return whole


def checked_block_size(block_size: Sequence[int]) -> tuple[int, int, int]:
    """Return the size of a block, if it is one.

    Raises
    ------
    InputError
        It is not three positive integers, or has too many voxels.
    """
    block = _whole_numbers(block_size, "block_size")
    if len(block) != 3 or min(block) < 1 or math.prod(block) > _MAX_BLOCK_VOXELS:
        raise InputError(
            "block_size must be three integers, each at least 1, with at most 2^24 voxels in all, "
            f"got {block}"
        )
    return block[0], block[1], block[2]


def _corners(
    region: Sequence[slice] | None, shape: tuple[int, ...]
) -> tuple[int, int, int, int, int, int]:
    """Return the first voxel of a region of a chunk, and the one behind its last."""
    if region is None:
        return 0, 0, 0, shape[0], shape[1], shape[2]
    if len(region) != 3 or not all(isinstance(part, slice) for part in region):
        raise InputError(f"region must be three slices, (x, y, z), got {region!r}")
    ranges = [range(size)[part] for part, size in zip(region, shape[:3], strict=True)]
    if any(part.step != 1 for part in ranges):
        raise InputError(f"region must have steps of 1, got {tuple(region)}")
    (x0, x1), (y0, y1), (z0, z1) = ((part.start, max(part.start, part.stop)) for part in ranges)
    return x0, y0, z0, x1, y1, z1


def _bytes_of(data: Any) -> memoryview | bytes:
    if isinstance(data, bytes):
        return data
    try:
        return memoryview(data).cast("B")
    except TypeError:
        raise InputError(f"data must be bytes, contiguous, got {type(data).__name__}") from None


def _check_out(out: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        raise InputError(
            f"out must be a writable array of {dtype} and shape {shape}, got "
            f"{'a writable' if out.flags.writeable else 'a read-only'} {out.dtype} of {out.shape}"
        )
    if not out.flags.aligned:
        raise InputError("out must be aligned to its type; pass an array made by numpy.empty")
