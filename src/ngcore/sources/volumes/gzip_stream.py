"""Voxels inside a gzip file, decompressed front to back, its checksums verified.

A file may hold several members one after another (RFC 1952, https://www.rfc-editor.org/rfc/rfc1952).
nibabel stops reading at the last voxel, before the trailer, so it never sees a wrong checksum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from isal import igzip_lib

from ngcore.errors import FormatError, naming
from ngcore.sources.base import Cost, Source
from ngcore.sources.files import bytes_of, open_binary
from ngcore.sources.volumes.raw import (
    RawSource,
    cheapest_walk,
    file_strides,
    fill_box,
    write_spool,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ngcore.sources.base import Box3, SourceHeader
    from ngcore.sources.volumes.raw import AxisOrder
    from ngcore.sources.volumes.zstd_stream import ZstdStream

COMPRESSED_BLOCK_BYTES = 1 << 17
PLAIN_BLOCK_BYTES = 1 << 18

MAX_RATIO = 1032
"""Deflate can't pack more bytes than this into one."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_IsalError = cast("type[Exception]", igzip_lib.error)
"""Named here because isal's stubs declare the class as if it were an instance of it."""


def is_gzip(path: Path, name: str) -> bool:
    """Return whether a file is gzipped, whatever its name says."""
    file = open_binary(path, name)
    try:
        start = bytearray(min(len(GZIP_MAGIC), file.size))
        file.read_into(0, memoryview(start))
    finally:
        file.close()
    return start == GZIP_MAGIC


class GzipStream:
    """The decompressed bytes of a gzip file, in order.

    Parameters
    ----------
    path : Path
    name : str
        For messages.
    start : int, in bytes
        Where the stream begins in the file.
    """

    magic: bytes = GZIP_MAGIC
    what = "gzip"
    errors: tuple[type[Exception], ...] = (_IsalError,)

    def __init__(self, path: Path, name: str, start: int = 0) -> None:
        self._file = open_binary(path, name)
        self._name = name
        self._input = np.empty(COMPRESSED_BLOCK_BYTES, np.uint8)
        self._fed = start
        self._pending = b""
        self._member = self._new_member()
        self._is_in_member = False
        self.position = 0
        self.compressed_size = self._file.size
        if self._file.size == 0:
            self.close()
            raise FormatError(
                f"empty (0 bytes), expected a {self.what} file; download or copy it again"
            )

    @property
    def compressed_position(self) -> int:
        """Bytes of the file that were taken so far."""
        return self._fed - len(self._pending)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the decompressed bytes from `offset` on, which lies not behind.

        Raises
        ------
        FormatError
            If the stream is corrupt or ends first.
        """
        if offset < self.position:
            raise ValueError(f"byte {offset} was passed, at {self.position}")
        while self.position < offset:
            self._read_some(min(PLAIN_BLOCK_BYTES, offset - self.position), needed=offset)
        done = 0
        while done < len(buffer):
            wanted = min(PLAIN_BLOCK_BYTES, len(buffer) - done)
            block = self._read_some(wanted, needed=offset + len(buffer))
            buffer[done : done + len(block)] = block
            done += len(block)

    def finish(self) -> None:
        """Decompress what is left, and check every member's length and checksum.

        Raises
        ------
        FormatError
            If one is wrong, or something follows that is not gzip.
        """
        while self._decompress(PLAIN_BLOCK_BYTES):
            pass

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _read_some(self, limit: int, needed: int) -> bytes:
        block = self._decompress(limit)
        if not block:
            raise FormatError(
                f"truncated: it decompresses to {self.position} bytes, but its "
                f"header says {needed} or more; download or copy it again"
            )
        return block

    def _decompress(self, limit: int) -> bytes:
        """Return 1 to `limit` bytes, or none at the valid end of the file."""
        while True:
            if self._member.eof:
                self._pending = self._member.unused_data
                self._member = self._new_member()
                self._is_in_member = False
            if not self._is_in_member and not self._start_member():
                return b""
            data = b""
            if self._member.needs_input:
                data = self._pending or self._next_input()
                self._pending = b""
                if not data:
                    raise FormatError(
                        f"truncated: the {self.what} stream ends too early, at "
                        f"byte {self._fed}; download or copy it again"
                    )
            try:
                block: bytes = self._member.decompress(data, limit)
            except self.errors as error:
                raise FormatError(
                    f"corrupt {self.what} stream near byte "
                    f"{self.compressed_position}, after {self.position} decompressed bytes "
                    f"({error}); download or copy it again"
                ) from error
            if block:
                self.position += len(block)
                return block

    def _start_member(self) -> bool:
        """Find the next member; return whether there is one."""
        while len(self._pending) < len(self.magic) and (data := self._next_input()):
            self._pending += data
        if not self._pending:
            return False
        if not self._pending.startswith(self.magic):
            where = self.compressed_position
            if where == 0:
                raise FormatError(
                    f"not {self.what}: it starts with other bytes than {self.magic.hex(' ')}"
                )
            if self._only_zeros_follow():
                return False
            raise FormatError(
                f"the {self.what} stream ends at byte {where}, but "
                f"{self.compressed_size - where} bytes follow that are not {self.what}; "
                "download or copy it again"
            )
        self._is_in_member = True
        return True

    def _only_zeros_follow(self) -> bool:
        """Return whether zeros fill up the file to its end, as archives and tapes leave them."""
        if self._pending.strip(b"\0"):
            return False
        rest = self._file.size - self._fed
        while rest:
            part = np.empty(min(COMPRESSED_BLOCK_BYTES, rest), np.uint8)
            self._file.read_into(self._file.size - rest, bytes_of(part))
            if part.any():
                return False
            rest -= len(part)
        self._fed, self._pending = self._file.size, b""
        return True

    def _next_input(self) -> bytes:
        size = min(COMPRESSED_BLOCK_BYTES, self._file.size - self._fed)
        view = bytes_of(self._input[:size])
        self._file.read_into(self._fed, view)
        self._fed += size
        return bytes(view)

    def _new_member(self) -> Any:
        return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)


class ZlibStream(GzipStream):
    """The decompressed bytes of zlib streams (RFC 1950), which MetaImage holds."""

    magic = b"\x78"
    what = "zlib"

    def _new_member(self) -> Any:
        return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB)


class Bzip2Stream(GzipStream):
    """The decompressed bytes of a bzip2 file."""

    magic = b"BZh"
    what = "bzip2"
    errors = (OSError, ValueError)

    def _new_member(self) -> Any:
        import bz2

        return bz2.BZ2Decompressor()


def stream_of(head: bytes) -> type[GzipStream] | type[ZstdStream] | None:
    """Return what decompresses a file that starts with `head`; None if it is plain."""
    kinds: tuple[type[GzipStream] | type[ZstdStream], ...] = (GzipStream, Bzip2Stream)
    for kind in kinds:
        if head.startswith(kind.magic):  # type: ignore[union-attr]
            return kind
    if not head.startswith(ZSTD_MAGIC):
        return None
    from ngcore.sources.volumes.zstd_stream import ZstdStream  # seldom

    return ZstdStream


class GzipSource(Source):
    """Voxels at an offset in the decompressed bytes of a gzip file.

    Parameters are those of `RawSource`; `offset` counts decompressed bytes. `stream` opens what
    decompresses them: gzip unless told.

    Raises
    ------
    FormatError
        If the header says more voxels than a gzip file of this size can hold.
    """

    def __init__(
        self,
        header: SourceHeader,
        path: Path,
        offset: int,
        order: AxisOrder,
        stored_dtype: np.dtype[Any],
        stream: Callable[[Path, str], GzipStream | ZstdStream] = GzipStream,
    ) -> None:
        self.header = header
        self.stream_axis, self.memory_order = cheapest_walk(header.shape, order)
        # Channels that follow each other whole: a plane of all of them lies all over the file.
        is_apart = header.shape[3] > 1 and order.index(3) > order.index(self.stream_axis)
        self.cost = Cost("unpack" if is_apart else "forward")
        self._order = order
        self._stored_dtype = stored_dtype
        self._offset = offset
        self._strides = file_strides(header, order)
        self._next_plane = 0
        if offset < 0:
            raise FormatError(f"{path}: corrupt header: voxels start at byte {offset}")
        self._stream = stream(path, header.name or path.name)
        # bzip2 packs 45 MB of zeros into 46 bytes, Zstandard 128 KiB into 4.
        ratio = MAX_RATIO if stream in (GzipStream, ZlibStream) else 1 << 20
        most = ratio * self._stream.compressed_size
        if offset + header.byte_count > most:
            self._stream.close()
            raise FormatError(
                f"truncated: its header says {header.shape} voxels of {header.dtype}, "
                f"{header.byte_count} bytes, but {self._stream.compressed_size} compressed "
                f"bytes hold at most {most}; download it again"
            )

    def _read(self, box: Box3, out: np.ndarray[Any, Any]) -> None:
        start, stop = box[self.stream_axis].start, box[self.stream_axis].stop
        is_whole = all(
            (part.start, part.stop) == (0, self.shape[axis])
            for axis, part in enumerate(box)
            if axis != self.stream_axis
        )
        if not is_whole or self.cost.access == "unpack" or start != self._next_plane:
            raise ValueError(
                f"{self.name}: planes {start} to {stop}, box {box}: a stream at plane "
                f"{self._next_plane} is read forward and whole; use spooled() for more"
            )
        self._next_plane = stop
        slow_to_fast = self._order[::-1]
        fill_box(
            out.transpose(slow_to_fast),
            tuple(self._strides[axis] for axis in slow_to_fast),
            self._offset + start * self._strides[self.stream_axis],
            self._stored_dtype,
            self._stream.read_into,
        )

    def spooled(self, path: Path) -> Source:
        """Decompress everything into a raw file at `path`; see `Source.spooled`."""
        if self._next_plane:
            raise ValueError(f"{self.name}: planes were read already")

        def blocks() -> Iterator[memoryview]:
            buffer = np.empty(1 << 20, np.uint8)
            end = self._offset + self.header.byte_count
            for place in range(self._offset, end, len(buffer)):
                view = bytes_of(buffer[: end - place])
                self._stream.read_into(place, view)
                yield view
            self._stream.finish()

        with naming(self.name):
            write_spool(path, blocks())
        self.close()
        return RawSource(self.header, path, 0, self._order, self._stored_dtype, self.stream_axis)

    def finish(self) -> None:
        """Check the checksums, and that nothing follows; see `GzipStream.finish`."""
        with naming(self.name):
            self._stream.finish()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
