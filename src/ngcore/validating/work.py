"""Tasks for the threads, of which only so many wait at a time.

Parts of a scale may go to other processes instead (`ngcore.validating.spread`).
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ngcore.errors import StorageError
from ngcore.work.threads import TaskGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.work.threads import ThreadPool

Check = TypeVar("Check")
"""What is known of the scale that a part is of."""


class WorkError(StorageError):
    """Who was to check a part could not: nothing is known of the volume by that."""


class Work(Generic[Check]):
    """Hands tasks to a pool, and waits where too many are queued: memory stays bounded.

    Parameters
    ----------
    pool : ThreadPool
    """

    grain = 1
    """How many times as much a part should be than what is worth a thread's while."""

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

    def check(self, check: Check, function: Callable[[Check, Any], None], part: Any) -> None:
        """Queue the check of a part of a scale; the part can be pickled."""
        self.submit(partial(function, check, part))

    def drain(self) -> None:
        """Return when every task has run."""
        while self._groups:
            self._pool.wait(self._groups.popleft())


class AtOnce(Generic[Check]):
    """Does every task when it comes, in a process that does a part of the work."""

    grain = 1

    def submit(self, task: Callable[[], None]) -> None:
        """Do a task."""
        task()

    def check(self, check: Check, function: Callable[[Check, Any], None], part: Any) -> None:
        """Check a part of a scale."""
        function(check, part)

    def drain(self) -> None:
        """Return at once: all is done."""
