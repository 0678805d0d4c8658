"""Parquet tables, through pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.sources.points.base import Rows
from ngcore.sources.points.cells import ArrowCells, Cells, NumberCells

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROWS = 1 << 16


_BUFFER = 1 << 20


class ParquetTable:
    """A Parquet file; see `Table`.

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    FormatError
        The file is damaged.
    """

    unit: str | None = None

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.files: tuple[Path, ...] = (path,)
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtraError(
                f"{name}: Parquet needs pyarrow; run: pip install 'ngcore-neuroglancer[formats]'"
            ) from error
        self._errors = (pa.ArrowException, OSError, ValueError)
        try:
            # Otherwise pyarrow keeps all that it has read until the end.
            self._file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER)
        except self._errors as error:
            raise FormatError(f"{name}: not a valid Parquet file: {_first(error)}") from error
        self.columns = tuple(self._file.schema_arrow.names)

    def place(self, row: int) -> str:
        """Return the number of a row."""
        return f"row {row}"

    def rows(self, columns: tuple[str, ...]) -> Iterator[Rows]:
        """Yield some rows at a time; see `Table.rows`."""
        import pyarrow as pa

        first = 0
        batches = self._file.iter_batches(batch_size=_ROWS, columns=list(columns))
        while True:
            try:
                batch = next(batches, None)
            except self._errors as error:
                raise FormatError(f"{self.name}: damaged: {_first(error)}") from error
            if batch is None:
                pa.default_memory_pool().release_unused()
                return
            yield Rows(first, {name: self._cells(name, batch.column(name)) for name in columns})
            first += batch.num_rows

    def _cells(self, name: str, values: Any) -> Cells:
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = values.type
        if pa.types.is_dictionary(kind):
            values = values.dictionary_decode()
            kind = values.type
        if pa.types.is_boolean(kind):
            values = pc.cast(values, pa.uint8())
            kind = values.type
        if pa.types.is_integer(kind) and values.null_count == 0:
            return NumberCells(values.to_numpy(zero_copy_only=False))
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers = pc.cast(values, pa.float64(), safe=False)
            return NumberCells(np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64))
        if pa.types.is_null(kind):
            return NumberCells(np.full(len(values), np.nan))
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return ArrowCells(values)
        if pa.types.is_temporal(kind):
            return ArrowCells(pc.cast(values, pa.string()))
        if pa.types.is_list(kind) and pa.types.is_integer(kind.value_type):
            return _ListCells(values)
        raise InputError(
            f"{self.name}: column {name!r} holds {kind}, which is neither a number nor text; "
            f"leave it out with --skip {name}"
        )


class _ListCells(ArrowCells):
    """Cells that hold several whole numbers each: for relations."""

    def texts(self) -> list[str]:
        """Return them as ``1;2``."""
        return [";".join(map(str, items or ())) for items in self._values.to_pylist()]

    def numbers(self) -> None:
        """Return None: they are not numbers."""


def _first(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
