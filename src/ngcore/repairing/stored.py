"""Mends the bytes of one chunk: compressed as its place says, and cut to the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.codecs import gzip
from ngcore.errors import FormatError

if TYPE_CHECKING:
    from ngcore.precomputed.chunks import Vec3
    from ngcore.validating.scale import ScaleCheck


class Stored(NamedTuple):
    """What a chunk's file or entry is to hold, and the kinds of changes that made it so."""

    data: bytes
    kinds: tuple[str, ...] = ()


def mend_stored(check: ScaleCheck, cell: Vec3, data: bytes, *, is_gzip_due: bool) -> Stored:
    """Return a chunk as it should be stored; the very same bytes, if they are valid.

    Parameters
    ----------
    check : ScaleCheck
        Of the chunk's scale.
    cell : tuple of int, (x, y, z)
    data : bytes
        As they are stored now.
    is_gzip_due : bool

    Raises
    ------
    FormatError
        They are damaged, and nobody can tell what they were.
    """
    stored, plain = _unpacked(check, cell, data, is_gzip_due=is_gzip_due)
    cropped = _cropped(check, cell, plain)
    if cropped is None:
        return stored
    packed = gzip.compress(cropped) if is_gzip_due else cropped
    return Stored(packed, (*stored.kinds, "padded"))


def unpack_index(data: bytes, *, is_gzip_due: bool, max_size: int) -> tuple[bytes, str | None]:
    """Return a minishard index decompressed, and the kind of change that it needs."""
    if gzip.is_gzip(data):
        try:
            return gzip.decompress(data, max_size=max_size), None if is_gzip_due else "compressed"
        except FormatError:
            return gzip.decompress_members(data, max_size=max_size), "members"
    if gzip.is_zlib(data):
        plain = gzip.decompress_zlib(data, max_size=max_size)
        return plain, "zlib" if is_gzip_due else "compressed"
    if is_gzip_due:
        gzip.check_start(data[:4])  # says what is wrong
    return data, None


def _unpacked(
    check: ScaleCheck, cell: Vec3, data: bytes, *, is_gzip_due: bool
) -> tuple[Stored, bytes]:
    """Return a chunk as it should be stored, and decompressed."""
    most = check.max_encoded_size
    if not is_gzip_due:
        if (
            not (gzip.is_gzip(data) or gzip.is_zlib(data))
            or check.decodes(cell, data) is not False
        ):
            return Stored(data), data
        plain = _decompressed(data, most)
        if check.decodes(cell, plain):
            return Stored(plain, ("compressed",)), plain
        return Stored(data), data
    if gzip.is_zlib(data) and not check.decodes(cell, data):
        plain = gzip.decompress_zlib(data, max_size=most)
        return Stored(gzip.wrap_zlib(data, plain), ("zlib",)), plain
    if not gzip.is_gzip(data) and check.decodes(cell, data):
        return Stored(gzip.compress(data), ("not compressed",)), data
    try:
        plain = gzip.decompress(data, max_size=most)
    except FormatError as error:
        try:
            plain = gzip.decompress_members(data, max_size=most)
        except FormatError:
            raise error from None
        return Stored(gzip.compress(plain), ("members",)), plain
    return Stored(data), plain


def _decompressed(data: bytes, max_size: int) -> bytes:
    if gzip.is_gzip(data):
        return gzip.decompress_members(data, max_size=max_size)
    return gzip.decompress_zlib(data, max_size=max_size)


def _cropped(check: ScaleCheck, cell: Vec3, plain: bytes) -> bytes | None:
    """Cut a raw chunk that was padded beyond the volume; None where it was not."""
    size = check.raw_size(cell)
    info, scale = check.context.info, check.scale
    whole = (*scale.chunk_size, info.num_channels)
    if (
        size is None
        or len(plain) == size
        or len(plain) != int(np.prod(whole)) * (info.dtype.itemsize)
    ):
        return None
    x, y, z = check.grid.bounds(cell).shape
    voxels = np.frombuffer(plain, info.dtype.newbyteorder("<")).reshape(whole, order="F")
    return voxels[:x, :y, :z].tobytes(order="F")
