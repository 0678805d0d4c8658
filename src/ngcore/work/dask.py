"""Work items on the workers of a Dask scheduler.

Dask gives an item whose worker is lost to another one; a few times only
(`distributed.scheduler.allowed-failures`), since the item may be what kills them.

https://distributed.dask.org/en/stable/resilience.html
"""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
import warnings
from contextlib import contextmanager, suppress
from importlib import metadata
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ngcore.errors import InputError, MissingExtraError, StorageError
from ngcore.work.base import Executor, Given, Result
from ngcore.work.dask_attempt import Failure, attempt, running_items
from ngcore.work.dask_workers import (
    LOOK_SECONDS,
    Presence,
    Room,
    describe_workers,
    scheduler_gone,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from distributed import Client, Future, LocalCluster

logger = logging.getLogger(__name__)

DISTRIBUTION = "ngcore-neuroglancer"

_ADDRESS = re.compile(r"([a-z]+://)?[^/]+:\d+/?|inproc://.+", re.IGNORECASE)

_CONNECT_SECONDS = 10
_STOP_SECONDS = 30

_OWN_LIMIT = 0.6
"""The share of its memory limit that a worker is filled to: Dask pauses it at 0.8, kills at 0.95,
and the interpreter needs some."""


class DaskExecutor(Executor):
    """Carries out items on the workers of a scheduler.

    Parameters
    ----------
    client : distributed.Client
        Connected; it stays so.
    threads : int
        How many threads an item may use, beside the others of its worker.
    """

    is_local = False

    def __init__(self, client: Client, *, threads: int = 1) -> None:
        self._client = client
        self.address = str(client.scheduler.address)
        self.threads_per_item = threads
        self._check_versions()
        workers = client.run_on_scheduler(describe_workers)
        if not workers:
            logger.warning("the Dask scheduler at %s has no workers yet", self.address)
        self.items_per_process = max((nthreads for nthreads, _ in workers), default=1)
        limits = [int(limit * _OWN_LIMIT) for _, limit in workers if limit]
        self.memory_per_process = min(limits, default=None)

    @staticmethod
    def is_client(candidate: object) -> bool:
        """Whether something is a client that items can be given to."""
        from distributed import Client

        return isinstance(candidate, Client) and not candidate.asynchronous

    def _check_versions(self) -> None:
        """Raise InputError where scheduler or workers lack this package, or have another one.

        The scheduler unpickles work items too.
        """
        here = metadata.version(DISTRIBUTION)
        found = self._run(metadata.version, DISTRIBUTION)
        places = {f"Dask worker {worker}": there for worker, there in found.items()}
        try:
            scheduler = self._client.run_on_scheduler(metadata.version, DISTRIBUTION)
        except Exception as error:  # what the scheduler raised, whatever that is
            scheduler = error
        for place, there in {**places, f"Dask scheduler {self.address}": scheduler}.items():
            if isinstance(there, BaseException):
                raise InputError(
                    f"the {place} has no {DISTRIBUTION}; install version {here} in its environment"
                )
            if there != here:
                raise InputError(
                    f"the {place} has {DISTRIBUTION} {there}, but this process has {here}; "
                    "install the same version everywhere"
                )

    def _run(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Call a function in every worker; return what it gave or raised, by worker."""
        try:
            found: dict[str, Any] = self._client.run(function, *arguments, on_error="return")
        except OSError as error:
            raise scheduler_gone(self.address) from error
        return found

    def everywhere(self, function: Callable[..., Result], *arguments: Any) -> dict[str, Result]:
        """Call a function in every worker; see `Executor.everywhere`."""
        found = self._run(attempt, function, arguments)
        results = {}
        for worker, outcome in found.items():
            if isinstance(outcome, Failure):
                raise outcome.error
            if isinstance(outcome, BaseException):
                raise StorageError(f"the Dask worker {worker} fails: {_told(outcome)}")
            results[worker] = outcome.value
        return results

    def results(
        self, function: Callable[[Given], Result], items: Iterable[Given]
    ) -> Generator[Result]:
        """Yield results as they come; see `Executor.results`."""
        token = uuid4().hex
        numbered = enumerate(iter(items))
        waiting: dict[str, Future] = {}
        room = Room(self._client)
        presence = Presence(self._client, is_local=self.is_local)

        def submit(count: int) -> list[Future]:
            futures = [
                self._client.submit(
                    attempt, function, (item,), key=f"ngcore-{token}-{number}", pure=False
                )
                for number, item in islice(numbered, count)
            ]
            waiting.update({future.key: future for future in futures})
            return futures

        try:
            submit(room.items())
            for future, add in self._completed(waiting, presence):
                outcome = self._outcome(future, presence)
                del waiting[future.key]
                future.release()
                for more in submit(max(1, room.items() - len(waiting))):
                    add(more)
                yield outcome
        finally:
            if waiting:
                with suppress(Exception):  # whatever ended this is what counts
                    self._client.cancel(list(waiting.values()), force=True)

    def _completed(
        self, waiting: Mapping[str, Future], presence: Presence
    ) -> Iterator[tuple[Future, Callable[[Future], None]]]:
        """Yield futures as they end, and what adds another to those that are waited for."""
        from distributed import as_completed

        while waiting:
            completed = as_completed(
                list(waiting.values()),
                loop=self._client.loop,
                raise_errors=False,
                timeout=LOOK_SECONDS,
            )
            while not completed.is_empty():
                try:
                    future = next(completed)
                except TimeoutError:
                    break
                yield future, completed.add
            presence.look()

    def _outcome(self, future: Future, presence: Presence) -> Any:
        while True:
            if self._client.status != "running":
                raise scheduler_gone(self.address)
            if future.status == "cancelled":
                raise StorageError(
                    f"the Dask scheduler at {self.address} dropped the work; see its log"
                )
            if future.status == "error":
                raise StorageError(_told_of_failure(future.exception()))
            try:
                outcome = future.result(timeout=LOOK_SECONDS)
                break
            except TimeoutError:
                # A worker may have frozen with the result that it has: another makes it again.
                presence.look()
        if isinstance(outcome, Failure):
            if isinstance(outcome.error, StorageError) and not self.is_local:
                raise StorageError(f"{outcome.error} (on {outcome.where})") from None
            raise outcome.error
        return outcome.value

    def stop(self) -> None:
        """Wait until the workers have noticed that nobody wants their work any more."""
        deadline = time.monotonic() + _STOP_SECONDS
        with suppress(Exception):  # a scheduler that is gone can't be asked
            while any(self._client.run(running_items, on_error="ignore").values()):
                if time.monotonic() > deadline:
                    logger.warning(
                        "workers of the Dask scheduler at %s are still busy; wait for them "
                        "before the folder is used again",
                        self.address,
                    )
                    return
                time.sleep(0.2)


class ConnectedDask(DaskExecutor):
    """Workers of a scheduler at an address.

    Parameters
    ----------
    address : str
        Such as ``tcp://scheduler.example:8786``.
    threads : int
        See `DaskExecutor`.

    Raises
    ------
    InputError
        If nobody answers there.
    MissingExtraError
        If Dask is not installed.
    """

    def __init__(self, address: str, *, threads: int = 1) -> None:
        require_dask()
        from distributed import Client

        if _ADDRESS.fullmatch(address) is None:
            raise InputError(
                f"--dask must be local or the address of a Dask scheduler such as "
                f"tcp://scheduler.example:8786, got {address!r}"
            )
        with _one_line_warnings(address):
            try:
                client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
            except Exception as error:  # each kind of address has errors of its own
                raise InputError(
                    f"no Dask scheduler answers at {address} ({_told(error)}); "
                    "check the address, or pass --dask local"
                ) from error
        # What Dask logs of a lost connection, ngcore says in its own words.
        self._log = logging.getLogger("distributed.client")
        self._log_level = self._log.level
        self._log.setLevel(logging.CRITICAL)
        try:
            super().__init__(client, threads=threads)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection; the scheduler and its workers stay."""
        with suppress(Exception):
            self._client.close(timeout=_CONNECT_SECONDS)
        self._log.setLevel(self._log_level)


class LocalDask(DaskExecutor):
    """A scheduler and worker processes of its own, on this machine; closed with it.

    Parameters
    ----------
    processes : int
        How many workers, each with one item at a time.
    threads : int
        How many threads an item may use.

    Raises
    ------
    MissingExtraError
        If Dask is not installed.
    """

    is_local = True

    def __init__(self, processes: int, *, threads: int = 1) -> None:
        require_dask()
        from distributed import Client
        from distributed import LocalCluster as Cluster

        self.process_count = processes
        # Memory is bounded by ngcore itself: a limit would only get workers killed.
        with _deaf_to_interrupts():
            self._cluster: LocalCluster = Cluster(
                n_workers=processes,
                threads_per_worker=1,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
        try:
            client = Client(self._cluster, set_as_default=False)
            super().__init__(client, threads=threads)
        except BaseException:
            self._cluster.close(timeout=_STOP_SECONDS)
            raise

    def stop(self) -> None:
        """End the workers, whatever they do."""
        self.close()

    def close(self) -> None:
        """End the workers, the scheduler and the connection to it."""
        with suppress(Exception):
            self._client.close(timeout=_CONNECT_SECONDS)
        with suppress(Exception):
            self._cluster.close(timeout=_STOP_SECONDS)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are started meanwhile ignore Ctrl-C, which a terminal sends to all.

    The process that orders them ends them; each would tell of it in its own traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def require_dask() -> None:
    """Raise `MissingExtraError` where Dask is not installed."""
    try:
        import distributed  # noqa: F401 - it is there
    except ImportError as error:
        raise MissingExtraError(
            f"--dask needs Dask; pip install '{DISTRIBUTION}[dask]'"
        ) from error


def _told_of_failure(error: BaseException | None) -> str:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        count = error.allowed_failures + 1
        last = getattr(error.last_worker, "address", error.last_worker)
        return (
            f"{count} Dask workers died one after the other on the same work item, the last of "
            f"them at {last}; they may be short of memory: lower --memory, and see their logs"
        )
    return f"Dask gave up on a work item: {_told(error)}"


@contextmanager
def _one_line_warnings(address: str) -> Iterator[None]:
    """Turn what `distributed` warns of, such as a table of versions that differ, into lines."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if not issubclass(warning.category, DeprecationWarning | ResourceWarning):
            logger.warning("the Dask scheduler at %s: %s", address, _told_warning(warning))


def _told_warning(warning: warnings.WarningMessage) -> str:
    lines = [line.strip(" |+-=") for line in str(warning.message).splitlines()]
    return "; ".join(" ".join(line.split()) for line in lines if line)


def _told(error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
