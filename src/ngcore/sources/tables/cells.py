"""What the cells of a column hold: found by looking at all of them, not at the title."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.sources.tables.rows import is_whole, parse_colour
from ngcore.volume.segment_colours import parse_hex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ngcore.volume.segment_colours import Colour

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_TRIPLET = re.compile(
    r"(?:rgba?)?\s*[\[(]?\s*([0-9.]+)\s*[/,; ]\s*([0-9.]+)\s*[/,; ]\s*([0-9.]+)"
    r"(?:\s*[/,; ]\s*[0-9.]+)?\s*[\])]?"
)
_HEX = re.compile(r"#?[0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?")
_SHORT_HEX = re.compile(r"[0-9a-fA-F]{1,5}")
_SPEAKS_OF_COLOURS = re.compile(r"colou?r|rgb|hex")
_SPEAKS_OF_OTHERS = re.compile(
    r"pos|xyz|coord|cent(er|re|roid)|loc|voxel|size|shape|box|date|time|created|modified|updated"
)
_MISSING = frozenset(["", "n/a", "na", "nan", "none", "null", "<na>"])
_FLAGS = ({"true", "false"}, {"t", "f"}, {"yes", "no"}, {"y", "n"})
_LONGEST_TAG = 64
_MANY = 20


def is_missing(cell: str) -> bool:
    """Whether a cell holds nothing, as pandas, R and BIDS write that."""
    return cell.casefold() in _MISSING


def are_mostly(cells: Sequence[str], belongs: Callable[[str], object]) -> bool:
    """Whether most of the cells that hold something belong: the others are then mistakes."""
    filled = [cell for cell in cells if not is_missing(cell)]
    return bool(filled) and 2 * sum(map(bool, map(belongs, filled))) >= len(filled)


def is_number(cell: str) -> bool:
    """Whether a cell holds a finite decimal number."""
    return _NUMBER.fullmatch(cell) is not None


def number_of(cell: str) -> int | float | str:
    """Return the number of a cell, as text where float32 would lose digits of a whole one."""
    if is_whole(cell):
        value = int(cell.partition(".")[0])
        return value if -(2**31) <= value < 2**32 else cell
    value_of_cell = float(cell)
    return value_of_cell if abs(value_of_cell) < 3.4e38 else cell


def are_numbers(cells: Sequence[str]) -> bool:
    """Whether every cell that holds something holds a number."""
    filled = [cell for cell in cells if not is_missing(cell)]
    return bool(filled) and all(map(is_number, filled))


def are_flags(cells: Sequence[str]) -> bool:
    """Whether the cells are true and false, however that is written."""
    found = {cell.casefold() for cell in cells if not is_missing(cell)}
    return bool(found) and any(found <= pair for pair in _FLAGS)


def is_true(cell: str) -> bool:
    """Whether a cell of flags says true."""
    return cell.casefold() in ("true", "t", "yes", "y")


def are_tags(cells: Sequence[str]) -> bool:
    """Whether the cells are words that labels share, rather than a text for each label."""
    filled = [cell for cell in cells if not is_missing(cell)]
    if any(len(cell) > _LONGEST_TAG or cell[0] in "[({" for cell in filled):
        return False
    return len(filled) < _MANY or 5 * len(set(filled)) <= 4 * len(filled)


def are_units(channels: Sequence[Sequence[str]]) -> bool:
    """Whether the channels of colours go from 0 to 1, not from 0 to 255."""
    values = [float(cell) for cells in channels for cell in cells if is_number(cell)]
    return bool(values) and max(values) <= 1 and any(values)


def are_colours(cells: Sequence[str], title: str) -> bool:
    """Whether the cells are colours in one column.

    ``#ff8000`` and ``[255, 128, 0]`` are colours under any title, if all of them are; ``ff8000``
    and ``255 128 0`` if the title speaks of colours. Places and dates look like them too.
    """
    if _SPEAKS_OF_COLOURS.search(title.casefold()):
        return are_mostly(cells, lambda cell: _HEX.fullmatch(cell) or _TRIPLET.fullmatch(cell))
    if _SPEAKS_OF_OTHERS.search(title.casefold()):
        return False
    filled = [cell for cell in cells if not is_missing(cell)]
    return bool(filled) and all(map(_is_surely_a_colour, filled))


def _is_surely_a_colour(cell: str) -> bool:
    if cell.startswith("#"):
        return _HEX.fullmatch(cell) is not None
    match = _TRIPLET.fullmatch(cell)
    if match is None or (cell[0].isdigit() and cell.count("/") != 2):
        return False
    return all(is_number(part) and float(part) <= 255 for part in match.groups())


def colour_parser(cells: Sequence[str]) -> Callable[[str], Colour]:
    """Return what reads the colours of a column."""
    triplets = [match.groups() for match in map(_TRIPLET.fullmatch, cells) if match]
    unit = are_units(triplets)

    def parse(cell: str) -> Colour:
        if match := _TRIPLET.fullmatch(cell):
            return parse_colour(match.groups(), unit=unit)
        # spreadsheets take 019399 for a number and write 19399
        text = cell.zfill(6) if _SHORT_HEX.fullmatch(cell) else cell
        colour = parse_hex(text[:7] if text.startswith("#") else text[:6])
        if colour is None or not _HEX.fullmatch(text):
            raise FormatError(f"the colour {cell!r} must be written as #ff8000 or 255/128/0")
        return colour

    return parse
