"""Tables whose cells commas, semicolons or tabs part: CSV, and TSV as BIDS has it."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.sources.tables.columns import (
    Choice,
    Record,
    is_title_of_ids,
    read_columns,
    read_untitled,
)
from ngcore.sources.tables.rows import is_whole, line_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ngcore.sources.tables.rows import Row

_DELIMITERS = "\t,;"


def is_bids_header(line: str) -> bool:
    """Whether this line is the header of a BIDS table: tabs between `index`, `name` and others."""
    titles = [title.strip().lower() for title in line.split("\t")]
    return "name" in titles and ("index" in titles or "id" in titles)


def is_delimited(lines: Sequence[str], choice: Choice) -> bool:
    """Whether a table starts with these lines: titles and a row, or rows that hold an id."""
    cells = _cells(lines[0], _delimiter(lines[0]))
    if len(cells) < 2:
        return False
    if any(map(is_whole, cells)):
        return is_whole(cells[0]) or choice.id is not None
    row = _cells(lines[1], _delimiter(lines[0])) if len(lines) > 1 else []
    return any(map(is_title_of_ids, cells)) or (len(row) > 1 and any(map(is_whole, row)))


def read_delimited(lines: Sequence[str], name: str, choice: Choice) -> Iterator[Row]:
    """Yield the labels of a table.

    A first row that holds no id titles the columns; without one, they are id, name, perhaps red,
    green and blue, and tags. Lines that start with ``#`` are comments.
    """
    first = next(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    delimiter = _delimiter(first)
    records = _records(lines, name, delimiter)
    titles = [title.removeprefix("\ufeff") for title in records[0].cells]
    if any(map(is_whole, titles)):
        return read_untitled(records, name, choice)
    if delimiter != "\t":
        # what goes beyond the titles are tags
        width = max(len(record.cells) for record in records)
        titles += [""] * (width - len(titles))
    return read_columns(titles, records[1:], name, records[0].place, choice)


def _records(lines: Sequence[str], name: str, delimiter: str) -> list[Record]:
    kept = ("\n" if line.startswith("#") else f"{line}\n" for line in lines)
    if delimiter == "\t":
        reader = csv.reader(kept, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(kept, delimiter=delimiter, strict=True, skipinitialspace=True)
    records = []
    try:
        for row in reader:
            # a cell in quotes may go over several lines
            cells = [cell.strip().replace("\n", " ") for cell in row]
            if delimiter == "\t":
                cells = [_unquoted(cell) for cell in cells]
            if any(cells):
                records.append(Record(line_place(reader.line_num), cells))
    except csv.Error as error:
        raise FormatError(f"{name}, line {reader.line_num}: {error}") from error
    return records


def _unquoted(cell: str) -> str:
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1]
    return cell[1:-1].strip() if is_quoted else cell


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        rows = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return []
    return [cell.strip() for cell in rows[0]] if rows else []


def _delimiter(line: str) -> str:
    """Return what parts the cells of a line: a tab if there is one, else what is most frequent."""
    if "\t" in line:
        return "\t"
    counts = Counter({delimiter: _outside_quotes(line).count(delimiter) for delimiter in ",;"})
    return counts.most_common(1)[0][0]


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])
