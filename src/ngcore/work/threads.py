"""Threads that do urgent work first, and stop together at the first error.

`concurrent.futures` serves tasks in the order of submission. A conversion wants another order:
reading and downsampling feed everything else, so they go before the encoding that is already
queued. That, and the wish that one failure ends the whole run at once, is all that this module
adds.
"""

from __future__ import annotations

import heapq
import itertools
import os
import threading
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor
    from types import TracebackType

T = TypeVar("T")
R = TypeVar("R")

_STANDING = 32
"""Threads that are kept for short work, at most, unless more are asked for."""

URGENT = 0
LATER = 1


class TaskGroup:
    """Tasks that are waited for together, such as all that still read one buffer."""

    unfinished = 0


class ThreadPool:
    """A fixed number of threads that share a priority queue; a context manager.

    After a task raises, no queued task is started, and `submit` and `wait` raise that first error.
    Leaving the context drops what is queued if there was an error, and waits for the running
    tasks.

    Parameters
    ----------
    workers : int
        How many threads, at least 1; fewer are started where the system allows no more.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        lock = threading.Lock()
        self._has_work = threading.Condition(lock)
        self._has_finished = threading.Condition(lock)
        self._queue: list[tuple[int, int, Callable[[], None], TaskGroup]] = []
        self._order = itertools.count()
        self._error: BaseException | None = None
        self._closing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"ngcore-{index}", daemon=True)
            for index in range(workers)
        ]

    def submit(self, task: Callable[[], None], group: TaskGroup, *, urgency: int = LATER) -> None:
        """Queue `task`; the most urgent tasks run first, in the order they came."""
        with self._has_work:
            self._raise_error()
            group.unfinished += 1
            heapq.heappush(self._queue, (urgency, next(self._order), task, group))
            self._has_work.notify()

    def wait(self, group: TaskGroup) -> None:
        """Return when every task of `group` has run; raise the first error of any task."""
        with self._has_finished:
            while group.unfinished and self._error is None:
                # Windows delivers Ctrl-C only between waits, so none is endless.
                self._has_finished.wait(timeout=1)
            self._raise_error()

    def __enter__(self) -> Self:
        for started, thread in enumerate(self._threads):
            try:
                thread.start()
            except RuntimeError:  # the system allows no more: a batch job's share, a container's
                if not started:
                    raise
                del self._threads[started:]
                break
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._has_work:
            self._error = self._error or error
            self._closing = True
            self._has_work.notify_all()
        for thread in self._threads:
            thread.join()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _wait_for_work(self) -> None:
        while not self._queue and not self._closing and self._error is None:
            self._has_work.wait()

    def _run(self) -> None:
        while True:
            with self._has_work:
                self._wait_for_work()
                if self._error is not None or not self._queue:
                    return
                _, _, task, group = heapq.heappop(self._queue)
            error = None
            try:
                task()
            except BaseException as raised:  # handed to whoever waits, whatever it is
                error = raised
            del task  # it may hold a buffer that others are waiting to free
            with self._has_finished:
                group.unfinished -= 1
                if error is not None:
                    self._error = self._error or error
                    self._has_work.notify_all()
                if error is not None or not group.unfinished:
                    self._has_finished.notify_all()


def for_each(
    items: Iterable[T],
    work: Callable[[T], None],
    *,
    workers: int | None = None,
    stop: Callable[[], None] | None = None,
) -> None:
    """Call `work` with every item, on several threads; raise the first error of any.

    After an error no thread takes another item.

    Parameters
    ----------
    items : iterable
        Taken one by one, when a thread is free.
    work : callable
        Called from several threads at once, in no order.
    workers : int, optional
        Threads; default all cores.
    stop : callable, optional
        Called after an error, Ctrl-C among them, to end the work that still goes on.
    """
    iterator, lock, end = iter(items), threading.Lock(), object()
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            with lock:
                item = next(iterator, end)
            if item is end:
                return
            work(item)  # type: ignore[arg-type]

    count = workers or os.cpu_count() or 1
    with ThreadPool(count) as pool:
        group = TaskGroup()
        for _ in range(count):
            pool.submit(run, group)
        try:
            pool.wait(group)
        except BaseException:
            is_over.set()
            if stop is not None:
                stop()
            raise


def share(items: Iterable[T], work: Callable[[T], object], workers: int) -> None:
    """Call `work` with every item, on this thread and on others that stay there for the next call.

    For short work, which `for_each` would keep waiting for new threads. After an error no thread
    takes another item, and the first error is raised.

    Parameters
    ----------
    items : iterable
        Taken one by one, when a thread is free.
    work : callable
        Called from several threads at once, in no order; it must not call `share`.
    workers : int
        Threads, this one included.
    """
    iterator, lock, end = iter(items), threading.Lock(), object()
    is_over = threading.Event()

    def run() -> None:
        try:
            while not is_over.is_set():
                with lock:
                    item = next(iterator, end)
                if item is end:
                    return
                work(item)  # type: ignore[arg-type]
        except BaseException:
            is_over.set()
            raise

    size = max(_STANDING, 1 << (workers - 1).bit_length())
    helpers = [_standing_pool(os.getpid(), size).submit(run) for _ in range(workers - 1)]
    try:
        run()
    finally:
        is_over.set()
        # One that has not begun has nothing left to do.
        begun = [helper for helper in helpers if not helper.cancel()]
        errors = [error for helper in begun if (error := helper.exception()) is not None]
    if errors:
        raise errors[0]


@lru_cache(maxsize=4)
def _standing_pool(_process: int, size: int) -> ThreadPoolExecutor:
    """Return up to so many threads that wait for work; a fork has none of its parent's.

    Each is started when it is first needed. Only those who ask for very many have others.
    """
    from concurrent.futures import ThreadPoolExecutor  # conversions do without it

    return ThreadPoolExecutor(size, "ngcore-shared")


def map_ahead(
    work: Callable[[T], R], items: Iterable[T], workers: int | None = None
) -> Iterator[R]:
    """Yield what `work` makes of every item, in order, while threads make the next ones.

    At most twice as many results wait as there are threads. An error is raised in its turn; no
    item behind it is begun.

    Parameters
    ----------
    work : callable
        Called from several threads at once.
    items : iterable
        Taken one by one, by the thread that asks for results.
    workers : int, optional
        Threads; default all cores.
    """
    from concurrent.futures import ThreadPoolExecutor  # conversions do without it

    count = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(count, "ngcore") as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
