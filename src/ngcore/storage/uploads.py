"""Uploads that go on while the next bytes are made: to a bucket, each waits for an answer."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

from ngcore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

    from ngcore.storage.base import ReadableStore, Store

UPLOAD_BYTES = 64 << 20
"""What a process holds of all that it uploads, at most: what waits to be sent, and what is on its
way. What waits for its shard to be complete comes beside it, and what is larger goes alone."""
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


_ROOM = Room(UPLOAD_BYTES)
"""Of the bytes that wait to be sent or are on their way, whoever sends them."""
_COUNTED = threading.local()
"""Where a thread does work of `Uploads` for which room was taken, `size` says how much."""


@contextmanager
def room_to_send(size: int) -> Iterator[Callable[[int], None]]:
    """Wait for room for what is sent within a `with` block; see `Room.taken`.

    What `Uploads` were told the size of has its room from then on. Who waited for more while it
    holds that could wait for ever.
    """
    if getattr(_COUNTED, "size", 0):
        yield _no_less
        return
    with _ROOM.taken(size) as keep:
        yield keep


def _no_less(_size: int) -> None:
    """Keep all, which `Uploads` give back."""


def _do_counted(work: Callable[[], None], size: int) -> None:
    _COUNTED.size = size
    try:
        work()
    finally:
        _COUNTED.size = 0


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
    size = source.size(name)
    if size is None:
        raise StorageError(
            f"can't copy {name} from {source.location}: it is gone; make it again, and keep what "
            "removes it from doing so"
        )
    pieces = _Pieces(source, name, size)
    if dest.size(name) == size:
        both = zip_longest(pieces, _Pieces(dest, name, size))
        if all(here == there for here, there in both):
            return
    dest.put_parts(name, pieces)


class _Pieces:
    """The bytes of a file, some at a time, as often as they are asked for.

    It raises StorageError where they are fewer or more than they were.
    """

    def __init__(self, store: ReadableStore, name: str, size: int) -> None:
        self._store, self._name, self._size = store, name, size

    def __iter__(self) -> Iterator[bytes | memoryview]:
        start = 0
        while piece := self._store.get_buffer(self._name, start, start + _PIECE):
            yield piece
            start += len(piece)
        if start != self._size:
            raise StorageError(
                f"can't copy {self._name} from {self._store.location}: it has {start} bytes, but "
                f"had {self._size}; copy it when nothing changes it"
            )


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
        try:
            _ROOM.take(size)
        except BaseException:
            self._room.release()
            raise
        try:
            future = self._begun(partial(_do_counted, work, size))
        except BaseException:  # where no thread can be started, say
            self._leave(size)
            raise
        future.add_done_callback(partial(self._done, size))

    def _begun(self, work: Callable[[], None]) -> Future[None]:
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor  # not for everybody else

                self._pool = ThreadPoolExecutor(self._at_once, "ngcore-upload")
            future = self._pool.submit(work)
            self._pending.add(future)
            return future

    def _done(self, size: int, future: Future[None]) -> None:
        with self._lock:
            self._pending.discard(future)
            if not future.cancelled() and self._error is None:
                self._error = future.exception()
        self._leave(size)

    def _leave(self, size: int) -> None:
        _ROOM.give(size)
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
