"""Signs of numbers in names: whether the minus in ``z-2`` is one, or a hyphen as in ``scan-2``.

Each name alone could be either, so that names of one make are looked at together. A character
before a number can be its sign only where other names have none there, or a plus. It is taken for
one where the numbers then count as evenly as they do without, or more so.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import PurePath

_DIGITS = re.compile(r"([0-9]+)")
_Make = tuple[str, ...]


class _Column(NamedTuple):
    """Where the text before a number ends, and whether a minus behind that end is its sign."""

    end: int
    is_signed: bool


class Signs:
    """Which numbers of some names have signs.

    Parameters
    ----------
    paths : iterable of path
        All names that are to be compared with each other.
    """

    def __init__(self, paths: Iterable[PurePath] = ()) -> None:
        makes: dict[_Make, list[tuple[PurePath, list[str]]]] = defaultdict(list)
        for path in paths:
            parts = pieces(path.stem)
            makes[_make(parts)].append((path.parent, parts))
        self._makes: dict[_Make, dict[int, _Column]] = {}
        for make, names in makes.items():
            if columns := dict(_signed(names)):
                self._makes[make] = columns

    def split(self, text: str) -> list[str | int]:
        """Return text and numbers in turns, text first, so that keys compare place by place."""
        parts = pieces(text)
        found = [int(part) if index % 2 else part for index, part in enumerate(parts)]
        for place, column in self._columns(parts).items():
            before = parts[place - 1]
            found[place - 1] = before[: column.end]
            if column.is_signed and before.endswith("-", column.end):
                found[place] = -int(parts[place])
        return found

    def note(self, paths: Sequence[PurePath]) -> str | None:
        """Return what a user should know of names in their order, or None."""
        for path in paths:
            parts = pieces(path.stem)
            for place, column in self._columns(parts).items():
                if parts[place - 1].endswith("-", column.end):
                    what = "a sign" if column.is_signed else "a hyphen"
                    return (
                        f"the minus in names such as '{path.name}' is taken for {what}: slices go "
                        f"from '{paths[0].name}' to '{paths[-1].name}'"
                    )
        return None

    def _columns(self, parts: Sequence[str]) -> Mapping[int, _Column]:
        return self._makes.get(_make(parts), {}) if self._makes else {}


NO_SIGNS = Signs()
"""Where every minus is a hyphen."""


def pieces(text: str) -> list[str]:
    """Return text and digits in turns, text first, letters without case."""
    return _DIGITS.split(text.casefold())


def frequent_step(numbers: Sequence[int]) -> int:
    """Return the most frequent step, if half of all are like it and it is above 0; else 0."""
    steps = [after - before for before, after in pairwise(numbers)]
    if not steps:
        return 0
    counts = Counter(steps)
    step = min(steps, key=lambda one: (-counts[one], one))
    return step if step > 0 and 2 * counts[step] >= len(steps) else 0


def count_missing(numbers: Sequence[int], step: int) -> int:
    """Return how many numbers a step of more than 0 has between those that are there."""
    if step == 0:
        return 0
    gaps = (after - before for before, after in pairwise(numbers))
    return sum(max(0, gap // step - 1) for gap in gaps)


def _make(parts: Sequence[str]) -> _Make:
    """Return what names have in common that differ in numbers and signs alone."""
    last = len(parts) - 1
    return tuple(
        part.rstrip("+-") if place < last else part
        for place, part in enumerate(parts)
        if place % 2 == 0
    )


def _signed(names: Sequence[tuple[PurePath, list[str]]]) -> Iterable[tuple[int, _Column]]:
    for place in range(1, len(names[0][1]), 2):
        texts = {parts[place - 1] for _, parts in names}
        shortest = min(texts, key=len)
        end = len(shortest) - (not all(text.startswith(shortest) for text in texts))
        if len(texts) > 1 and {text[end:] for text in texts} <= {"", "+", "-"}:
            signed = _unevenness(names, place, end, is_signed=True)
            yield place, _Column(end, signed <= _unevenness(names, place, end, is_signed=False))


def _unevenness(
    names: Sequence[tuple[PurePath, list[str]]], place: int, end: int, *, is_signed: bool
) -> tuple[int, int]:
    """Return how many numbers are missing or there twice, and the step from one to the next."""
    places, numbers = set(), set()
    for folder, parts in names:
        is_below = is_signed and parts[place - 1].endswith("-", end)
        number = -int(parts[place]) if is_below else int(parts[place])
        numbers.add(number)
        places.add((folder, *parts[: place - 1], number, *parts[place + 1 :]))
    ordered = sorted(numbers)
    step = frequent_step(ordered)
    missing = count_missing(ordered, step) if step or len(ordered) == 1 else len(ordered)
    return len(names) - len(places) + missing, step
