"""Uploads that go on while the next bytes are made: to a bucket, each waits for an answer."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from ngcore.storage.base import ReadableStore, Store

UPLOAD_BYTES = 64 << 20
"""What a process holds of all that it uploads, at most, beside what waits for its shard."""
_PIECE = 1 << 20
_FILES_AT_ONCE = 16


class Room:
    """Memory that some threads share. Each takes once what it needs, so none waits for ever.

    Parameters
    ----------
    size : int, in bytes
        Of all of it. Who needs more is let in alone.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[Callable[[int], None]]:
        """Wait for room and have it within a `with` block, which gets what makes it smaller."""
        held = min(size, self._size)

        def keep(size: int) -> None:
            nonlocal held
            if size < held:
                self.give(held - size)
                held = size

        self.take(size)
        try:
            yield keep
        finally:
            keep(0)

    def take(self, size: int) -> None:
        """Wait for room."""
        size = min(size, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size

    def give(self, size: int) -> None:
        """Give back what was taken."""
        with self._changed:
            self._free += min(size, self._size)
            self._changed.notify_all()


IN_FLIGHT = Room(UPLOAD_BYTES)
"""Of the bytes that are on their way, whoever sends them."""
_WAITING = Room(UPLOAD_BYTES)
"""Of those that wait to be sent, which are often the same."""


def carry(source: ReadableStore, dest: Store, names: Iterable[str]) -> None:
    """Copy files from a store to another one, several at once, each a few MiB at a time.

    Raises
    ------
    StorageError, DestinationError
        One can't be read or written.
    """
    uploads = Uploads(_FILES_AT_ONCE)
    try:
        for name in names:
            uploads.submit(partial(_carry, source, dest, name))
        uploads.finish()
    finally:
        uploads.abort()


def _carry(source: ReadableStore, dest: Store, name: str) -> None:
    pieces = _Pieces(source, name)
    if dest.size(name) == source.size(name):
        both = zip_longest(pieces, _Pieces(dest, name))
        if all(here == there for here, there in both):
            return
    dest.put_parts(name, pieces)


class _Pieces:
    """The bytes of a file, some at a time, as often as they are asked for."""

    def __init__(self, store: ReadableStore, name: str) -> None:
        self._store, self._name = store, name

    def __iter__(self) -> Iterator[bytes | memoryview]:
        start = 0
        while piece := self._store.get_buffer(self._name, start, start + _PIECE):
            yield piece
            start += len(piece)


class Uploads:
    """Work that waits for a server, some of it at once. Safe to use from several threads.

    Parameters
    ----------
    at_once : int
        As many threads do it, and as much again may wait; who brings more waits too.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._room = threading.Semaphore(2 * at_once)
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pending: set[Future[None]] = set()
        self._error: BaseException | None = None

    def submit(self, work: Callable[[], None], size: int = 0) -> None:
        """Do something soon, or raise the error of what was to be done before.

        Parameters
        ----------
        work : callable
        size : int, in bytes
            What it holds in memory until it is done.
        """
        self._room.acquire()
        _WAITING.take(size)
        with self._lock:
            if self._error is not None:
                self._leave(size)
                raise self._error
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor  # not for everybody else

                self._pool = ThreadPoolExecutor(self._at_once, "ngcore-upload")
            future = self._pool.submit(work)
            self._pending.add(future)
        future.add_done_callback(partial(self._done, size))

    def _done(self, size: int, future: Future[None]) -> None:
        with self._lock:
            self._pending.discard(future)
            if not future.cancelled() and self._error is None:
                self._error = future.exception()
        self._leave(size)

    def _leave(self, size: int) -> None:
        _WAITING.give(size)
        self._room.release()

    def finish(self) -> None:
        """Wait until all is done, and raise the first error."""
        self._end(cancel=False)
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Leave out what has not begun, and wait for the rest."""
        self._end(cancel=True)

    def _end(self, *, cancel: bool) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=cancel)
