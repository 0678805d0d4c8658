"""What every table gives: the names of its columns, and its cells, some rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ngcore.sources.points.cells import BadCellError, Cells


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table.

    Attributes
    ----------
    first : int
        The number of the first row, from 0.
    columns : mapping of str to Cells
        Those that were asked for.
    """

    first: int
    columns: Mapping[str, Cells]


class Table(Protocol):
    """A table, read as often as asked for.

    Attributes
    ----------
    name : str
        As the user gave it, for messages.
    columns : tuple of str
    files : tuple of Path
        By which a run that goes on knows it.
    unit : str or None
        Unit of its coordinates, where the table, or a file beside it, says one.
    """

    name: str
    columns: tuple[str, ...]
    files: tuple[Path, ...]
    unit: str | None

    def rows(self, columns: tuple[str, ...]) -> Iterator[Rows]:
        """Yield some rows at a time, with these columns.

        Raises
        ------
        FormatError
            The table is damaged; the message names the line.
        """

    def place(self, row: int) -> str:
        """Return how to call a row in messages, such as ``line 7``."""


def fail_at(table: Table, row: int, column: str, problem: str) -> NoReturn:
    """Raise the error for a cell."""
    raise FormatError(f"{table.name}, {table.place(row)}, column {column!r}: {problem}")


def fail_in(table: Table, rows: Rows, column: str, error: BadCellError) -> NoReturn:
    """Raise the error for a cell that its column refused."""
    fail_at(table, rows.first + error.row, column, str(error))
