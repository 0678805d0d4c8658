"""Which executor is meant by what a user asks for."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from ngcore.errors import InputError
from ngcore.work.base import Executor

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


def executor_of(
    asked: object, processes: Callable[[], tuple[int, int]], *, threads: int = 1
) -> AbstractContextManager[Executor]:
    """Return what carries out work items.

    Parameters
    ----------
    asked : str, distributed.Client or Executor
        ``local`` starts processes here; an address connects to a scheduler. A client and an
        executor stay open.
    processes : callable
        How many to start here, and how many threads each item has in them.
    threads : int
        How many threads an item has elsewhere.

    Raises
    ------
    InputError
        If it is none of these, or nobody answers.
    MissingExtraError
        If Dask is not installed.
    """
    if isinstance(asked, Executor):
        return nullcontext(asked)
    from ngcore.work.dask import ConnectedDask, DaskExecutor, LocalDask, require_dask

    require_dask()
    if asked == "local":
        count, threads = processes()
        return LocalDask(count, threads=threads)
    if isinstance(asked, str):
        return ConnectedDask(asked, threads=threads)
    if not DaskExecutor.is_client(asked):
        raise InputError(
            "executor must be 'local', the address of a Dask scheduler or a distributed.Client, "
            f"got {type(asked).__name__}"
        )
    return nullcontext(DaskExecutor(asked, threads=threads))
