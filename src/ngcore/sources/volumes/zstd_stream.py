"""The bytes inside a Zstandard file, front to back (https://www.rfc-editor.org/rfc/rfc8878).

libzstd checks each frame's checksum. It does not tell whether the last frame was whole, so a frame
of ngcore's own is put behind the file: where the file breaks off, that frame is not found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, MissingExtraError
from ngcore.sources.files import bytes_of, open_binary

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK_BYTES = 1 << 18
_LAST_WORDS = b"ngcore: the frame before this one was whole"


class ZstdStream:
    """The decompressed bytes of a Zstandard file, in order.

    Raises
    ------
    MissingExtraError
        If `zstandard` is not installed.
    """

    def __init__(self, path: Path, name: str) -> None:
        try:
            import zstandard
        except ImportError as error:
            raise MissingExtraError(
                f"{name}: Zstandard needs zstandard; pip install 'ngcore-neuroglancer[formats]'"
            ) from error
        self._error = zstandard.ZstdError
        self._file = open_binary(path, name)
        self._fed = 0
        self._rest = zstandard.ZstdCompressor().compress(_LAST_WORDS)
        self._kept = b""
        self.position = 0
        self.compressed_size = self._file.size
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        own: Any = self
        self._reader: Any = decompressor.stream_reader(own, read_across_frames=True)

    def read(self, size: int = -1) -> bytes:
        """Return the next compressed bytes: of the file, then of the last frame."""
        size = min(_BLOCK_BYTES if size < 0 else size, self._file.size - self._fed)
        if size <= 0:
            rest, self._rest = self._rest, b""
            return rest
        block = np.empty(size, np.uint8)
        self._file.read_into(self._fed, bytes_of(block))
        self._fed += size
        return block.tobytes()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` with the decompressed bytes from `offset` on, which lies not behind.

        Raises
        ------
        FormatError
            If the stream is corrupt or ends first.
        """
        while self.position < offset:
            self._take(min(_BLOCK_BYTES, offset - self.position), offset)
        done = 0
        while done < len(buffer):
            block = self._take(min(_BLOCK_BYTES, len(buffer) - done), offset + len(buffer))
            buffer[done : done + len(block)] = block
            done += len(block)

    def finish(self) -> None:
        """Decompress what is left, and check that the last frame is whole.

        Raises
        ------
        FormatError
            If it is not, or a checksum is wrong.
        """
        while self._next(_BLOCK_BYTES):
            pass

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _take(self, limit: int, needed: int) -> bytes:
        block = self._next(limit)
        if not block:
            raise FormatError(
                f"truncated: it decompresses to {self.position} bytes, but its header says "
                f"{needed} or more; download it again"
            )
        return block

    def _next(self, limit: int) -> bytes:
        """Return 1 to `limit` bytes of the file, or none at its valid end."""
        # The last words come out behind everything: as many bytes are always held back.
        while len(self._kept) <= len(_LAST_WORDS):
            try:
                block = self._reader.read(limit)
            except self._error as error:
                raise FormatError(
                    f"corrupt or truncated Zstandard stream after {self.position} decompressed "
                    f"bytes ({error}); download it again"
                ) from error
            if not block:
                if self._kept != _LAST_WORDS:
                    raise FormatError(
                        f"truncated: the Zstandard stream ends too early, at byte {self._fed}; "
                        "download it again"
                    )
                return b""
            self._kept += block
        count = min(limit, len(self._kept) - len(_LAST_WORDS))
        block, self._kept = self._kept[:count], self._kept[count:]
        self.position += count
        return bytes(block)
