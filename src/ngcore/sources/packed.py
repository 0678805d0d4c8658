"""Voxels that lie one after the other in a file, plain or compressed."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ngcore.errors import FormatError
from ngcore.sources.volumes.gzip_stream import GzipSource, GzipStream
from ngcore.sources.volumes.raw import AxisOrder, RawSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from ngcore.sources.base import Shape4, Source, SourceHeader
    from ngcore.sources.volumes.zstd_stream import ZstdStream


class Packing(NamedTuple):
    """How voxels lie in a file.

    Attributes
    ----------
    path : Path
    offset : int, in bytes
        Of the first voxel, in the decompressed bytes where a stream is compressed.
    order : tuple of int
        Axes of (x, y, z, channel), fastest first.
    dtype : numpy.dtype
        As stored, in either byte order.
    stream : type of stream, optional
        What decompresses the file.
    stream_start : int, in bytes
        Where the stream begins in the file; above 0 for streams of gzip's kind alone.
    """

    path: Path
    offset: int
    order: AxisOrder
    dtype: np.dtype[Any]
    stream: type[GzipStream] | type[ZstdStream] | None = None
    stream_start: int = 0


def open_packed(header: SourceHeader, packing: Packing) -> Source:
    """Open voxels that lie one after the other."""
    path, offset, order, dtype, stream, start = packing
    if stream is None:
        return RawSource(header, path, offset, order, dtype)
    opened: Callable[[Path, str], GzipStream | ZstdStream] = stream
    if start and issubclass(stream, GzipStream):
        opened = partial(stream, start=start)
    return GzipSource(header, path, offset, order, dtype, opened)


def shape_of(letters: str, lengths: list[int]) -> Shape4:
    """Return (x, y, z, channel) of lengths by their letters."""
    sizes = dict(zip(letters, lengths, strict=True))
    return sizes.get("x", 1), sizes.get("y", 1), sizes.get("z", 1), sizes.get("c", 1)


def whole_numbers(text: str, what: str) -> list[int]:
    """Return the whole numbers of a text.

    Raises
    ------
    FormatError
        If it holds others.
    """
    try:
        return [int(word) for word in text.split()]
    except ValueError as error:
        raise FormatError(f"corrupt header: {what} must be whole numbers, got {text!r}") from error


def numbers(text: str, count: int, what: str) -> list[float]:
    """Return the finite numbers of a text.

    Raises
    ------
    FormatError
        If it holds others, or another number of them.
    """
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise FormatError(f"corrupt header: {what} must be {count} numbers, got {text!r}")
    return values
