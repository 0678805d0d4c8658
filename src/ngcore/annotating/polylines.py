"""Vertices of a table, grouped to polylines: sorted outside of memory, whatever their order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.annotating.blocks import Block
from ngcore.annotating.sorting import Entries, Sorter, joined
from ngcore.precomputed.annotation_records import Records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ngcore.annotating.columns import SpooledTable
    from ngcore.storage.spool import Place, Spool

_WORDS = 5
"""Of a vertex while it is sorted: its place, and the mark of its row."""


class GroupedBlocks:
    """One polyline for each group of a table; see `Blocks`.

    Polylines are in the order of their first rows, whose other columns count for all.

    Parameters
    ----------
    rows : SpooledTable
        Of vertices, with groups.
    spool : Spool
    memory : int, in bytes
        About what sorting may take.

    Raises
    ------
    InputError
        A group has one vertex.
    """

    def __init__(self, rows: SpooledTable, spool: Spool, memory: int) -> None:
        self._rows = rows
        self._spool = spool
        self._blocks: list[tuple[Place, Place, Place]] = []
        self.count = 0
        self._varying = 0
        for block in _whole_groups(_by_first_row(rows, spool, memory)):
            self._keep(block)
        if self._varying:
            rows.warn_of_others(self._varying)

    def _keep(self, vertices: Entries) -> None:
        firsts = vertices.keys[0]
        starts = np.flatnonzero(np.append(True, firsts[1:] != firsts[:-1]))
        offsets = np.append(starts, len(firsts))
        single = np.flatnonzero(np.diff(offsets) < 2)
        if single.size:
            self._rows.refuse_row(
                int(firsts[starts[single[0]]]),
                "the polyline of this row has one vertex; add a second one, or leave the row out",
            )
        table = vertices.records.words.reshape(-1, _WORDS)
        marks = np.ascontiguousarray(table[:, 3:]).view(np.uint64)[:, 0]
        is_other = marks != np.repeat(marks[starts], np.diff(offsets))
        self._varying += int(np.logical_or.reduceat(is_other, starts).sum())
        self._blocks.append(
            (
                self._spool.put(firsts[starts].tobytes()),
                self._spool.put(offsets.astype(np.int64).tobytes()),
                self._spool.put(table[:, :3].tobytes()),
            )
        )
        self.count += len(starts)

    def shapes(self) -> Iterator[Block]:
        """Yield ids and geometry."""
        return self._all(is_full=False)

    def full(self) -> Iterator[Block]:
        """Yield whole blocks."""
        return self._all(is_full=True)

    def _all(self, *, is_full: bool) -> Iterator[Block]:
        first = 1
        with_ids = is_full or self._rows.has_ids
        for firsts, offsets, words in self._blocks:
            rows = np.frombuffer(self._spool.get(firsts), np.uint64).astype(np.int64)
            starts = np.frombuffer(self._spool.get(offsets), np.int64)
            geometry = np.frombuffer(self._spool.get(words), np.float32).reshape(-1, 3)
            ids = np.arange(first, first + len(rows), dtype=np.uint64)
            first += len(rows)
            values: dict[str, NDArray[Any]] = {}
            relations: Any = ()
            if with_ids:
                own, values, relations = self._rows.take(rows, is_full=is_full)
                ids = ids if own is None else own
            yield Block(ids, geometry, starts, values, relations)


def _by_first_row(rows: SpooledTable, spool: Spool, memory: int) -> Iterator[Entries]:
    """Yield the vertices, sorted by the first row of their group and their own row."""
    bits = max(1, rows.count.bit_length())
    groups = Sorter(spool, memory // 2, (64,))
    first = 0
    for number, count in enumerate(rows.block_sizes):
        arrays = rows.arrays(number)
        places = np.arange(first, first + count, dtype=np.uint64)
        words = np.empty((count, _WORDS), np.uint32)
        words[:, :3] = np.ascontiguousarray(arrays["geometry"], np.float32).view(np.uint32)
        words[:, 3:] = rows.marks(arrays)[:, np.newaxis].view(np.uint32)
        records = Records(words.reshape(-1), np.arange(count + 1, dtype=np.int64) * _WORDS)
        groups.add(Entries((arrays["group"], places), places, records))
        first += count
    ordered = Sorter(spool, memory // 2, (bits,))
    last_group, last_first = None, 0
    for batch in groups.batches():
        group, row = batch.keys
        is_new = np.append(True, group[1:] != group[:-1])
        is_new[0] = last_group is None or int(group[0]) != last_group
        firsts = np.where(is_new, row, 0)
        if not is_new[0]:
            firsts[0] = last_first
        # The first row of a group goes on until the next one begins.
        begin = np.maximum.accumulate(np.where(is_new, np.arange(len(row)), 0))
        firsts = firsts[begin]
        last_group, last_first = int(group[-1]), int(firsts[-1])
        ordered.add(Entries((firsts, row), row, batch.records))
    yield from ordered.batches()


def _whole_groups(batches: Iterator[Entries]) -> Iterator[Entries]:
    """Yield batches that end with the end of a group."""
    waiting: list[Entries] = []
    for batch in batches:
        firsts = batch.keys[0]
        cut = int(np.searchsorted(firsts, firsts[-1]))
        if waiting and waiting[-1].keys[0][-1] != firsts[0]:
            yield joined(waiting)
            waiting = []
        if cut:
            yield joined([*waiting, batch.part(0, cut)])
            waiting = []
        waiting.append(batch.part(cut, len(firsts)))
    if waiting:
        yield joined(waiting)
