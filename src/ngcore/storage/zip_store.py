"""A volume in a zip file, which lies in a folder, a bucket or on a web server; only read.

Entries are stored, not compressed: shards are read in ranges, and Neuroglancer does the same.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import io
import posixpath
import struct
import threading
import zipfile
import zlib
from typing import TYPE_CHECKING

from ngcore.codecs.content import decode_content
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.storage.base import ReadableStore
from ngcore.storage.names import proper_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = 30
_ROOM_FOR_EXTRA = 64
"""Of an entry's own header; read with the data, so that one request is enough."""
_ENCRYPTED = 0x1
_MALFORMED = (
    zipfile.BadZipFile,
    struct.error,
    NotImplementedError,
    ValueError,
    OverflowError,
    EOFError,
    IndexError,
)


class ZipStore(ReadableStore):
    """A folder in a zip file.

    Parameters
    ----------
    base : ReadableStore
        Where the zip lies.
    name : str
        Its name there.
    folder : str
        That in it which holds the volume; its top by default.

    Raises
    ------
    InputNotFoundError
        There is no such file.
    FormatError
        It is not a zip, or damaged.
    InputError
        Its entries are compressed or encrypted.
    """

    def __init__(self, base: ReadableStore, name: str, folder: str = "") -> None:
        self._base = base
        self._name = name
        self._folder = folder.strip("/")
        self.is_remote = base.is_remote
        where = name if base.location == "." else f"{base.location}/{name}"
        self.location = f"{where}|zip:{self._folder}" if self._folder else where
        size = base.size(name)
        if size is None:
            raise InputNotFoundError(f"there is no file {where}; check its name")
        self._entries, self._end = _read_directory(base, name, size, where)
        self._starts: dict[str, int] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"ZipStore({self.location!r})"

    def __getstate__(self) -> dict[str, object]:
        return {"base": self._base, "name": self._name, "folder": self._folder}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return the bytes of an entry; see `ReadableStore.get`."""
        entry = self._entry(name)
        if entry is None:
            return None
        end = entry.file_size if stop is None else min(stop, entry.file_size)
        if start == 0 and end == entry.file_size:
            return self._whole(entry)
        if start >= end:
            return b""
        offset = self._start_of(entry)
        data = self._base.get(self._name, offset + start, offset + end)
        if data is None or len(data) != end - start:
            raise FormatError(f"{self.location} is shorter than it was; open it again")
        return data

    def get_whole(self, name: str, max_size: int) -> bytes | None:
        """Return an entry, decompressed where it is gzip; see `ReadableStore.get_whole`."""
        entry = self._entry(name)
        if entry is None:
            return None
        if entry.file_size > max_size:
            raise FormatError(f"larger than the {max_size} bytes expected")
        data = self._whole(entry)
        return data if name.endswith(".gz") else decode_content(data, None, max_size=max_size)

    def size(self, name: str) -> int | None:
        """Return the size of an entry; see `ReadableStore.size`."""
        entry = self._entry(name)
        return None if entry is None else entry.file_size

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, every name that starts with `prefix`; hidden ones are left out."""
        start = f"{self._folder}/" if self._folder else ""
        for full in sorted(self._entries):
            name = full[len(start) :]
            if full.startswith(start + prefix) and not f"/{name}".count("/."):
                yield name

    def _entry(self, name: str) -> zipfile.ZipInfo | None:
        name = proper_name(name, self.location)
        return self._entries.get(posixpath.normpath(f"{self._folder}/{name}").lstrip("/"))

    def _whole(self, entry: zipfile.ZipInfo) -> bytes:
        """Read an entry with its header in one go, and check it."""
        first = entry.header_offset
        guess = _HEADER + len(entry.orig_filename.encode()) + _ROOM_FOR_EXTRA
        data = self._base.get(self._name, first, min(first + guess + entry.file_size, self._end))
        start = self._parse_header(entry, data or b"")
        plain = (data or b"")[start : start + entry.file_size]
        if len(plain) < entry.file_size:
            offset = self._start_of(entry)
            plain = self._base.get(self._name, offset, offset + entry.file_size) or b""
        if len(plain) != entry.file_size or zlib.crc32(plain) != entry.CRC:
            raise FormatError(f"{entry.filename} is damaged: its checksum is wrong")
        return plain

    def _start_of(self, entry: zipfile.ZipInfo) -> int:
        with self._lock:
            start = self._starts.get(entry.filename)
        if start is None:
            first = entry.header_offset
            header = self._base.get(self._name, first, first + _HEADER) or b""
            start = first + self._parse_header(entry, header)
            with self._lock:
                self._starts[entry.filename] = start
        return start

    def _parse_header(self, entry: zipfile.ZipInfo, header: bytes) -> int:
        """Return where the data start, from the start of their header."""
        if len(header) < _HEADER or header[:4] != b"PK\3\4":
            raise FormatError(
                f"{self.location}: at byte {entry.header_offset} no entry begins, where "
                f"{entry.filename} should: it is damaged; pack it again"
            )
        name, extra = struct.unpack_from("<2H", header, 26)
        start: int = _HEADER + name + extra
        if entry.header_offset + start + entry.file_size > self._end:
            raise FormatError(f"{self.location}: {entry.filename} reaches past its end")
        return start


class _File(io.RawIOBase):
    """The zip as zipfile reads it: a piece of the end, then the directory."""

    def __init__(self, base: ReadableStore, name: str, size: int) -> None:
        self._base, self._name, self._size = base, name, size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        start = (0, self._position, self._size)[whence]
        if start + offset < 0:
            raise OSError("before its start")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._position)
        size = left if size < 0 else min(size, left)
        data = self._base.get(self._name, self._position, self._position + size) if size else b""
        self._position += len(data or b"")
        return data or b""


def names_in_zip(base: ReadableStore, name: str) -> frozenset[str]:
    """Return the names of all entries of a zip, stored or not; of what is not a zip, none."""
    size = base.size(name)
    try:
        with zipfile.ZipFile(_File(base, name, size or 0)) as opened:
            return frozenset(opened.namelist())
    except _MALFORMED:
        return frozenset()


def _read_directory(
    base: ReadableStore, name: str, size: int, where: str
) -> tuple[dict[str, zipfile.ZipInfo], int]:
    """Return the entries by name, and where the last may end."""
    try:
        with zipfile.ZipFile(_File(base, name, size)) as opened:
            found = [entry for entry in opened.infolist() if not entry.is_dir()]
            end = opened.start_dir
    except InputError:
        raise
    except _MALFORMED as error:
        raise FormatError(
            f"{where} is not a valid zip file ({error}); pack or download it again"
        ) from error
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in found:
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
            how = "encrypted" if entry.flag_bits & _ENCRYPTED else "compressed"
            raise InputError(
                f"{where}: the entry {entry.filename} is {how}, and Neuroglancer reads parts of "
                "stored entries only; unpack it and use `ngcore pack`, or `zip -0`"
            )
        if entry.filename in entries:
            raise FormatError(f"{where} has two entries called {entry.filename}; pack it again")
        if entry.compress_size != entry.file_size or entry.header_offset < 0:
            raise FormatError(f"{where}: the entry {entry.filename} is damaged; pack it again")
        entries[entry.filename] = entry
    return entries, end
