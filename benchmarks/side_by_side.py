"""Two sides that do the same work in turn, and the row that says how they compare."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HEADER = (
    "| what | against | theirs, ms | ours, ms | ratio | asked | processor time, ms: theirs | ours "
    "| ratio | misses |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---|"
)


class Seconds(NamedTuple):
    """How long work took: on the clock, and of all processors together."""

    wall: float
    processor: float


class Ratio(NamedTuple):
    """One row: how many times as fast we are. `asked` is the least; 0 asks for nothing."""

    what: str
    against: str
    ours: Seconds
    theirs: Seconds
    wall: float
    processor: float
    asked: float

    @property
    def misses(self) -> bool:
        """Whether it is below what is asked."""
        return self.wall < self.asked

    def row(self) -> str:
        """Return the row of the table of `HEADER`."""
        asked = f"{self.asked:.3g}" if self.asked else ""
        return (
            f"| {self.what} | {self.against} | {1e3 * self.theirs.wall:.1f} "
            f"| {1e3 * self.ours.wall:.1f} | **{self.wall:.2f}** | {asked} "
            f"| {1e3 * self.theirs.processor:.1f} | {1e3 * self.ours.processor:.1f} "
            f"| {self.processor:.2f} | {'yes' if self.misses else ''} |"
        )


def timed(work: Callable[[], object]) -> Seconds:
    """Time a call in this process."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - start, time.process_time() - used)


def ratio_of(
    what: str, against: str, asked: float, pairs: Sequence[tuple[Seconds, Seconds]]
) -> Ratio:
    """Return the row of rounds, ours and theirs: medians of times, and of the rounds' ratios."""
    ours, theirs = (
        Seconds(*(statistics.median(times) for times in zip(*side, strict=True)))
        for side in zip(*pairs, strict=True)
    )
    wall, processor = (
        statistics.median(other[kind] / one[kind] for one, other in pairs) for kind in (0, 1)
    )
    return Ratio(what, against, ours, theirs, wall, processor, asked)


def compared(
    what: str,
    against: str,
    asked: float,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    rounds: int,
) -> Ratio:
    """Call both sides in turn, `rounds` times after once that does not count."""
    ours(), theirs()
    pairs = [(timed(ours), timed(theirs)) for _ in range(rounds)]
    return ratio_of(what, against, asked, pairs)
