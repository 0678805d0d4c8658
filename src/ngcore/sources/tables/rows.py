"""One label of a label table, checked, and the parts that tables of every format share."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.precomputed.segment_properties import MAX_SEGMENT_ID, problem_of_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ngcore.volume.segment_colours import Colour

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Label:
    """What a table says of one label.

    Attributes
    ----------
    id : int, 0 to 2^64 - 1
    name : str
    colour : (red, green, blue), 0 to 255 each, or None
    description : str
    tags : tuple of str
        As Neuroglancer takes them: no spaces, no leading ``#``.

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

    def __post_init__(self) -> None:
        if not 0 <= self.id <= MAX_SEGMENT_ID:
            raise FormatError(f"the id {self.id} is outside of 0 to 2^64 - 1")
        for tag in self.tags:
            if (problem := problem_of_tag(tag)) is not None:
                raise FormatError(problem)


Row = tuple[int, Label]
"""A label, and the number of its line in the file, from 1."""


@contextmanager
def at_line(name: str, line: int) -> Iterator[None]:
    """Put the file and the line before the message of a FormatError of the block."""
    try:
        yield
    except FormatError as error:
        raise FormatError(f"{name}, line {line}: {error}") from error


def parse_id(text: str, what: str = "id") -> int:
    """Return the id, or `what` it is, that a cell holds; FormatError where it is not whole."""
    if not _WHOLE.fullmatch(text):
        raise FormatError(f"the {what} {text!r} is not a whole number")
    return int(text)


def parse_colour(cells: Sequence[str]) -> Colour:
    """Return the colour of three cells; FormatError where one is no whole number up to 255."""
    values = [int(cell) if _WHOLE.fullmatch(cell) else -1 for cell in cells]
    if not all(0 <= value <= 255 for value in values):
        raise FormatError(f"the colour {' '.join(cells)!r} must be three numbers from 0 to 255")
    red, green, blue = values
    return red, green, blue
