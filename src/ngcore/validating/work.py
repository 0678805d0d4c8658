"""Tasks for the threads, of which only so many wait at a time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ngcore.work.threads import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.work.threads import ThreadPool


class Work:
    """Hands tasks to a pool, and waits where too many are queued: memory stays bounded.

    Parameters
    ----------
    pool : ThreadPool
    """

    def __init__(self, pool: ThreadPool) -> None:
        self._pool = pool
        self._most = 3 * pool.workers
        self._groups: deque[TaskGroup] = deque()

    def submit(self, task: Callable[[], None]) -> None:
        """Queue a task, once there is room. To be called from one thread, not from tasks."""
        while len(self._groups) >= self._most:
            self._pool.wait(self._groups.popleft())
        group = TaskGroup()
        self._pool.submit(task, group)
        self._groups.append(group)

    def drain(self) -> None:
        """Return when every task has run."""
        while self._groups:
            self._pool.wait(self._groups.popleft())
