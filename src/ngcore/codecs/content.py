"""Content-Encoding: what web servers and buckets send compressed.

https://www.rfc-editor.org/rfc/rfc9110#name-content-encoding
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

_ZSTD_STEP = 256
"""Bytes that are decompressed at once; four may make 128 KiB."""


def decode_content(data: bytes, encoding: str | None, *, max_size: int) -> bytes:
    """Decompress what was sent with a Content-Encoding.

    Parameters
    ----------
    data : bytes
    encoding : str or None
        The header's value. Without one, data that are gzip are decompressed too: buckets hold
        such under names without ``.gz``.
    max_size : int, in bytes
        Refuse what decompresses to more.

    Raises
    ------
    FormatError
        The data are damaged or too large, or the encoding is not known, or needs a library.
    """
    names = [part.strip().lower() for part in (encoding or "").split(",")]
    names = [name for name in names if name not in ("", "identity", "aws-chunked")]
    if not names:
        if not gzip.is_gzip(data):
            return data
        try:
            return gzip.decompress(data, max_size=max_size)
        except FormatError:
            return data  # it only looks like gzip
    for name in reversed(names):
        data = _decoder(name)(data, max_size=max_size)
    return data


def _decoder(name: str) -> Callable[..., bytes]:
    if name in ("gzip", "x-gzip"):
        return _gunzip
    if name == "br":
        return decompress_brotli
    if name == "zstd":
        return decompress_zstd
    raise FormatError(f"sent with Content-Encoding {name!r}, which ngcore does not know")


def _gunzip(data: bytes, *, max_size: int) -> bytes:
    return gzip.decompress_members(data, max_size=max_size)


def decompress_brotli(data: bytes, *, max_size: int) -> bytes:
    """Decompress brotli, in bounded memory.

    Raises
    ------
    FormatError
        The data are damaged, truncated or too large, or there is no library for them.
    """
    try:
        import brotli
    except ImportError as error:
        raise FormatError(
            "compressed with brotli (br), which needs the package brotli; pip install brotli"
        ) from error
    stream = brotli.Decompressor()
    pieces = []
    size = 0
    try:
        piece = stream.process(data, output_buffer_limit=max_size + 1)
        while piece:
            pieces.append(piece)
            size += len(piece)
            if size > max_size:
                raise FormatError(f"brotli data decompress to more than {max_size} bytes")
            piece = stream.process(b"", output_buffer_limit=max_size + 1)
    except brotli.error as error:
        raise FormatError("damaged brotli data") from error
    if not stream.is_finished():
        raise FormatError("brotli data end too early")
    return b"".join(pieces)


def decompress_zstd(data: bytes, *, max_size: int) -> bytes:
    """Decompress zstandard, in bounded memory.

    Raises
    ------
    FormatError
        The data are damaged, truncated or too large, or there is no library for them.
    """
    try:
        import zstandard
    except ImportError as error:
        raise FormatError(
            "compressed with zstd, which needs the package zstandard; pip install zstandard"
        ) from error
    pieces: list[bytes] = []
    size = 0
    stream = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    view = memoryview(data)
    try:
        # A little at a time: the stream itself has no bound.
        for offset in range(0, len(view), _ZSTD_STEP):
            piece = stream.decompress(view[offset : offset + _ZSTD_STEP])
            pieces.append(piece)
            size += len(piece)
            if size > max_size:
                raise FormatError(f"zstd data decompress to more than {max_size} bytes")
            if stream.eof:
                break
    except zstandard.ZstdError as error:
        raise FormatError(f"damaged zstd data: {error}") from error
    if not stream.eof:
        raise FormatError("zstd data end too early")
    return b"".join(pieces)


BY_ENDING = {
    ".gz": gzip.decompress,
    ".br": decompress_brotli,
    ".zst": decompress_zstd,
    ".zstd": decompress_zstd,
}
"""What unpacks a file whose name ends so, as others lay chunks on disks."""

_MODULES = {".br": "brotli", ".zst": "zstandard", ".zstd": "zstandard"}


def lacks_library(ending: str) -> str:
    """Return the package that is needed to unpack files with an ending, and not installed."""
    from importlib.util import find_spec

    name = _MODULES.get(ending, "")
    return name if name and find_spec(name) is None else ""
