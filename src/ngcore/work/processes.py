"""Processes that call functions, for libraries that hold the GIL or keep one state per process.

`multiprocessing` would import the caller's main module again in each of them, which scripts must
be written for. These are plain Python processes: they take pickled calls from a pipe, and end when
it does.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, TypeVar

from ngcore.errors import StorageError
from ngcore.work.base import Executor, Given, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

T = TypeVar("T")

_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from ngcore.work.processes import serve; serve()"
)
_SIZE = struct.Struct("<Q")
_ONE_AT_A_TIME = threading.Lock()
"""Held by calls that are made in this process."""


class WorkerProcesses(Executor):
    """Some processes; a context manager. Each does one call at a time.

    With one worker, calls are made in this process, one after the other.

    Parameters
    ----------
    workers : int, optional
        How many; default as many as there are cores. They are started when they are needed.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1
        self.process_count = self.workers
        self._lock = threading.Lock()
        self._idle: queue.LifoQueue[subprocess.Popen[bytes] | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)
        self._started: list[subprocess.Popen[bytes]] = []
        self._is_killed = False

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function of a module in one of the processes, and return what it returns.

        Safe to call from several threads. Waits while all processes are busy.

        Raises
        ------
        Exception
            What the function raises.
        StorageError
            The process was killed.
        """
        if self.workers == 1:
            with _ONE_AT_A_TIME:
                return function(*args)
        process = self._idle.get() or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _send(process.stdin, (function, args))
            is_sound, result = _receive(process.stdout)
        except (OSError, EOFError) as error:
            raise StorageError(
                f"a worker process was killed ({_ending(process)}); if memory is short, pass "
                "fewer --workers"
            ) from error
        self._idle.put(process)
        if not is_sound:
            raise result
        value: T = result
        return value

    def everywhere(self, function: Callable[..., Result], *arguments: Any) -> dict[str, Result]:
        """Call a function here: all these processes see what this one does."""
        return {"this process": function(*arguments)}

    def results(
        self, function: Callable[[Given], Result], items: Iterable[Given]
    ) -> Generator[Result]:
        """Yield results as they come; after an error all processes end. See `Executor.results`."""
        if self.workers == 1:
            for item in items:
                yield self.call(function, item)
            return
        from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

        left = iter(items)
        with ThreadPoolExecutor(self.workers, "ngcore-processes") as pool:
            try:
                waiting: set[Future[Result]] = set()
                while True:
                    for item in islice(left, 2 * self.workers - len(waiting)):
                        waiting.add(pool.submit(self.call, function, item))
                    if not waiting:
                        return
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            except BaseException:
                for future in waiting:
                    future.cancel()
                self.kill()
                raise

    def stop(self) -> None:
        """End all processes."""
        self.kill()

    def close(self) -> None:
        """End all processes, and wait until they are gone."""
        self.kill()
        for process in self._started:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with suppress(OSError):  # what it did not take any more
                    pipe.close()

    def kill(self) -> None:
        """End all processes; calls that go on raise an error."""
        with self._lock:
            self._is_killed = True
            for process in self._started:
                process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with self._lock:
            self._started.append(process)
            if self._is_killed:
                process.kill()
        assert process.stdin is not None
        with suppress(OSError):  # the call will find that it is gone
            pickle.dump(sys.path, process.stdin)
        return process


def serve() -> None:
    """Take calls from standard input, and send to standard output what they return."""
    # Ctrl-C reaches every process of a terminal; the one that started this one sees to the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    calls, results = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no result
    while True:
        try:
            function, args = _receive(calls)
        except EOFError:
            return
        try:
            answer = (True, function(*args))
        except Exception as error:  # whatever it is, it is raised where the call was made
            answer = (False, error)
        try:
            _send(results, answer)
        except BrokenPipeError:  # nobody waits for it any more
            os._exit(1)


def _send(pipe: IO[bytes], value: object) -> None:
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_SIZE.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    (size,) = _SIZE.unpack(_exactly(pipe, _SIZE.size))
    return pickle.loads(_exactly(pipe, size))


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _ending(process: subprocess.Popen[bytes]) -> str:
    status = process.wait()
    return f"signal {-status}" if status < 0 else f"status {status}"
