"""Where pieces of labels lie: by label, in the order of their files, in few bytes."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.support.thorough import amount

from ngcore.meshing.pieces import Pieces, find_pieces, get_pieces, merged, put_pieces
from ngcore.storage import LocalStore

_LABELS = st.integers(1, 2**64 - 1)
_FILES = st.lists(
    st.dictionaries(_LABELS, st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=5),
    max_size=5,
)
_KEPT = 120
"""Bytes of a label in a file, at most, while they are sorted."""


@given(_FILES)
def test_pieces_are_found_by_label_in_the_order_of_their_files(tmp_path_factory, files):
    store = LocalStore(tmp_path_factory.mktemp("pieces"))
    parts = []
    for number, file in enumerate(files):
        rows = [(label, *both) for label, both in file.items()]
        parts.append(put_pieces(store, str(number), rows))
        again = find_pieces(store, str(number))
        assert again is not None
        assert again.labels.tolist() == list(file)
        assert again.ends.tolist() == parts[-1].ends.tolist()
    found = merged(parts)
    expected = [
        (label, *file[label])
        for label in sorted({label for file in files for label in file})
        for file in files
        if label in file
    ]
    assert [
        (label, *get_pieces(store, found.place(index)))
        for index, label in enumerate(found.labels.tolist())
    ] == expected
    odd = found.labels % 2 == 1
    chosen = found.chosen(odd)
    assert [chosen.place(index) for index in range(len(chosen.labels))] == [
        found.place(index) for index in np.flatnonzero(odd)
    ]


def test_a_label_takes_few_bytes():
    count, files = 2000, amount(50, 500)
    ends = np.arange(3 * count, dtype=np.uint64).reshape(-1, 3)
    tracemalloc.start()
    parts = [
        Pieces(
            (f"blocks/{number}",),
            np.arange(count, dtype=np.uint64) + np.uint64(number * count),
            np.zeros(count, np.uint32),
            ends.copy(),
        )
        for number in range(files)
    ]
    found = merged(parts)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found.labels) == count * files
    assert most / (count * files) < _KEPT
