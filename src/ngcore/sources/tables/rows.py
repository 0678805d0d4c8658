"""One label of a label table, checked, and the parts that tables of every format share."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.precomputed.names import MAX_SEGMENT_ID
from ngcore.precomputed.segment_properties import problem_of_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ngcore.volume.segment_colours import Colour

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_WHOLE_AS_FLOAT = re.compile(r"([+-]?[0-9]{1,15})\.0*")


@dataclass(frozen=True, slots=True)
class Label:
    """What a table says about one label.

    Attributes
    ----------
    id : int, 0 to 2^64 - 1
    name : str
    colour : (red, green, blue), 0 to 255 each, or None
    description : str
    tags : tuple of str
        As Neuroglancer takes them: no spaces, no leading ``#``.
    values : tuple of (str, int or float or str)
        Further columns of the table: their titles, and what they hold for this label.

    Raises
    ------
    FormatError
        If the id or a tag can't be used.
    """

    id: int
    name: str
    colour: Colour | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    values: tuple[tuple[str, int | float | str], ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.id <= MAX_SEGMENT_ID:
            raise FormatError(f"the id {self.id} is outside of 0 to 2^64 - 1")
        for tag in self.tags:
            if (problem := problem_of_tag(tag)) is not None:
                raise FormatError(problem)


Row = tuple[str, Label]
"""Where a label stands in the file, such as "line 8", and the label."""


def line_place(number: int) -> str:
    """Return how messages name a line, counted from 1."""
    return f"line {number}"


@contextmanager
def at_place(name: str, place: str) -> Iterator[None]:
    """Put the file and the place before the message of a FormatError of the block."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{name}, {place}: {error}") from error


def is_whole(text: str) -> bool:
    """Whether a cell holds a whole number, as pandas writes one beside gaps (``17.0``) too."""
    return bool(_WHOLE.fullmatch(text) or _WHOLE_AS_FLOAT.fullmatch(text))


def parse_id(text: str, what: str = "id") -> int:
    """Return the id, or `what` it is, that a cell holds; FormatError where it is not whole."""
    if match := _WHOLE_AS_FLOAT.fullmatch(text):
        text = match[1]
    if not _WHOLE.fullmatch(text):
        raise FormatError(f"the {what} {text!r} is not a whole number")
    return int(text)


def tag_of(text: str) -> str:
    """Return a text as Neuroglancer takes tags: its words joined by underscores."""
    return "_".join(text.split())


def parse_colour(cells: Sequence[str], *, unit: bool = False) -> Colour:
    """Return the colour of three cells.

    Parameters
    ----------
    cells : three str
    unit : bool
        They are numbers from 0 to 1, not whole numbers from 0 to 255.

    Raises
    ------
    FormatError
        If one is not one of those.
    """
    low, high = (0, 1) if unit else (0, 255)
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        values = []
    is_fine = len(values) == 3 and all(low <= value <= high for value in values)
    if not is_fine or not (unit or all(is_whole(cell) for cell in cells)):
        raise FormatError(
            f"the colour {' '.join(cells)!r} must be three numbers from {low} to {high}"
        )
    red, green, blue = (round(value * 255) if unit else int(value) for value in values)
    return red, green, blue
