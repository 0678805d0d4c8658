"""Label tables of columns: the `_dseg.tsv` of BIDS derivatives, and CSV.

https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html#common-image-derived-labels
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.sources.tables.rows import Label, at_line, parse_colour, parse_id
from ngcore.volume.segment_colours import parse_hex

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ngcore.sources.tables.rows import Row
    from ngcore.volume.segment_colours import Colour

_MEANINGS = {
    "index": "id",
    "id": "id",
    "name": "name",
    "r": "red",
    "red": "red",
    "g": "green",
    "green": "green",
    "b": "blue",
    "blue": "blue",
    "color": "colour",
    "colour": "colour",
    "description": "description",
    "abbreviation": "abbreviation",
    "a": "",
    "alpha": "",
    "mapping": "",
}
"""What a column of this title holds; nothing that is of use where it is empty."""

_CHANNELS = ("red", "green", "blue")
_TAGS = ("tag", "tags")
_CSV = re.compile(r"\s*(\"?[+-]?[0-9]+\"?|\"?(id|index)\"?)\s*([,;]).*", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class _Columns:
    """What each column holds: a value of `_MEANINGS` or, for tags, "tag"."""

    meanings: tuple[str, ...]
    has_more_tags: bool
    """Cells beyond the titled columns are tags."""

    def __post_init__(self) -> None:
        for meaning in ("id", "name"):
            if meaning not in self.meanings:
                title = "id (or index)" if meaning == "id" else meaning
                raise FormatError(f"the table has no column {title}")
        for meaning in self.meanings:
            if meaning not in ("", "tag") and self.meanings.count(meaning) > 1:
                raise FormatError(f"two columns hold the {meaning}; keep one")
        channels = [meaning for meaning in _CHANNELS if meaning in self.meanings]
        if channels and (len(channels) < 3 or "colour" in self.meanings):
            raise FormatError("a colour is either the columns r, g and b, or one of color")

    def label(self, cells: Sequence[str]) -> Label:
        """Return the label of a row."""
        if len(cells) > len(self.meanings) and not self.has_more_tags:
            raise FormatError(f"{len(cells)} columns, but {len(self.meanings)} titles")
        values: dict[str, str] = {}
        tags = [cell for cell in cells[len(self.meanings) :] if cell]
        for meaning, cell in zip(self.meanings, cells, strict=False):
            if meaning == "tag" and cell:
                tags.append(cell)
            elif meaning and cell:
                values[meaning] = cell
        if "name" not in values:
            raise FormatError("the name is missing")
        return Label(
            parse_id(values.get("id", "")),
            values["name"],
            _colour(values),
            values.get("description") or values.get("abbreviation", ""),
            tuple(dict.fromkeys(tags)),
        )


def is_bids_header(line: str) -> bool:
    """Whether this line is the header of a BIDS table: tabs between `index`, `name` and others."""
    titles = [title.strip().lower() for title in line.split("\t")]
    return "name" in titles and ("index" in titles or "id" in titles)


def is_csv_line(line: str) -> bool:
    """Whether this line is one of CSV: ``17,Left-Hippocampus,...``, or its header."""
    return _CSV.fullmatch(line) is not None


def read_bids(lines: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the labels of a BIDS table.

    Its columns are `index` and `name`, and perhaps `color` (``#ff8000``) or r, g and b,
    `description` or `abbreviation`, and `tags`; others are left out. ``n/a`` is nothing.
    """
    columns: _Columns | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        with at_line(name, number):
            if columns is None:
                columns = _Columns(
                    tuple(
                        "tag" if title.lower() in _TAGS else _MEANINGS.get(title.lower(), "")
                        for title in cells
                    ),
                    has_more_tags=False,
                )
            else:
                cells = ["" if cell == "n/a" else cell for cell in cells]
                yield number, columns.label(cells)


def read_csv(lines: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the labels of a CSV table: id, name, perhaps red, green and blue, and tags.

    A first row that holds no id titles the columns; those of other titles than a BIDS table has
    hold tags. Without one, the first row tells whether there are colours. Semicolons part the
    cells where they do in the first row, as spreadsheets write CSV in much of Europe.
    """
    columns: _Columns | None = None
    kept = ("\n" if line.startswith("#") else f"{line}\n" for line in lines)
    first = next(filter(None, map(_CSV.fullmatch, lines)), None)
    delimiter = first[3] if first is not None else ","
    reader = csv.reader(kept, delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FormatError(f"{name}, line {reader.line_num}: {error}") from error
        # a cell in quotes may go over several lines
        cells = [cell.strip().replace("\n", " ") for cell in row]
        if not any(cells):
            continue
        with at_line(name, reader.line_num):
            if columns is None:
                is_header = cells[0].lower() in _MEANINGS
                columns = _titled(cells) if is_header else _untitled(cells)
                if is_header:
                    continue
            yield reader.line_num, columns.label(cells)


def _titled(titles: Sequence[str]) -> _Columns:
    meanings = tuple(_MEANINGS.get(title.lower(), "tag") for title in titles)
    return _Columns(meanings, has_more_tags=True)


def _untitled(cells: Sequence[str]) -> _Columns:
    has_colours = len(cells) >= 5 and all(_DIGITS.fullmatch(cell) for cell in cells[2:5])
    return _Columns(("id", "name", *(_CHANNELS if has_colours else ())), has_more_tags=True)


def _colour(values: dict[str, str]) -> Colour | None:
    if (text := values.get("colour")) is not None:
        colour = parse_hex(text)
        if colour is None:
            raise FormatError(f"the colour {text!r} must be written as #ff8000")
        return colour
    cells = [values.get(channel, "") for channel in _CHANNELS]
    return parse_colour(cells) if any(cells) else None
