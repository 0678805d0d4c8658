"""What a Dask worker does with an item: it attempts it, and tells what came of it.

What an item raises is its result here: Dask would log a traceback for each, and not every
exception survives the journey.
"""

from __future__ import annotations

import pickle
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ngcore.errors import NgcoreError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Success:
    """What an item gave."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """What an item raised, and on which worker."""

    error: Exception
    where: str


_running = 0
_running_lock = threading.Lock()


def attempt(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Success | Failure:
    """Call a function in a worker, and return its result or what it raised."""
    global _running
    with _running_lock:
        _running += 1
    try:
        return Success(function(*arguments))
    except Exception as error:  # it travels back, and is raised there
        return Failure(_portable(error), _this_worker())
    finally:
        with _running_lock:
            _running -= 1


def running_items() -> int:
    """Return how many items this worker carries out now."""
    return _running


def _this_worker() -> str:
    from distributed import get_worker

    try:
        return f"Dask worker {get_worker().address} of {socket.gethostname()}"
    except ValueError:
        return f"a Dask worker of {socket.gethostname()}"


def _portable(error: Exception) -> Exception:
    """Return an exception that can be pickled: itself, or one that tells of it."""
    if isinstance(error, NgcoreError | MemoryError):
        with suppress(Exception):
            return type(error)(*pickle.loads(pickle.dumps(error.args)))
    return RuntimeError(f"{type(error).__name__}: {error}")
