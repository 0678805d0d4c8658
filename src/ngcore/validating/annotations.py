"""Checks a folder of annotations: each entry to its last byte, and the indexes against `by_id`.

Every index tells of an annotation anew. What a spatial cell or a relationship lists must be in
`by_id` with the same bytes; a segment's list must be the annotations that `by_id` relates to it;
and every annotation must lie in exactly one spatial level, there in the cells that it meets.
"""

from __future__ import annotations

import re
import threading
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError, StorageError
from ngcore.precomputed.annotation_records import (
    Annotations,
    decode_annotation,
    decode_list,
)
from ngcore.precomputed.annotations import AnnotationInfo
from ngcore.precomputed.chunks import cells_of_morton_codes
from ngcore.storage import LocalStore
from ngcore.storage.listing import walk_files
from ngcore.validating.annotation_places import check_places, count_surely_met, surely_meet, take
from ngcore.validating.annotation_table import AnnotationTable
from ngcore.validating.entries import check_entries
from ngcore.validating.files import names_beside, read_limited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from ngcore.precomputed.annotations import AnnotationIndex, SpatialLevel
    from ngcore.validating.scale import Basis

    Rows = NDArray[np.int64]

_MAX_JSON = 16 << 20
_MAX_ENTRY = 256 << 20
_MOST_COMPARED = 1 << 21
"""Of larger collections, or such with more related segments, no annotation is compared with
another index: memory is bounded."""
_ID = re.compile(r"[0-9]{1,20}")
_CELL = re.compile(r"[0-9]+(_[0-9]+)*")


def check_annotations(basis: Basis, folder: str) -> int:
    """Check a folder of annotations; return how many `by_id` holds.

    Parameters
    ----------
    basis : Basis
    folder : str
        Its name in the store; ``.`` is the store itself.
    """
    name = names_beside(folder, "info")
    try:
        document = read_limited(basis.store, name, _MAX_JSON) or b""
        info = AnnotationInfo.from_json(document)
    except FormatError as error:
        basis.findings.error_in_json("annotations", name, error)
        return 0
    check = _Collection(basis, folder, info)
    count = check.read_by_id()
    for index in info.relationships:
        check.read_relationship(index)
    for number, level in enumerate(info.spatial):
        check.read_level(number, level)
    check.compare()
    return count


class _Collection:
    """The annotations of a folder while they are checked."""

    def __init__(self, basis: Basis, folder: str, info: AnnotationInfo) -> None:
        self._basis = basis
        self._folder = folder
        self._info = info
        # None: nothing is compared.
        self._table: AnnotationTable | None = AnnotationTable(
            len(info.relationships), _MOST_COMPARED
        )
        self._lock = threading.Lock()

    def read_by_id(self) -> int:
        """Check what lies under ids."""

        def check(number: int, data: bytes) -> None:
            found, relations = decode_annotation(data, self._info, number)
            mark, digest = _mark(found.ids), int(_digests(found)[0])
            with self._lock:
                if self._table and not self._table.add(number, digest, mark, relations):
                    self._table = None

        count = self._read(self._info.by_id, check)
        if count is None or self._basis.quick:
            self._table = None
        elif self._table is None:
            self._basis.findings.warning(
                "unchecked",
                names_beside(self._folder, self._info.by_id.key),
                f"there are more than {_MOST_COMPARED} annotations, or segments that they are "
                "related to: the other indexes were read, but not compared with by_id",
            )
        else:
            self._table.close()
        return count or 0

    def read_relationship(self, index: AnnotationIndex) -> None:
        """Check the lists of annotations by segment."""
        place = self._info.relationships.index(index)
        table = self._table

        def check(segment: int, data: bytes) -> None:
            found = decode_list(data, self._info)
            self._compare(found)
            if table is None:
                return
            with self._lock:
                expected = table.take_segment(place, segment)
            if expected != _mark(found.ids):
                raise FormatError(
                    f"the list of segment {segment} differs from the annotations that "
                    "by_id relates to it"
                )

        if self._read(index, check) is None or table is None:
            return
        left = table.segments_left(place)
        if len(left):
            folder = names_beside(self._folder, index.key)
            self._basis.findings.error(
                "annotations",
                folder,
                f"by_id relates annotations to {len(left)} segments that have no valid list, such "
                f"as {left[0]}",
            )

    def read_level(self, number: int, level: SpatialLevel) -> None:
        """Check the lists of annotations by cell."""
        folder = names_beside(self._folder, level.key)

        def check(cell: tuple[int, ...] | None, data: bytes) -> None:
            found = decode_list(data, self._info)
            if len(np.unique(found.ids)) != len(found):
                raise FormatError("lists an annotation twice")
            rows = self._compare(found, level=number)
            if cell is not None:
                check_places(found, self._info, level, cell)
                if rows is not None:
                    self._await(found, rows, level, cell)

        if level.sharding is not None:

            def check_code(code: int, data: bytes) -> None:
                if len(level.grid_shape) > 3 or max(level.grid_shape) >= 1 << 31:
                    check(None, data)  # which cell it is can't be told
                    return
                x, y, z = (*level.grid_shape, 1, 1)[:3]
                cells, exist = cells_of_morton_codes(np.array([code], np.uint64), (x, y, z))
                if not exist[0]:
                    raise FormatError(f"is not a cell of a grid of {list(level.grid_shape)}")
                check(tuple(cells[0].tolist()[: len(level.grid_shape)]), data)

            check_entries(
                self._basis, folder, level.sharding, "annotations", check_code, max_size=_MAX_ENTRY
            )
            return

        def check_named(name: str, data: bytes) -> None:
            cell = tuple(map(int, name.split("_")))
            if len(cell) != len(level.grid_shape) or any(
                place >= count for place, count in zip(cell, level.grid_shape, strict=True)
            ):
                raise FormatError(
                    f"is not the name of a cell in a grid of {list(level.grid_shape)}"
                )
            check(cell, data)

        self._read_files(folder, self._cells(folder, level), check_named)

    def compare(self) -> None:
        """Check that each annotation lies in one spatial level."""
        if self._table is None or not self._info.spatial or self._basis.quick:
            return
        lost = self._table.lost
        if len(lost):
            self._basis.findings.error(
                "annotations",
                "info: spatial",
                f"annotation {lost[0]} of by_id is in no spatial cell ({len(lost)} in all)",
            )
        hidden, cells = self._table.hidden
        if len(hidden):
            self._basis.findings.error(
                "annotations",
                "info: spatial",
                f"{len(hidden)} annotations are missing from cells of their level that they meet, "
                f"such as annotation {hidden[0]}, from {cells[0]} cells",
            )

    def _await(
        self, found: Annotations, rows: Rows, level: SpatialLevel, cell: tuple[int, ...]
    ) -> None:
        """Note in how many cells annotations must be listed, and that this one lists them."""
        table = self._table
        is_point = self._info.annotation_type == "point"  # and lies in one cell
        if table is None or is_point or self._info.rank != 3:
            return
        with self._lock:
            new = np.flatnonzero(table.are_unseen(rows))
        counts = np.zeros(len(found), np.int64)
        if new.size:  # counted once: many cells may list it
            counts[new] = count_surely_met(take(found, new), self._info, level)
        is_here = surely_meet(found, self._info, level, cell)
        with self._lock:
            table.expect(rows, counts, is_here)

    def _read(self, index: AnnotationIndex, check: Callable[[int, bytes], None]) -> int | None:
        """Check the entries of an index; return how many, or None where they can't be listed."""
        folder = names_beside(self._folder, index.key)
        if index.sharding is not None:
            return check_entries(
                self._basis, folder, index.sharding, "annotations", check, max_size=_MAX_ENTRY
            )
        if not isinstance(self._basis.store, LocalStore):
            self._basis.findings.warning("unchecked", folder, "its files can't be listed")
            return None
        names = {name.removesuffix(".gz") for name in walk_files(self._basis.store, folder)}
        known = sorted(name for name in names if _ID.fullmatch(name))

        def check_named(name: str, data: bytes) -> None:
            if int(name) >= 1 << 64:
                raise FormatError("its name is not an id: ids are less than 2^64")
            check(int(name), data)

        self._read_files(folder, known, check_named)
        return len(known)

    def _cells(self, folder: str, level: SpatialLevel) -> Iterable[str]:
        if isinstance(self._basis.store, LocalStore):
            names = {name.removesuffix(".gz") for name in walk_files(self._basis.store, folder)}
            return sorted(name for name in names if _CELL.fullmatch(name))
        cells = np.ndindex(*level.grid_shape)
        return ("_".join(map(str, cell)) for cell in cells)

    def _read_files(
        self, folder: str, names: Iterable[str], check: Callable[[str, bytes], None]
    ) -> None:
        for name in names:
            if not self._basis.quick:
                self._basis.work.submit(
                    partial(self._read_file, names_beside(folder, name), name, check)
                )
        self._basis.work.drain()

    def _read_file(self, where: str, name: str, check: Callable[[str, bytes], None]) -> None:
        try:
            data = read_limited(self._basis.store, where, _MAX_ENTRY)
            if data is not None:  # on a web server: cells without annotations have no file
                check(name, data)
        except (FormatError, StorageError) as error:
            self._basis.findings.error("annotations", where, error)

    def _compare(self, found: Annotations, *, level: int | None = None) -> Rows | None:
        """Compare what an index lists with `by_id`; return the rows there."""
        table = self._table
        if table is None:
            return None
        digests, rows = _digests(found), table.rows(found.ids)
        if level is not None:
            with self._lock:
                table.place(rows[rows >= 0], level)
        table.compare(found.ids, rows, digests)
        return rows


def _mark(ids: NDArray[np.uint64]) -> int:
    """Return a number for some annotations, whatever their order."""
    mixed = (ids ^ (ids >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    return int((mixed * np.uint64(0xBF58476D1CE4E5B9)).sum(dtype=np.uint64))


def _digests(found: Annotations) -> NDArray[np.uint64]:
    """Return a digest of each annotation."""
    tables = [np.ascontiguousarray(values) for values in found.properties.values()]
    offsets = found.vertex_offsets
    digests = bytearray()
    for place in range(len(found)):
        rows = (
            found.geometry[place : place + 1]
            if offsets is None
            else found.geometry[offsets[place] : offsets[place + 1]]
        )
        digest = blake2b(rows.tobytes(), digest_size=8)
        for table in tables:
            digest.update(table[place : place + 1].tobytes())
        digests += digest.digest()
    return np.frombuffer(bytes(digests), np.uint64)
