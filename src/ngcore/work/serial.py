"""Work items one after the other, in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.work.base import Executor, Given, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any


class SerialExecutor(Executor):
    """Carries out each item when the one before is done.

    Parameters
    ----------
    threads : int
        How many threads an item may use.
    """

    def __init__(self, threads: int = 1) -> None:
        self.threads_per_item = threads

    def everywhere(self, function: Callable[..., Result], *arguments: Any) -> dict[str, Result]:
        """Call a function here; see `Executor.everywhere`."""
        return {"this process": function(*arguments)}

    def results(
        self, function: Callable[[Given], Result], items: Iterable[Given]
    ) -> Generator[Result]:
        """Yield the results in the order of the items; see `Executor.results`."""
        for item in items:
            yield function(item)
