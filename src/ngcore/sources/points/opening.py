"""Open a table by what it is: Parquet and ``.npy`` by their magic, the rest as CSV or TSV.

Electrodes of BIDS have their unit in the coordinate system file beside them:
https://bids-specification.readthedocs.io/en/stable/modality-specific-files/intracranial-electroencephalography.html#coordinate-system-json-_coordsystemjson
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.json_members import parse_object
from ngcore.sources.files import missing_file, refuse_pipe
from ngcore.sources.points.arrays import COLUMNS, ArrayTable, NpyTable
from ngcore.sources.points.delimited import DelimitedTable
from ngcore.sources.points.parquet import ParquetTable

if TYPE_CHECKING:
    from ngcore.sources.points.base import Table

_ELECTRODES = "_electrodes.tsv"
_SYSTEM = "_coordsystem.json"
_MOST_SYSTEM = 1 << 20


def open_table(source: object) -> Table:
    """Open a table.

    Parameters
    ----------
    source : path, array of shape (n, 3) or (n, 6), or named columns
        Named columns are a mapping of names to arrays, a pandas DataFrame or the like.

    Raises
    ------
    InputNotFoundError, InputError
        There is no such file, it can't be read, or this is not a table.
    FormatError
        It is damaged, or has no header.
    """
    if not isinstance(source, str | os.PathLike):
        return _array_table(source)
    name, path = os.fspath(source), Path(source)
    refuse_pipe(path, name)
    if path.is_dir():
        raise InputError(f"{name}: is a folder, expected a table; pass the file")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except FileNotFoundError:
        raise missing_file(path, name) from None
    except OSError as error:
        raise InputError(f"{name}: can't be read: {error.strerror}; check its rights") from error
    if start.startswith(b"PAR1"):
        return ParquetTable(path, name)
    if start.startswith(b"\x93NUMPY"):
        return NpyTable(path, name)
    table = DelimitedTable(path, name)
    if name.endswith(_ELECTRODES):
        _take_unit(table, path)
    return table


def _array_table(source: Any) -> Table:
    name = f"the {type(source).__name__}"
    if isinstance(source, np.ndarray) and source.dtype.fields is None:
        if source.ndim != 2 or source.shape[1] not in COLUMNS or source.dtype.kind not in "iuf":
            raise InputError(
                f"{name}: {source.dtype} of shape {source.shape}; points are numbers of shape "
                "(n, 3), lines, boxes and ellipsoids of shape (n, 6)"
            )
        return ArrayTable(dict(zip(COLUMNS[source.shape[1]], source.T, strict=True)), name)
    if isinstance(source, np.ndarray):
        return ArrayTable({field: source[field] for field in source.dtype.names or ()}, name)
    if hasattr(source, "keys") and hasattr(source, "__getitem__"):
        return ArrayTable({key: source[key] for key in source.keys()}, name)  # noqa: SIM118
    raise InputError(
        f"a table is a path, an array of shape (n, 3) or (n, 6), or named columns; got {name}"
    )


def _take_unit(table: DelimitedTable, path: Path) -> None:
    """Give electrodes the unit that their coordinate system says."""
    system = _coordinate_system(path)
    if system is None:
        return
    table.files += (system,)
    try:
        members = parse_object(system.read_bytes()[:_MOST_SYSTEM])
    except FormatError as error:
        raise FormatError(f"{system}: {error}") from error
    units = {
        str(value).lower()
        for key, value in members.items()
        if key.endswith("CoordinateUnits") and str(value).lower() != "n/a"
    }
    if len(units) == 1:
        table.unit = units.pop()


def _coordinate_system(path: Path) -> Path | None:
    """Return the file that says where the electrodes of BIDS are; None where there is none.

    Its name has no other entities than theirs has; the one that shares most of them counts.
    """
    own = set(path.name.removesuffix(_ELECTRODES).split("_"))
    fitting = [
        (len(entities), candidate.name)
        for candidate in path.parent.glob(f"*{_SYSTEM}")
        if (entities := set(candidate.name.removesuffix(_SYSTEM).split("_"))) <= own
    ]
    return path.parent / max(fitting)[1] if fitting else None
