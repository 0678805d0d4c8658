"""Which workers a Dask scheduler has: they come and go while the work goes on."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from ngcore.errors import StorageError

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5
GONE_SECONDS = 60
"""After which workers of this machine that are all gone don't come back: Dask does not start one
again that died while it was being started."""

_ITEMS_PER_THREAD = 2
"""One that runs, and one that waits with it, so that no worker idles while results travel."""


def describe_workers(dask_scheduler: Any) -> list[tuple[int, int]]:
    """Return threads and memory limit of each worker; runs in the scheduler."""
    return [
        (worker.nthreads, int(worker.memory_limit or 0))
        for worker in dask_scheduler.workers.values()
    ]


class Presence:
    """Whether there are workers at all, looked at now and then while results are waited for.

    Those of a cluster may come when its queue lets them; nobody starts others on this machine.
    """

    def __init__(self, client: Client, *, is_local: bool) -> None:
        self._client = client
        self._is_local = is_local
        self._gone_since: float | None = None

    def look(self) -> None:
        """Tell once that workers are gone; raise StorageError where they won't come back."""
        if self._client.nthreads():
            self._gone_since = None
            return
        now = time.monotonic()
        if self._gone_since is None:
            self._gone_since = now
            if not self._is_local:
                logger.warning(
                    "the Dask scheduler at %s has no workers left; waiting for some",
                    self._client.scheduler.address,
                )
        if self._is_local and now - self._gone_since >= GONE_SECONDS:
            raise StorageError(
                "all Dask workers of this machine died, and were not started again; they may be "
                "short of memory: lower --memory or --workers"
            )


class Room:
    """How many items may be under way; workers come and go, so it is looked up now and then."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._looked = 0.0
        self._items = 1

    def items(self) -> int:
        """Return how many items keep every worker busy."""
        now = time.monotonic()
        if now - self._looked > LOOK_SECONDS or not self._looked:
            self._looked = now
            threads = sum(self._client.nthreads().values())
            self._items = _ITEMS_PER_THREAD * max(1, threads)
        return self._items
