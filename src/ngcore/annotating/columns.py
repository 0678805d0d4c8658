"""A table, read once into a temporary file, and the types that its properties get.

Whole numbers get the smallest type that holds them, other numbers float32, ``#rrggbb`` rgb, and
texts an enumeration. What a column is shows when all of it was read, so numbers and words wait in
the widest form. A column that turns out to be another kind midway is read again from its start.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ngcore.annotating.blocks import Block, chances
from ngcore.errors import InputError
from ngcore.precomputed.annotation_property import AnnotationProperty
from ngcore.precomputed.annotation_records import Records, offsets_of
from ngcore.sources.points.base import fail_at, fail_in
from ngcore.sources.points.cells import BadCellError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ngcore.annotating.roles import Roles
    from ngcore.sources.points.base import Rows, Table
    from ngcore.sources.points.cells import Cells
    from ngcore.storage.spool import Place, Spool

    _Relation = tuple[NDArray[np.int64], NDArray[np.uint64]]
    _Taken = tuple[NDArray[np.uint64] | None, dict[str, NDArray[Any]], tuple[_Relation, ...]]

logger = logging.getLogger(__name__)

MOST_WORDS = 65_535
NOTHING = "n/a"
_WHOLE_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
_EXACT_IN_FLOAT32 = 1 << 24
_NUMBER = re.compile(r"[+-]?\d+(,\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_KINDS = ("number", "colour", "word")


class _AnotherKindError(Exception):
    """A column is not what its first rows were; it must be read as the next kind."""


@dataclass
class _Column:
    """What is known of a property's column so far."""

    name: str
    kind: str = ""
    low: float = np.inf
    high: float = -np.inf
    is_whole: bool = True
    is_missing: bool = False

    def __post_init__(self) -> None:
        self.words: dict[str, int] = {}

    def take(self, cells: Cells, where: str) -> NDArray[Any]:
        """Return the cells as they are kept."""
        if not self.kind:
            self.kind = "number" if cells.numbers() is not None else "colour"
            if self.kind == "colour" and cells.colours() is None:
                self.kind = "word"
        if self.kind == "number":
            return self._numbers(cells)
        if self.kind == "colour":
            colours = cells.colours()
            if colours is None:
                raise self._not_this()
            self.is_missing |= not all(cells.texts())
            return colours
        codes = cells.words(self.words)
        if len(self.words) > MOST_WORDS:
            raise InputError(
                f"{where}: column {self.name!r} holds more than {MOST_WORDS:,} different texts, "
                f"the limit of an enumeration; leave it out with --skip {self.name}"
            )
        self.is_missing |= bool((codes < 0).any())
        return codes

    def _numbers(self, cells: Cells) -> NDArray[np.float64]:
        numbers = cells.numbers()
        if numbers is None:
            raise self._not_this()
        there = numbers[np.isfinite(numbers)]
        self.is_missing |= len(there) < len(numbers)
        if there.size:
            self.low = min(self.low, float(there.min()))
            self.high = max(self.high, float(there.max()))
            self.is_whole = self.is_whole and bool((there == np.floor(there)).all())
        return numbers

    def _not_this(self) -> _AnotherKindError:
        self.kind = _KINDS[_KINDS.index(self.kind) + 1]
        self.is_missing = False
        return _AnotherKindError(self.name)

    def decided(self, name: str, where: str) -> AnnotationProperty:
        """Return the property, once all cells were seen."""
        description = None if name == self.name else self.name
        if self.kind == "colour":
            if self.is_missing:
                logger.warning(
                    "%s: some cells of column %r have no colour; they become black",
                    where,
                    self.name,
                )
            return AnnotationProperty(name, "rgb", description)
        if self.kind == "word":
            self._warn_of_commas(where)
            labels = sorted(self.words) + ([NOTHING] if self.is_missing else [])
            kind = "uint8" if len(labels) <= 256 else "uint16"
            values = tuple(range(len(labels)))
            return AnnotationProperty(name, kind, description, None, values, tuple(labels))
        return AnnotationProperty(name, self._number_type(where), description)

    def _warn_of_commas(self, where: str) -> None:
        """Say that text is numbers, as some countries write them."""
        with_comma = [word for word in self.words if _DECIMAL_COMMA.fullmatch(word)]
        if with_comma and all(_NUMBER.fullmatch(word) for word in self.words):
            logger.warning(
                "%s: column %r holds numbers with decimal commas, such as %r, kept as text; write "
                "them with a decimal point",
                *(where, self.name, with_comma[0]),
            )

    def _number_type(self, where: str) -> str:
        if not self.is_whole or self.is_missing or self.low > self.high:
            largest = max(abs(self.low), abs(self.high)) if self.low <= self.high else 0
            if self.is_whole and largest > _EXACT_IN_FLOAT32:
                self._warn_of_rounding(where)
            return "float32"
        for kind in _WHOLE_TYPES:
            limits = np.iinfo(kind)
            if limits.min <= self.low and self.high <= limits.max:
                return kind
        self._warn_of_rounding(where)
        return "float32"

    def _warn_of_rounding(self, where: str) -> None:
        logger.warning(
            "%s: column %r holds whole numbers too large for any property type; they are "
            "rounded to float32",
            *(where, self.name),
        )

    def stored(self, kept: NDArray[Any], item: AnnotationProperty) -> NDArray[Any]:
        """Return cells, as they were kept, as values of the property."""
        if self.kind == "word":
            ranks = {word: rank for rank, word in enumerate(sorted(self.words))}
            table = np.array([*map(ranks.__getitem__, self.words), len(ranks)], np.int64)
            values: NDArray[Any] = table[kept].astype(item.dtype)
            return values
        if self.kind == "number":
            with np.errstate(over="ignore"):
                return kept.astype(item.dtype)
        return kept


class SpooledTable:
    """All rows of a table in a temporary file.

    Parameters
    ----------
    table : Table
    roles : Roles
    spool : Spool

    Attributes
    ----------
    count : int
        Rows.
    properties : tuple of AnnotationProperty
    lower, upper : ndarray of float64, shape (k,)
        Least and greatest of each coordinate.
    reach : (ndarray, ndarray) of float64, shape (3,)
        Bounds, where rows are centres and radii.

    Raises
    ------
    FormatError
        A cell is not what its column needs; the message names its line.
    InputError
        The table has no rows, or a column too many words.
    """

    def __init__(self, table: Table, roles: Roles, spool: Spool) -> None:
        self._table = table
        self._roles = roles
        self._spool = spool
        self._columns = [_Column(column) for column, _ in roles.properties]
        while True:
            self.count = 0
            self._blocks: list[dict[str, tuple[Place, np.dtype[Any], int]]] = []
            width = len(roles.coordinates)
            self.lower, self.upper = np.full(width, np.inf), np.full(width, -np.inf)
            self.reach = (np.full(3, np.inf), np.full(3, -np.inf))
            try:
                for rows in table.rows(roles.columns):
                    self._keep(rows)
                break
            except _AnotherKindError:
                for block in self._blocks:
                    for place, _, _ in block.values():
                        spool.free(place)
        if not self.count:
            raise InputError(f"{table.name} holds no rows; there is nothing to show")
        self.properties = tuple(
            column.decided(name, table.name)
            for column, (_, name) in zip(self._columns, roles.properties, strict=True)
        )

    def _keep(self, rows: Rows) -> None:
        roles = self._roles
        geometry = self._geometry(rows)
        arrays: dict[str, NDArray[Any]] = {"geometry": geometry}
        for name, column in (("id", roles.id), ("group", roles.group)):
            if column is not None:
                arrays[name] = self._ids(rows, column, is_group=name == "group")
        for number, (_, column, _) in enumerate(roles.relations):
            try:
                offsets, segments = rows.columns[column].segments()
            except BadCellError as error:
                fail_in(self._table, rows, column, error)
            arrays[f"offsets{number}"], arrays[f"segments{number}"] = offsets, segments
        for number, found in enumerate(self._columns):
            arrays[f"property{number}"] = found.take(rows.columns[found.name], self._table.name)
        self._blocks.append(
            {
                name: (self._spool.put(array.tobytes()), array.dtype, len(array))
                for name, array in arrays.items()
            }
        )
        self.count += len(geometry)

    def _geometry(self, rows: Rows) -> NDArray[np.float32]:
        found: list[NDArray[np.float64]] = []
        for column in self._roles.coordinates:
            numbers = rows.columns[column].numbers()
            if numbers is None or not np.isfinite(numbers).all():
                self._refuse_coordinate(rows, column)
            found.append(numbers)
        with np.errstate(over="ignore"):
            geometry = np.stack(found, axis=1).astype(np.float32)
        if not np.isfinite(geometry).all():
            row, axis = np.argwhere(~np.isfinite(geometry))[0].tolist()
            column = self._roles.coordinates[axis]
            fail_at(self._table, rows.first + row, column, "larger than float32 holds")
        self.lower = np.minimum(self.lower, geometry.min(axis=0))
        self.upper = np.maximum(self.upper, geometry.max(axis=0))
        if len(found) == 6:
            centres, radii = geometry[:, :3].astype(np.float64), geometry[:, 3:]
            low, high = self.reach
            self.reach = (
                np.minimum(low, (centres - radii).min(axis=0)),
                np.maximum(high, (centres + radii).max(axis=0)),
            )
        return geometry

    def _refuse_coordinate(self, rows: Rows, column: str) -> NoReturn:
        texts = rows.columns[column].texts()
        for row, text in enumerate(texts):
            try:
                is_good = np.isfinite(float(text))
            except ValueError:
                is_good = False
            if not is_good or "_" in text:
                what = repr(text) if text else "blank"
                problem = f"{what} is not a coordinate; each row needs finite numbers"
                if _DECIMAL_COMMA.fullmatch(text):
                    problem += ", with a decimal point"
                fail_at(self._table, rows.first + row, column, problem)
        raise AssertionError

    def _ids(self, rows: Rows, column: str, *, is_group: bool) -> NDArray[np.uint64]:
        cells = rows.columns[column]
        if not is_group:
            try:
                return cells.ids()
            except BadCellError as error:
                fail_in(self._table, rows, column, error)
        texts = np.array(cells.texts(), dtype=object)
        blank = np.flatnonzero(texts == "")
        if blank.size:
            fail_at(self._table, rows.first + int(blank[0]), column, "the group is blank")
        return hashed_texts(texts)

    def arrays(self, block: int, names: tuple[str, ...] | None = None) -> dict[str, NDArray[Any]]:
        """Return arrays of one block of rows, as they were kept."""
        found = {}
        for name, (place, dtype, count) in self._blocks[block].items():
            if names is None or name in names:
                values = np.frombuffer(self._spool.get(place), dtype)
                found[name] = values.reshape(count, -1) if values.size != count else values
        return found

    @property
    def block_sizes(self) -> list[int]:
        """Rows of each block."""
        return [block["geometry"][2] for block in self._blocks]

    def values(self, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the properties of kept arrays, in their types."""
        return {
            item.id: column.stored(arrays[f"property{number}"], item)
            for number, (column, item) in enumerate(
                zip(self._columns, self.properties, strict=True)
            )
        }

    @property
    def has_ids(self) -> bool:
        """Whether the table says the ids."""
        return self._roles.id is not None

    def refuse_row(self, row: int, problem: str) -> NoReturn:
        """Raise the error for a row."""
        raise InputError(f"{self._table.name}, {self._table.place(row)}: {problem}")

    def take(self, rows: NDArray[np.int64], *, is_full: bool) -> _Taken:
        """Return ids, properties and relations of some rows, in increasing order."""
        names = None if is_full else ("id",)
        ids: list[NDArray[np.uint64]] = []
        values: list[dict[str, NDArray[Any]]] = []
        relations = []
        first = 0
        for number, count in enumerate(self.block_sizes):
            start, stop = np.searchsorted(rows, [first, first + count])
            if stop > start:
                arrays = self.arrays(number, names)
                here = rows[start:stop] - first
                if "id" in arrays:
                    ids.append(arrays["id"][here])
                if is_full:
                    found = self.values(arrays)
                    values.append({name: column[here] for name, column in found.items()})
                    relations.append(
                        [_taken(*relation, here) for relation in self.relations(arrays)]
                    )
            first += count
        joined = {
            item.id: np.concatenate([part[item.id] for part in values])
            for item in self.properties
            if values
        }
        return (
            np.concatenate(ids) if ids else None,
            joined,
            tuple(_joined_relations(parts) for parts in zip(*relations, strict=True)),
        )

    def marks(self, arrays: dict[str, NDArray[Any]]) -> NDArray[np.uint64]:
        """Return a number for each row of kept arrays: the same where all but geometry is."""
        marks = np.zeros(len(arrays["geometry"]), np.uint64)
        for name, values in sorted(arrays.items()):
            if name.startswith("property"):
                wide = np.zeros((len(values), 8), np.uint8)
                raw = values.reshape(len(values), -1).view(np.uint8)
                wide[:, : raw.shape[1]] = raw
                marks = chances(marks ^ wide.view(np.uint64)[:, 0])
        for offsets, segments in self.relations(arrays):
            sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(chances(segments))])
            marks = chances(marks ^ (sums[offsets[1:]] - sums[offsets[:-1]]))
        return marks

    def warn_of_others(self, count: int) -> None:
        """Say that rows of polylines have other values than the first of each."""
        logger.warning(
            "%s: %d polylines have rows whose properties or relations differ from their first "
            "row; only those of the first row are written; leave such columns out with --skip",
            *(self._table.name, count),
        )

    def relations(
        self, arrays: dict[str, NDArray[Any]]
    ) -> tuple[tuple[NDArray[np.int64], NDArray[np.uint64]], ...]:
        """Return the relations of kept arrays."""
        numbers = range(len(self._roles.relations))
        return tuple((arrays[f"offsets{n}"], arrays[f"segments{n}"]) for n in numbers)


class RowBlocks:
    """One annotation a row; see `Blocks`."""

    def __init__(self, rows: SpooledTable) -> None:
        self._rows = rows
        self.count = rows.count

    def shapes(self) -> Iterator[Block]:
        """Yield ids and geometry."""
        return self._blocks(("geometry", "id"))

    def full(self) -> Iterator[Block]:
        """Yield whole blocks."""
        return self._blocks(None)

    def _blocks(self, names: tuple[str, ...] | None) -> Iterator[Block]:
        first = 1
        for number, count in enumerate(self._rows.block_sizes):
            arrays = self._rows.arrays(number, names)
            ids = arrays.get("id")
            if ids is None:
                ids = np.arange(first, first + count, dtype=np.uint64)
            values: dict[str, NDArray[Any]] = {}
            relations: tuple[_Relation, ...] = ()
            if names is None:
                values, relations = self._rows.values(arrays), self._rows.relations(arrays)
            yield Block(ids, arrays["geometry"].reshape(count, -1), None, values, relations)
            first += count


def _taken(
    offsets: NDArray[np.int64], segments: NDArray[np.uint64], rows: NDArray[np.int64]
) -> _Relation:
    taken = Records(np.arange(len(segments), dtype=np.uint32), offsets).take(rows)
    return taken.offsets, segments[taken.words]


def _joined_relations(parts: Sequence[_Relation]) -> _Relation:
    lengths = np.concatenate([np.diff(offsets) for offsets, _ in parts])
    return offsets_of(lengths), np.concatenate([segments for _, segments in parts])


def hashed_texts(texts: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a number for each text, the same for the same text."""
    from hashlib import blake2b

    words, places = np.unique(texts.astype(str), return_inverse=True)
    numbers = [
        int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        for word in words.tolist()
    ]
    hashed: NDArray[np.uint64] = np.array(numbers, np.uint64)[places]
    return hashed
