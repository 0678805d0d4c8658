"""The order people mean when they number files: slice2 before slice10, and what numbers count.

Also says where numbers are missing, which often means that slices are, and which of two numbers
counts channels.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from ngcore.errors import InputError
from ngcore.sources.slices.signs import NO_SIGNS, count_missing, frequent_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePath

    from ngcore.sources.slices.signs import Signs

NaturalKey = tuple[tuple[list[str | int], ...], str]

_DIGITS = re.compile(r"[+-]*([0-9]+)")
_COUNTED = {
    "z": re.compile(
        r"(?:(?:^|[^A-Za-z])(?i:z|zslice|zstack|slice|section|sec|plane|layer|depth)"
        r"|(?<=[a-z0-9])(?:Z|Slice|Section|Plane))[ _=.-]*$"
    ),
    "c": re.compile(
        r"(?:(?:^|[^A-Za-z])(?i:c|ch|chan|channel|w|wavelength)|(?<=[a-z0-9])(?:C|Ch|Channel))"
        r"[ _=.-]*$"
    ),
    "t": re.compile(
        r"(?:(?:^|[^A-Za-z])(?i:t|tp|time|timepoint)|(?<=[a-z0-9])(?:T|Time))[ _=.-]*$"
    ),
}
"""What stands before a number that counts slices, channels or times."""


def natural_key(path: PurePath, signs: Signs = NO_SIGNS) -> NaturalKey:
    """Return a sort key that compares the numbers within names as numbers, letters without case.

    Parameters
    ----------
    path : path
    signs : Signs
        Of the numbers of all names that are compared.

    Examples
    --------
    >>> from pathlib import PurePath
    >>> names = ["slice10.png", "Slice2.png", "slice1.png"]
    >>> sorted(names, key=lambda name: natural_key(PurePath(name)))
    ['slice1.png', 'Slice2.png', 'slice10.png']
    """
    folders = [NO_SIGNS.split(part) for part in path.parts[:-1]]
    return (*folders, signs.split(path.stem), NO_SIGNS.split(path.suffix)), str(path)


class Numbering(NamedTuple):
    """How the names of slices count.

    Attributes
    ----------
    numbers : tuple of int
        Of each slice, not decreasing.
    step : int
        What the numbering means by one slice more: the most frequent step, if half of all are
        like it; else 0.
    """

    numbers: tuple[int, ...]
    step: int

    @property
    def missing(self) -> int:
        """How many slices are missing."""
        return count_missing(self.numbers, self.step)

    @property
    def _gaps(self) -> list[int]:
        return [after - before for before, after in pairwise(self.numbers)]

    def places(self) -> list[int] | None:
        """Return where each slice lies if the missing ones have room; None where steps differ."""
        if self.step == 0 or any(gap % self.step for gap in self._gaps):
            return None
        return [(number - self.numbers[0]) // self.step for number in self.numbers]

    def fault(self, paths: Sequence[PurePath], *, are_left_blank: bool = False) -> str | None:
        """Return a line about missing or repeated numbers, or None."""
        gaps = self._gaps
        if 0 in gaps:
            first, second = paths[gaps.index(0)], paths[gaps.index(0) + 1]
            return f"'{first.name}' and '{second.name}' have the same number; both are used"
        if self.missing == 0:
            return None
        place = next(index for index, gap in enumerate(gaps) if gap > self.step)
        what = (
            "they are left blank"
            if are_left_blank
            else "the slices that are there are stacked without a gap, --gaps blank leaves room "
            "for those that are missing"
        )
        return (
            f"slice numbers jump from {self.numbers[place]} to {self.numbers[place + 1]} "
            f"('{paths[place].name}', '{paths[place + 1].name}'): {self.missing} in all may be "
            f"missing; {what}"
        )


def numbering_of(paths: Sequence[PurePath], signs: Signs = NO_SIGNS) -> Numbering | None:
    """Return how names that differ in one number only count; None for others.

    Parameters
    ----------
    paths : sequence of path
        In natural order.
    signs : Signs
        Of their numbers.
    """
    if len(paths) < 3:
        return None
    columns = _varying([path.stem for path in paths], signs)
    if columns is None or len(columns) != 1:
        return None
    ((_, values),) = columns.items()
    numbers = [value for value in values if isinstance(value, int)]
    if len(numbers) != len(paths):
        return None
    return Numbering(tuple(numbers), frequent_step(numbers))


class Grid(NamedTuple):
    """Slices whose names count two things.

    Attributes
    ----------
    channels : tuple of tuple of Path
        The slices of each channel, or time, in their order.
    note : str or None
        What a user should know.
    """

    channels: tuple[tuple[Path, ...], ...]
    note: str | None = None


def part_by_channel(paths: Sequence[Path], signs: Signs = NO_SIGNS) -> Grid:
    """Part slices by the channels that their names number: ``img_Z003_C01.tif``.

    Parameters
    ----------
    paths : sequence of Path
        In natural order.
    signs : Signs
        Of their numbers.

    Raises
    ------
    InputError
        A slice of a channel is missing.
    """
    alone = Grid((tuple(paths),))
    columns = _varying([path.stem for path in paths], signs) if len(paths) > 1 else None
    if not columns:
        return alone
    parts = _DIGITS.split(paths[0].stem)
    labels = {column: _counted(parts, column) for column in columns}
    places = list(zip(*columns.values(), strict=True))
    counts = [len({*values}) for values in columns.values()]
    is_grid = len(set(places)) == len(places) == math.prod(counts)
    inner = [column for column, label in labels.items() if label in ("c", "t")]
    are_numbers = all(isinstance(value, int) for place in places for value in place)
    if len(columns) == 2 and len(inner) == 1 and are_numbers:
        (outer,) = columns.keys() - set(inner)
        if labels[outer] == "z" or is_grid:
            return _parted(paths, columns[outer], columns[inner[0]])
    if (len(columns) > 1 and is_grid) or [*labels.values()] == ["c"]:
        what = " x ".join(map(str, counts))
        return alone._replace(
            note=f"names such as '{paths[0].name}' count more than slices ({what}), but all "
            f"{len(paths)} are taken as slices: pass a pattern for those of one volume, or "
            "name them with Z and C numbers if they are channels"
        )
    return alone


def _parted(paths: Sequence[Path], outer: Sequence[str | int], inner: Sequence[str | int]) -> Grid:
    by_place = {(z, c): path for path, z, c in zip(paths, outer, inner, strict=True)}
    slices, channels = sorted({*outer}, key=str), sorted({*inner}, key=str)
    slices.sort(key=int)
    channels.sort(key=int)
    for channel in channels:
        for number in slices:
            if (number, channel) not in by_place:
                raise InputError(
                    f"slice {number} of channel {channel} is missing, though names such as "
                    f"'{paths[0].name}' number both; add it, or pass a pattern for one channel"
                )
    return Grid(
        tuple(tuple(by_place[number, channel] for number in slices) for channel in channels)
    )


def _counted(parts: Sequence[str], column: int) -> str:
    before = parts[column - 1] if column % 2 else ""
    return next((letter for letter, pattern in _COUNTED.items() if pattern.search(before)), "")


def _varying(names: Sequence[str], signs: Signs) -> dict[int, tuple[str | int, ...]] | None:
    """Return the parts of names that differ, by their place; None where names are built unlike."""
    split = [signs.split(name) for name in names]
    if len({len(parts) for parts in split}) != 1:
        return None
    return {
        place: column
        for place, column in enumerate(zip(*split, strict=True))
        if len({*column}) > 1
    }
