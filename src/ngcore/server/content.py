"""The bytes of a located file as one client gets them: stored or decompressed, whole or a range.

Nothing is held whole in memory, so neither a large file nor a small one that unpacks to much
more can exhaust it.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
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
    """A resource of known size that can be read in pieces."""

    path: Path
    size: int
    unpacks: bool
    """The file is gzip, and the resource is what it unpacks to."""

    def blocks(self, wanted: ByteRange) -> Generator[bytes]:
        """Yield the bytes of a range, in blocks of `BLOCK` bytes at most."""
        with _open(self.path, unpacks=self.unpacks) as file:
            file.seek(wanted.start)
            left = wanted.length
            while left:
                block = file.read(min(BLOCK, left))
                if not block:
                    return  # the file shrank meanwhile; the server ends the connection
                left -= len(block)
                yield block


def open_content(path: Path, *, unpacks: bool) -> Content:
    """Measure a file, unpacking it where that is how it will be sent.

    Raises
    ------
    FormatError
        The file should be unpacked and is not sound gzip.
    OSError
        The file can't be read.
    """
    with _open(path, unpacks=unpacks) as file:
        if not unpacks:
            return Content(path, os.fstat(file.fileno()).st_size, unpacks=False)
        size = 0
        try:
            while block := file.read(BLOCK):
                size += len(block)
                if size > MOST_UNPACKED:
                    raise FormatError(
                        f"{path.name} unpacks to more than {MOST_UNPACKED} bytes; ask for it with "
                        "Accept-Encoding: gzip, or convert the volume again with smaller chunks"
                    )
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            message = f"{path.name} is not sound gzip ({error}); convert the volume again"
            raise FormatError(message) from error
    return Content(path, size, unpacks=True)


def _open(path: Path, *, unpacks: bool) -> BinaryIO:
    if not unpacks:
        return path.open("rb")
    return cast("BinaryIO", gzip.open(path, "rb"))
