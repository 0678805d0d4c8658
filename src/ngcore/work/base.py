"""Who carries out work items: a function for each, anywhere, in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import TracebackType
    from typing import Any, Self

Given = TypeVar("Given")
Result = TypeVar("Result")


class Executor(ABC):
    """Carries out independent work items; a context manager.

    Attributes
    ----------
    is_local : bool
        All of it happens on this machine.
    process_count : int
        How many processes there are, where that is fixed.
    items_per_process : int
        How many items share the memory of one process.
    threads_per_item : int
        How many threads an item may use.
    memory_per_process : int or None, in bytes
        What a process can have; None if that is not known.
    """

    is_local: bool = True
    process_count: int = 1
    items_per_process: int = 1
    threads_per_item: int = 1
    memory_per_process: int | None = None

    @abstractmethod
    def everywhere(self, function: Callable[..., Result], *arguments: Any) -> dict[str, Result]:
        """Call a function once in every process that is there; return what it gave, by worker.

        Raises
        ------
        Exception
            What the function raised in any of them.
        """

    @abstractmethod
    def results(
        self, function: Callable[[Given], Result], items: Iterable[Given]
    ) -> Generator[Result]:
        """Yield the result of a function for every item, as they come.

        Items are taken a few ahead of the work, so there may be any number of them.

        Raises
        ------
        Exception
            What the function raised; the items that were begun may run on until `stop`.
        """

    def stop(self) -> None:  # noqa: B027 - where nothing runs by itself, nothing is to be stopped
        """Return when no item is being carried out any more, or after a while."""

    def close(self) -> None:  # noqa: B027 - as above
        """Let go of processes and connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
