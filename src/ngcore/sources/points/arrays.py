"""Tables that hold numbers already: ``.npy`` files, arrays, and anything with named columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.points.base import Rows
from ngcore.sources.points.cells import Cells, NumberCells, TextCells

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_ROWS = 1 << 16
COLUMNS = {
    3: ("x", "y", "z"),
    6: ("x1", "y1", "z1", "x2", "y2", "z2"),
}


class ArrayTable:
    """An array of shape (n, 3) or (n, 6), in memory; or named columns. See `Table`."""

    files: tuple[Path, ...] = ()
    unit: str | None = None

    def __init__(self, columns: Mapping[str, Any], name: str) -> None:
        self.name = name
        self.columns = tuple(map(str, columns))
        self._columns = {str(key): np.asarray(columns[key]) for key in columns}
        lengths = {len(values) for values in self._columns.values()}
        if len(lengths) > 1:
            raise InputError(
                f"{name}: columns of {sorted(lengths)} rows; pass columns of one length"
            )
        self._count = lengths.pop() if lengths else 0

    def place(self, row: int) -> str:
        """Return the number of a row."""
        return f"row {row}"

    def rows(self, columns: tuple[str, ...]) -> Iterator[Rows]:
        """Yield some rows at a time; see `Table.rows`."""
        for first in range(0, self._count, _ROWS):
            stop = first + _ROWS
            yield Rows(first, {name: _cells(self._columns[name][first:stop]) for name in columns})


class NpyTable:
    """A ``.npy`` file of shape (n, 3) or (n, 6), or with named fields; see `Table`.

    Raises
    ------
    FormatError
        It is damaged.
    InputError
        It has another shape, or holds no numbers.
    """

    unit: str | None = None

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.files: tuple[Path, ...] = (path,)
        self._path = path
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                self._shape, self._is_fortran, self._dtype = read(file)
                self._start = file.tell()
        except Exception as error:  # of NumPy's parser, tokenizer and evaluator
            text = str(error).strip().split("\n", 1)[0]
            raise FormatError(f"{name}: not a valid .npy file: {text}") from error
        if self._dtype.fields is not None and len(self._shape) == 1:
            self.columns = tuple(self._dtype.names or ())
        elif len(self._shape) == 2 and self._shape[1] in COLUMNS and self._dtype.kind in "iuf":
            self.columns = COLUMNS[self._shape[1]]
        else:
            raise InputError(
                f"{name}: an array of {self._dtype} of shape {self._shape}; points are numbers "
                "of shape (n, 3), lines, boxes and ellipsoids of shape (n, 6)"
            )
        size = path.stat().st_size - self._start
        expected = int(np.prod(self._shape, dtype=object)) * self._dtype.itemsize
        if size < expected:
            raise FormatError(
                f"{name}: {size} bytes of data, but its shape {self._shape} takes {expected}; "
                "the file is truncated; download or copy it again"
            )

    def place(self, row: int) -> str:
        """Return the number of a row."""
        return f"row {row}"

    def rows(self, columns: tuple[str, ...]) -> Iterator[Rows]:
        """Yield some rows at a time; see `Table.rows`."""
        count = self._shape[0]
        with self._path.open("rb") as file:
            for first in range(0, count, _ROWS):
                number = min(_ROWS, count - first)
                found: dict[str, Cells] = {}
                if self._dtype.fields is not None:
                    table = self._read(file, first, number)
                    found = {name: _cells(table[name]) for name in columns}
                elif self._is_fortran:
                    for name in columns:
                        start = self.columns.index(name) * count + first
                        found[name] = NumberCells(self._read(file, start, number))
                else:
                    width = len(self.columns)
                    table = self._read(file, first * width, number * width).reshape(-1, width)
                    for name in columns:
                        found[name] = NumberCells(table[:, self.columns.index(name)])
                yield Rows(first, found)

    def _read(self, file: Any, first: int, count: int) -> NDArray[Any]:
        file.seek(self._start + first * self._dtype.itemsize)
        values: NDArray[Any] = np.fromfile(file, self._dtype, count)
        if len(values) < count:
            raise FormatError(f"{self.name}: the file was truncated while it was read")
        return values


def _cells(values: NDArray[Any]) -> Cells:
    if values.dtype.kind in "iufb":
        return NumberCells(values)
    return TextCells([_text(value) for value in values.tolist()])


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
