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

FROZEN_SECONDS = 60
"""After which a worker that says nothing is given up, and its items go to others: it may be
stopped, or its machine be gone. Dask itself waits five minutes."""

_ITEMS_PER_THREAD = 2
"""One that runs, and one that waits with it, so that no worker idles while results travel."""


def describe_workers(dask_scheduler: Any) -> list[tuple[int, int]]:
    """Return threads and memory limit of each worker; runs in the scheduler."""
    return [
        (worker.nthreads, int(worker.memory_limit or 0))
        for worker in dask_scheduler.workers.values()
    ]


async def drop_silent_workers(seconds: float, dask_scheduler: Any = None) -> list[str]:
    """Give up workers that have said nothing for so long; runs in the scheduler."""
    now = time.time()
    silent = [
        address
        for address, worker in dask_scheduler.workers.items()
        if now - worker.last_seen > seconds
    ]
    for address in silent:
        await dask_scheduler.remove_worker(address, stimulus_id=f"ngcore-silent-{now}")
    return silent


def scheduler_gone(address: str) -> StorageError:
    """Return the error for a scheduler that has closed, or can't be reached any more."""
    return StorageError(f"the Dask scheduler at {address} is gone; start it again")


class Presence:
    """Whether there are workers at all, looked at now and then while results are waited for.

    Those of a cluster may come when its queue lets them; nobody starts others on this machine.
    """

    def __init__(self, client: Client, *, is_local: bool) -> None:
        self._client = client
        self._is_local = is_local
        self._gone_since: float | None = None

    def look(self) -> None:
        """Give up frozen workers; raise StorageError where there are none, or no scheduler."""
        address = self._client.scheduler.address
        try:
            silent = self._client.run_on_scheduler(drop_silent_workers, FROZEN_SECONDS)
        except (OSError, TimeoutError) as error:
            raise scheduler_gone(address) from error
        for address in silent:
            logger.warning(
                "the Dask worker %s has said nothing for %d s; others do its work",
                address,
                FROZEN_SECONDS,
            )
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
