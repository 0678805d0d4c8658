"""Sorting in bounded memory: the right order, and no more at once however many entries come."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from thorough import amount

from ngcore.annotating import sorting
from ngcore.annotating.sorting import Entries, Sorter
from ngcore.precomputed.annotation_records import Records, offsets_of
from ngcore.storage.spool import Spool


def entries(first: int, count: int, order: str) -> Entries:
    """Return entries whose ids are `first` on, with records of one to three words of the id."""
    ids = np.arange(first, first + count, dtype=np.uint64)
    lengths = (ids % np.uint64(3)).astype(np.int64) + 1
    key = {
        "random": ids * np.uint64(0x9E3779B97F4A7C15),
        "increasing": ids,
        "decreasing": np.uint64(1 << 40) - ids,
        "few": ids % np.uint64(3),
    }[order]
    records = Records(np.repeat(ids.astype(np.uint32), lengths), offsets_of(lengths))
    return Entries((key % np.uint64(64), key, ids), ids, records)


@pytest.mark.parametrize("order", ["random", "increasing", "decreasing", "few"])
def test_many_runs_are_merged_in_order(tmp_path, monkeypatch, order):
    monkeypatch.setattr(sorting, "_PAGE_BYTES", 1 << 10)
    monkeypatch.setattr(sorting, "_LEAST_RUN_BYTES", 1 << 14)
    monkeypatch.setattr(sorting, "_BATCH_BYTES", 1 << 13)
    spool = Spool(tmp_path)
    sorter = Sorter(spool, 1 << 12, (6, 64))
    parts = [entries(1 + 500 * n, 500, order) for n in range(40)]
    for part in parts:
        sorter.add(part)
    batches = list(sorter.batches())
    ids = np.concatenate([batch.ids for batch in batches])
    keys = [np.concatenate([part.keys[n] for part in parts]) for n in range(3)]
    np.testing.assert_array_equal(ids, np.lexsort(keys[::-1]).astype(np.uint64) + np.uint64(1))
    for batch in batches:
        np.testing.assert_array_equal(
            batch.records.words, np.repeat(batch.ids, batch.records.lengths)
        )
    assert len(batches) > 20
    assert spool.size < 2 * sum(part.nbytes for part in parts)
    spool.close()


def peak_of(spool: Spool, count: int) -> int:
    sorter = Sorter(spool, 2 << 20, (6, 64))
    tracemalloc.start()
    for first in range(0, count, 10_000):
        sorter.add(entries(first, 10_000, "random"))
    last: tuple[int, ...] = (-1,)
    for batch in sorter.batches():
        found = tuple(int(key[0]) for key in batch.keys)
        assert last < found
        last = tuple(int(key[-1]) for key in batch.keys)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_entries(tmp_path):
    spool = Spool(tmp_path)
    small = peak_of(spool, 60_000)
    large = peak_of(spool, amount(300_000, 10_000_000))
    assert small < 5 << 20
    assert large < 1.15 * small
    spool.close()
