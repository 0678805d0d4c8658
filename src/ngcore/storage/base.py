"""What a place that holds bytes promises, and what reads and writes chunks in one."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from typing_extensions import Buffer

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.encodings import Span

    ChunkGroup = Callable[[], Iterable[tuple[Vec3, bytes | None]]]
    """Reads some chunks, encoded, one after the other."""
    AtOnce = Callable[[Iterable[Any], Callable[[Any], object], int], object]
    Ahead = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]

LARGEST_REQUEST = 4 << 20
"""Bytes of several chunks of a shard that are read at once from far away."""

Layout = Literal["flat", "nested"]
"""Where the file of a chunk lies: ``key/X_Y_Z`` or ``key/X/Y/Z``."""

TEMPORARY_SUFFIX = ".ngcore-tmp"
"""Ends the name of every file that is being written, which starts with a dot. A killed process
leaves such files behind; they may be removed whenever nobody writes."""


class ReadableStore(ABC):
    """Bytes under names such as ``8_8_8/0-64_0-64_0-64``, parts separated by slashes.

    Safe to use from several threads at once.
    """

    location: str
    """Where this is, for messages."""

    is_remote: bool = False
    """Whether each look takes a request to another machine."""

    asks_ahead: bool = False
    """Whether one thread may have several requests on their way, in `get_each`."""

    has_cheap_ranges: bool = False
    """Whether a part of a file takes less time than all of it, and is checked as well."""

    lost_chunks: Literal["warn", "refuse", "ignore"] = "warn"
    """What readers do where chunk files that ngcore wrote are gone: whoever writes what is made of
    voxels (volumes, meshes, tables of labels) refuses, or zeros would become sound data there."""

    @abstractmethod
    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return the bytes under a name, None where there are none.

        Parameters
        ----------
        name : str
        start, stop : int, in bytes
            The range to read, 0 or more. A range past the end gives fewer bytes, or none.

        Raises
        ------
        StorageError
            They are there, and can't be read.
        """

    def get_buffer(
        self, name: str, start: int = 0, stop: int | None = None
    ) -> bytes | memoryview | None:
        """Do as `get`, without a copy where what brought the bytes holds them in memory."""
        return self.get(name, start, stop)

    def get_whole(self, name: str, max_size: int) -> bytes | None:
        """Return all bytes under a name, None where there are none.

        Parameters
        ----------
        name : str
        max_size : int, in bytes
            Refuse more than this; no more memory than that is taken.

        Raises
        ------
        FormatError
            There are more.
        StorageError
            They are there, and can't be read.
        """
        data = self.get(name, 0, max_size + 1)
        if data is not None and len(data) > max_size:
            raise FormatError(f"larger than the {max_size} bytes expected")
        return data

    def get_each(
        self, ranges: Iterable[tuple[str, int, int]], ahead: int
    ) -> Iterator[bytes | None]:
        """Yield what `get` returns of names, starts and stops that are not empty ranges.

        Parameters
        ----------
        ranges : iterable of tuple
        ahead : int
            How many are asked for at once, at most.
        """
        _ = ahead
        return (self.get(name, start, stop) for name, start, stop in ranges)

    def get_each_whole(
        self, names: Iterable[str], max_size: int, ahead: int
    ) -> Iterator[bytes | None]:
        """Yield what `get_whole` returns of names, `ahead` of which are asked for at once."""
        _ = ahead
        return (self.get_whole(name, max_size) for name in names)

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return how many bytes are under a name, None where there is nothing."""

    def get_sized(self, name: str, start: int, stop: int) -> tuple[bytes, int] | None:
        """Return a range as `get` does, and how many bytes are under the name in all.

        Stores that are far away ask for both at once.
        """
        size = self.size(name)
        data = None if size is None else self.get(name, start, stop)
        return None if size is None or data is None else (data, size)


class StoreLock(ABC):
    """A lock on a place, until it is released or its process ends."""

    @abstractmethod
    def is_held(self) -> bool:
        """Whether the place is still the one that was locked, and the lock still ours.

        A folder may have been moved or removed since, and a lock of a bucket may have expired.
        """

    @abstractmethod
    def release(self) -> None:
        """Let others take the lock; the name that stood for it goes."""


class Store(ReadableStore):
    """A place that can be written, too, and whose names can be listed.

    The last methods are what `ngcore.transaction` is made of. A store in which every `put` is
    durable and atomic by itself, such as a bucket, has nothing to do in `sync`.
    """

    is_durable: bool = False
    """Whether what was put survives any loss of power here, without `sync`."""

    keeps_names: bool = False
    """Whether a gzipped file keeps its name, and says how it is encoded, instead of ``.gz``."""

    def put(self, name: str, *parts: Buffer) -> None:
        """Store the parts, one after the other, under a name, replacing what was there.

        Whoever reads meanwhile sees all of the new bytes or none of them.

        Raises
        ------
        StorageError
            They can't be written. What was there before is still there.
        """
        self.put_parts(name, parts)

    @abstractmethod
    def put_parts(self, name: str, parts: Iterable[Buffer]) -> None:
        """Do as `put`, with parts that are taken as they are needed, a few MiB at a time."""

    def put_chunk(self, name: str, data: Buffer, *, media_type: str, is_gzipped: bool) -> None:
        """Do as `put` for the file of one chunk, of which browsers may be told more.

        Parameters
        ----------
        name : str
            With ``.gz`` at its end if it is gzipped, unless the store keeps names.
        data : bytes-like
            As it is to lie there.
        media_type : str
            Its Content-Type, once it is decompressed.
        is_gzipped : bool
        """
        _ = media_type, is_gzipped  # files have only names
        self.put(name, data)

    def object_above(self) -> str | None:
        """Return where a file is that would have to be a folder of this store; None if nowhere."""
        return None

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a name, if it is there."""

    def delete_all(self, names: Iterable[str]) -> None:
        """Remove many names, where they are there."""
        for name in names:
            self.delete(name)

    def delete_unfinished(self, folder: str = "") -> None:
        """Give up uploads to a folder, whose processes are gone: nobody else may write there."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted within each folder, every name that starts with `prefix`.

        Names with a part that starts with a dot are left out: they are not part of a volume.
        """

    def walk(self, folder: str) -> Iterator[str]:
        """Yield every name below a folder, as `list` would, in any order; none is held."""
        return self.list(f"{folder}/")

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield each name that `walk` would, with its size in bytes."""
        for name in self.walk(folder):
            size = self.size(name)
            if size is not None:
                yield name, size

    def prune(self, folder: str) -> None:
        """Remove a folder, those in it and those above it, where nothing is left in them."""

    def has_any(self, folder: str) -> bool:
        """Return whether there is any name below a folder, as `list` would tell."""
        return next(self.list(f"{folder}/"), None) is not None

    @abstractmethod
    def entries(self, folder: str = "") -> set[str]:
        """Return the names of files and folders directly in a folder, hidden ones too.

        Parameters
        ----------
        folder : str
            Without a slash at its end; the store itself by default. Empty where it is not there.
        """

    @abstractmethod
    def delete_folder(self, folder: str) -> None:
        """Remove all names below a folder, hidden ones too, and the folder; it may be absent.

        Raises
        ------
        StorageError
            Something can't be removed.
        """

    @abstractmethod
    def create(self, name: str, data: Buffer) -> bool:
        """Store bytes under a name that is free; return whether it was.

        Of all who try at once, one succeeds. What is created is durable, as by `put_durably`.
        """

    def put_durably(self, name: str, data: Buffer) -> None:
        """Do as `put`; what was put survives a loss of power from when its name is there."""
        self.put(name, data)

    def append(self, name: str, data: Buffer) -> None:
        """Add bytes at the end of what is under a name; for small things only.

        A failure may leave a part of them.
        """
        self.put(name, self.get(name) or b"", data)

    def append_durably(self, name: str, data: Buffer) -> None:
        """Do as `append`, durably."""
        self.append(name, data)

    def sync(self, names: Collection[str] | None = None) -> None:
        """Make durable what was put under some names, by default under all.

        A name that ends in a slash is a folder in which names were deleted.

        Raises
        ------
        SyncError
            Data may be lost: whatever was put since the last `sync` must be put again.
        """

    @abstractmethod
    def lock(self, name: str) -> StoreLock | None:
        """Take the lock that a name stands for; None while another process has it.

        Parameters
        ----------
        name : str
            Such as ``.ngcore/lock``. In a bucket it is an object, created only where it is
            absent, that holds its owner (host, process, a random token) and when it expires
            unless it is renewed; the owner renews it until it releases it.

        Raises
        ------
        DestinationError
            Nothing can be written here, such as in a folder without permission.
        StorageError
            The disk is full, or failed.
        """

    @abstractmethod
    def is_locked(self, name: str) -> bool:
        """Whether another process, one that lives, has the lock that a name stands for."""


def max_stored_size(size: int) -> int:
    """Return the most bytes that `size` bytes take in a file, gzipped or not.

    Data that can't be compressed grow by a thousandth; the rest is for clumsy writers. Nothing
    larger is read, so that no file, whatever its size, takes more memory than that.
    """
    return 2 * size + 1024


class ChunkReader(ABC):
    """Finds the encoded chunks of one scale. Safe to use from several threads at once."""

    @abstractmethod
    def read(self, cell: Vec3) -> bytes | None:
        """Return an encoded chunk, not gzipped any more; None where it is absent (all zeros).

        Raises
        ------
        FormatError
            What is there is damaged; the message names the file.
        StorageError
            What is there can't be read.
        """

    def read_span(self, cell: Vec3, span: Span) -> tuple[bytes | None, bool]:
        """Do as `read`, or return a part of the chunk, where that takes less time.

        Parameters
        ----------
        cell : tuple of int, (x, y, z)
        span : Span
            The part that is wanted.

        Returns
        -------
        data : bytes or None
        is_part : bool
            Whether they are those of the span alone, of a chunk that has as many bytes as it says.
        """
        _ = span
        return self.read(cell), False

    def in_groups(
        self, cells: Sequence[Vec3], requests: int, threads: int, at_once: AtOnce
    ) -> Sequence[ChunkGroup]:
        """Return chunks in groups, each of which one thread is to read.

        Chunks that lie side by side far away take one request instead of one each.

        Parameters
        ----------
        cells : sequence of (x, y, z)
        requests : int
            How many may be on their way at once.
        threads : int
            How many threads read groups: as many as `requests`, unless the store asks ahead.
        at_once : callable
            Calls a function with every item of an iterable, on some threads.
        """
        _ = requests, threads, at_once
        return [partial(self._read_one, cell) for cell in cells]

    def _read_one(self, cell: Vec3) -> Iterator[tuple[Vec3, bytes | None]]:
        yield cell, self.read(cell)


class ChunkWriter(ABC):
    """Puts the encoded chunks of one scale where they belong, in any order, from any thread."""

    @abstractmethod
    def write(self, cell: Vec3, data: Buffer | None) -> None:
        """Take an encoded chunk; None is a chunk of zeros, which shards leave out.

        Raises
        ------
        StorageError
            The disk is full, or failed.
        """

    def write_zeros(
        self, first: Vec3, stop: Vec3, is_written: Callable[[str], bool] | None = None
    ) -> None:
        """Take all chunks from `first` up to and without `stop`, which are zeros, at once.

        Parameters
        ----------
        first, stop : tuple of int, (x, y, z)
            Cells of the grid.
        is_written : callable, optional
            Whether the file of a name is there already, and need not be written.
        """
        for z, y, x in itertools.product(*map(range, first[::-1], stop[::-1])):
            if is_written is None or not is_written(self.file_of((x, y, z))):
                self.write((x, y, z), None)

    @abstractmethod
    def file_of(self, cell: Vec3) -> str:
        """Return the name of the file that the chunk at `cell` is put into."""

    @abstractmethod
    def finish(self, *, whole: bool = True) -> None:
        """Check that everything is written, once the last chunk has been.

        Parameters
        ----------
        whole : bool
            Whether this writer was to be given every chunk of the scale. One that writes a part
            of a scale must still be given every chunk of each shard that it begins.

        Raises
        ------
        InputError
            Chunks are missing.
        """

    @abstractmethod
    def abort(self) -> None:
        """Let go of memory and temporary files; also after `finish`, and more than once."""
