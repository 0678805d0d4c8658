"""CSV and TSV: UTF-8, a header, one row a line; gzipped or not.

Where pyarrow is installed it parses, on all cores; where it is not, or where cells in quotes hold
line breaks, Python's csv does.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from ngcore.errors import FormatError, StorageError
from ngcore.sources.points.base import Rows
from ngcore.sources.points.cells import ArrowCells, TextCells

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK_BYTES = 3 << 20
_ROWS = 1 << 16
_DELIMITERS = "\t,;"
_MOST_HEADER = 1 << 20


class DelimitedTable:
    """A CSV or TSV file; see `Table`.

    Raises
    ------
    FormatError
        It has no header, or one that names a column twice; it is not UTF-8.
    """

    unit: str | None = None

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.files: tuple[Path, ...] = (path,)
        self._path = path
        with self._opened() as file:
            line, number = b"", 0
            while not line.strip():
                line = _read_line(file, name)
                number += 1
                if not line:
                    raise FormatError(f"{name} is empty; a table has a header and rows")
        self._header_lines = number
        self._skip = self._header_end()
        header = self._decoded(line, 1).lstrip("\ufeff").rstrip("\r\n")
        self._delimiter = _delimiter(header, path.name)
        try:
            cells = next(csv.reader([header], delimiter=self._delimiter, strict=True))
        except csv.Error as error:
            if "\r" in header:
                raise FormatError(
                    f"{name}: its lines end in carriage returns alone, as on old Macs; save it "
                    "with line feeds"
                ) from error
            raise FormatError(f"{name}, line {number}: {error}; check the header") from error
        self.columns: tuple[str, ...] = tuple(cell.strip() for cell in cells)
        for column in self.columns:
            if self.columns.count(column) > 1:
                raise FormatError(f"{name}: two columns are called {column!r}; rename one")
        if all(_is_number(column) for column in self.columns):
            raise FormatError(
                f"{name}: the first line {header[:40]!r} has no names of columns; add a "
                "header such as "
                f"x{self._delimiter}y{self._delimiter}z"
            )

    def place(self, row: int) -> str:
        """Return the line of a row."""
        return f"line {row + self._header_lines + 1}"

    def rows(self, columns: tuple[str, ...]) -> Iterator[Rows]:
        """Yield some rows at a time; see `Table.rows`."""
        first = 0
        for columns_of_rows, count in self._parsed(columns):
            if count:
                yield Rows(first, columns_of_rows)
            first += count

    def _parsed(self, columns: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], int]]:
        arrow = _arrow()
        line = self._header_lines + 1
        with self._opened() as file:
            file.read(self._skip)
            for chunk in self._chunks(file):
                if arrow is not None and _has_whole_lines(chunk):
                    table = self._parsed_quickly(arrow, chunk)
                    if table is not None:
                        cells = {
                            name: ArrowCells(table.column(name).combine_chunks())
                            for name in columns
                        }
                        yield cells, table.num_rows
                        line += chunk.count(b"\n")
                        continue
                if b'"' in chunk:  # a cell may go on in the next chunk
                    rest = io.BufferedReader(_Rest(chunk, file))
                    text = io.TextIOWrapper(rest, encoding="utf-8", newline="")
                    yield from self._parsed_slowly(text, line, columns)
                    return
                whole = io.StringIO(self._decoded(chunk, line), newline="")
                yield from self._parsed_slowly(whole, line, columns)
                line += chunk.count(b"\n")
        self._let_go(arrow)

    @staticmethod
    def _let_go(arrow: Any) -> None:
        """Give back the memory that pyarrow keeps for more."""
        if arrow is not None:
            import pyarrow as pa

            pa.default_memory_pool().release_unused()

    def _parsed_quickly(self, arrow: Any, chunk: bytes) -> Any:
        """Return pyarrow's table of a chunk; None if it refuses it, for csv to say why."""
        import pyarrow as pa

        try:
            return arrow.read_csv(
                io.BytesIO(chunk),
                read_options=arrow.ReadOptions(column_names=self.columns),
                parse_options=arrow.ParseOptions(delimiter=self._delimiter),
                convert_options=arrow.ConvertOptions(
                    column_types=dict.fromkeys(self.columns, pa.string()),
                    null_values=["", "n/a", "N/A"],
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid:
            return None

    def _parsed_slowly(
        self, text: Any, line: int, columns: tuple[str, ...]
    ) -> Iterator[tuple[dict[str, Any], int]]:
        places = [self.columns.index(column) for column in columns]
        width = len(self.columns)
        reader = csv.reader(text, delimiter=self._delimiter, strict=True)
        rows: list[list[str]] = []
        try:
            for row in reader:
                if len(row) != width:
                    if not row:
                        continue
                    raise FormatError(
                        f"{self.name}, line {line + reader.line_num - 1}: {_counted(len(row))}, "
                        f"but the header has {width} columns"
                    )
                rows.append(row)
                if len(rows) == _ROWS:
                    yield _columns(rows, columns, places)
                    rows = []
        except csv.Error as error:
            where = f"{self.name}, line {line + reader.line_num - 1}"
            raise FormatError(f"{where}: {error}; check its quotes") from error
        except UnicodeDecodeError as error:
            where = f"{self.name}, line {line + reader.line_num}"
            raise _not_text(where, error) from error
        if rows:
            yield _columns(rows, columns, places)

    def _chunks(self, file: Any) -> Iterator[bytes]:
        """Yield runs of whole lines."""
        rest = b""
        while True:
            try:
                data = file.read(_CHUNK_BYTES)
            except (OSError, EOFError, ValueError) as error:
                raise _read_error(self.name, error) from error
            if not data:
                break
            head, newline, tail = data.rpartition(b"\n")
            if newline:
                yield rest + head + newline
                rest = tail
            else:
                rest += tail
        if rest:
            yield rest

    def _decoded(self, data: bytes, line: int) -> str:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            line += data.count(b"\n", 0, error.start)
            raise _not_text(f"{self.name}, line {line}", error) from error

    def _opened(self) -> Any:
        with self._path.open("rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
        if is_gzip:
            from isal import igzip

            return cast("Any", igzip.open)(self._path, "rb")
        return self._path.open("rb")

    def _header_end(self) -> int:
        with self._opened() as file:
            return sum(len(_read_line(file, self.name)) for _ in range(self._header_lines))


class _Rest(io.RawIOBase):
    """A chunk, and what follows it in a file."""

    def __init__(self, chunk: bytes, file: Any) -> None:
        self._chunk = io.BytesIO(chunk)
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._chunk.read(len(buffer)) or self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _columns(
    rows: list[list[str]], columns: tuple[str, ...], places: list[int]
) -> tuple[dict[str, Any], int]:
    cells = list(zip(*rows, strict=True))
    found = {name: TextCells(cells[place]) for name, place in zip(columns, places, strict=True)}
    return found, len(rows)


def _has_whole_lines(chunk: bytes) -> bool:
    """Whether no line break lies in quotes."""
    if b'"' not in chunk:
        return True
    data = np.frombuffer(chunk, np.uint8)
    is_quote = data == ord('"')
    quotes = np.cumsum(is_quote)
    return not (quotes[data == ord("\n")] % 2).any() and quotes[-1] % 2 == 0


def _arrow() -> Any:
    try:
        from pyarrow import csv as arrow_csv
    except ImportError:
        return None
    return arrow_csv


def _delimiter(header: str, file: str) -> str:
    if ".tsv" in file.lower() and "\t" in header:
        return "\t"
    return max(_DELIMITERS, key=header.count)


def _read_line(file: Any, name: str) -> bytes:
    try:
        line: bytes = file.readline(_MOST_HEADER)
    except (OSError, EOFError, ValueError) as error:
        raise _read_error(name, error) from error
    return line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _counted(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _read_error(name: str, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:
        return StorageError(f"{name}: reading failed: {error.strerror}; check the disk")
    return FormatError(
        f"{name}: its gzip stream is damaged: {error}; download or copy the file again"
    )


def _not_text(where: str, error: UnicodeDecodeError) -> NoReturn:
    raise FormatError(
        f"{where}: byte 0x{error.object[error.start]:02x} is not UTF-8 text; save the table as "
        "UTF-8"
    ) from error
