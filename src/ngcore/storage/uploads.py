"""Uploads that go on while the next bytes are made: to a bucket, each waits for an answer."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from ngcore.storage.base import ReadableStore, Store

_PIECE = 8 << 20
_FILES_AT_ONCE = 16


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
    if dest.size(name) == source.size(name) and dest.get(name) == source.get(name):
        return
    dest.put_parts(name, _pieces(source, name))


def _pieces(store: ReadableStore, name: str) -> Iterator[bytes]:
    start = 0
    while piece := store.get(name, start, start + _PIECE):
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

    def submit(self, work: Callable[[], None]) -> None:
        """Do something soon, or raise the error of what was to be done before."""
        self._room.acquire()
        with self._lock:
            if self._error is not None:
                self._room.release()
                raise self._error
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor  # not for everybody else

                self._pool = ThreadPoolExecutor(self._at_once, "ngcore-upload")
            future = self._pool.submit(work)
            self._pending.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._pending.discard(future)
            if not future.cancelled() and self._error is None:
                self._error = future.exception()
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
