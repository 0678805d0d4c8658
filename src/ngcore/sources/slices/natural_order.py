"""The order people mean when they number files: slice2 before slice10.

Also says where numbers are missing, which often means that slices are.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

NaturalKey = tuple[tuple[list[str | int], ...], str]

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(path: PurePath) -> NaturalKey:
    """Return a sort key that compares the numbers within names as numbers, letters without case.

    Examples
    --------
    >>> from pathlib import PurePath
    >>> names = ["slice10.png", "Slice2.png", "slice1.png"]
    >>> sorted(names, key=lambda name: natural_key(PurePath(name)))
    ['slice1.png', 'Slice2.png', 'slice10.png']
    """
    parts = (*path.parts[:-1], path.stem, path.suffix)
    return tuple(_split_numbers(part) for part in parts), str(path)


def describe_numbering_faults(paths: Sequence[PurePath]) -> str | None:
    """Return a line about missing or repeated numbers, or None.

    Looked at are names that differ in one number only. The most frequent step between neighbours,
    if it makes up more than half of all, is taken as what the numbering means.

    Parameters
    ----------
    paths : sequence of path
        In natural order.
    """
    numbers = _varying_numbers([path.stem for path in paths])
    if numbers is None:
        return None
    steps = [after - before for before, after in pairwise(numbers)]
    if 0 in steps:
        first, second = paths[steps.index(0)], paths[steps.index(0) + 1]
        return f"'{first.name}' and '{second.name}' have the same number; both are taken"
    step, count = Counter(steps).most_common(1)[0]
    missing = sum(gap // step - 1 for gap in steps)
    if missing == 0 or 2 * count <= len(steps):
        return None
    place = next(index for index, gap in enumerate(steps) if gap > step)
    return (
        f"slice numbers jump from {numbers[place]} to {numbers[place + 1]} "
        f"('{paths[place].name}', '{paths[place + 1].name}'): {missing} in all may be missing; "
        f"the slices that are there are stacked without a gap"
    )


def _split_numbers(text: str) -> list[str | int]:
    """Return text and numbers in turns, text first, so that keys compare place by place."""
    parts = _DIGITS.split(text.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def _varying_numbers(names: Sequence[str]) -> list[int] | None:
    """Return the numbers of names that differ in one number only, else None."""
    if len(names) < 3:
        return None
    split = [_split_numbers(name) for name in names]
    if len({len(parts) for parts in split}) != 1:
        return None
    varying = [column for column in zip(*split, strict=True) if len({*column}) > 1]
    if len(varying) != 1:
        return None
    numbers = [value for value in varying[0] if isinstance(value, int)]
    return numbers if len(numbers) == len(names) else None
