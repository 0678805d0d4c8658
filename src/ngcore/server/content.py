"""The bytes of a located file as one client gets them: stored or decompressed, whole or a range.

Nothing is held whole in memory, so neither a large file nor a small one that unpacks to much
more can exhaust it.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, BinaryIO, cast

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from ngcore.server.negotiation import ByteRange

BLOCK = 1 << 18
MOST_UNPACKED = 1 << 30
"""What a chunk or a mesh may unpack to; more is taken for an attack on the processor's time."""


@dataclass(frozen=True, slots=True)
class Content:
    """A resource of known size that can be read in pieces, from one open file.

    A file that is replaced meanwhile changes nothing of what is sent.
    """

    file: BinaryIO
    size: int
    status: os.stat_result
    unpacks: bool
    """The file is gzip, and the resource is what it unpacks to."""

    def etag(self, *, is_gzipped: bool) -> str:
        """Return the entity tag: another one for what is sent with another coding."""
        coding = "-gzip" if is_gzipped else ""
        status = self.status
        return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}{coding}"'

    @property
    def last_modified(self) -> str:
        """When the file was changed last, as HTTP writes dates."""
        return formatdate(self.status.st_mtime, usegmt=True)

    def blocks(self, wanted: ByteRange) -> Generator[bytes]:
        """Yield the bytes of a range, in blocks of `BLOCK` bytes at most."""
        self.file.seek(wanted.start)
        left = wanted.length
        while left:
            block = self.file.read(min(BLOCK, left))
            if not block:
                return  # the file shrank meanwhile; the server ends the connection
            left -= len(block)
            yield block

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def open_content(path: Path, *, unpacks: bool) -> Content:
    """Open a file and measure it, unpacking it where that is how it will be sent.

    Raises
    ------
    FormatError
        The file should be unpacked and is not valid gzip.
    OSError
        The file can't be read.
    """
    stored = path.open("rb")
    try:
        status = os.fstat(stored.fileno())
        if not unpacks:
            return Content(stored, status.st_size, status, unpacks=False)
        file = cast("BinaryIO", _Unpacked(stored))
        return Content(file, _unpacked_size(file, path.name), status, unpacks=True)
    except BaseException:
        stored.close()
        raise


class _Unpacked(gzip.GzipFile):
    """What a gzip file unpacks to; closing it closes the file."""

    def __init__(self, stored: BinaryIO) -> None:
        super().__init__(fileobj=stored, mode="rb")
        self._stored = stored

    def close(self) -> None:
        super().close()
        self._stored.close()


def _unpacked_size(file: BinaryIO, name: str) -> int:
    size = 0
    try:
        while block := file.read(BLOCK):
            size += len(block)
            if size > MOST_UNPACKED:
                raise FormatError(
                    f"{name} unpacks to more than {MOST_UNPACKED} bytes; ask for it with "
                    "Accept-Encoding: gzip, or convert the volume again with smaller chunks"
                )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"{name} is not valid gzip ({error}); convert the volume again"
        raise FormatError(message) from error
    return size
