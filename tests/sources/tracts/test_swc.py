"""SWC with its habits, and what is refused."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ngcore.errors import FormatError
from ngcore.sources.tracts.swc import read_swc


def read(tmp_path, text):
    path = tmp_path / "a.swc"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_swc(path)


def test_nodes_in_any_order_with_comments_and_several_roots(tmp_path):
    text = (
        b"\xef\xbb\xbf# caf\xe9\r\n\r\n 10\t3 1 2 3 0.5 7 # child first\r\n7 1 0 0 0 2 -1\r\n"
        b"12,2,5,5,5,1,-1,extra\n"
    )
    found = read(tmp_path, text)
    assert found.points.tolist() == [[1, 2, 3], [0, 0, 0], [5, 5, 5]]
    assert found.radii.tolist() == [0.5, 2, 1]
    assert found.types.tolist() == [3, 1, 2]
    assert found.edges.tolist() == [[0, 1]]


def test_parent_0_is_a_root_only_where_no_node_has_the_id_0(tmp_path):
    assert read(tmp_path, "1 1 0 0 0 1 0\n2 1 0 0 1 1 1\n").edges.tolist() == [[1, 0]]
    zero = read(tmp_path, "0 1 0 0 0 1 -1\n1 1 0 0 1 1 0\n")
    assert zero.edges.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no nodes"),
        ("# only\n", "holds no nodes"),
        ("1 1 0 0 0 1\n", "line 1: '1 1 0 0 0 1' is not a node"),
        ("\n1 1 0 0 x 1 -1\n", "line 2: '1 1 0 0 x 1 -1' is not a node"),
        ("1 1 0 0 nan 1 -1\n", "line 1: z is nan"),
        ("1.5 1 0 0 0 1 -1\n", "line 1: the id is 1.5; it must be a whole number"),
        ("1 1 0 0 0 1 -1\n1 1 0 0 0 1 -1\n", "line 2: the id 1 occurs twice, first in line 1"),
        ("1 1 0 0 0 1 -1\n2 1 0 0 0 1 9\n", "line 2: the parent 9 is not in the file"),
        ("1 1 0,5 0,5 0 1 -1\n", "line 1: '1 1 0,5 0,5 0 1 -1' has decimal commas"),
        ("-5 1 0 0 0 1 -1\n2 1 0 0 0 1 -5\n", "line 1: the id is -5; ids are 0 or more"),
        ("1 1 0 0 0 1 1\n", "line 1: the parents of this node form a ring"),
        ("1 1 0 0 0 1 -1\n2 1 0 0 0 1 4\n3 1 0 0 0 1 2\n4 1 0 0 0 1 3\n", "line 2: the parents"),
    ],
)
def test_broken_files_are_refused_with_their_line(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("1, 1, 0.5, 0, 0, 1, -1\n", None),
        ("1 1 0 0 0 1 -1 4,5\n", None),
        ("1,1,0,0,0,1,-1 a b c\n", None),
        ("1,1,0,0,0,1,-1 a b c d e f\n", None),
        ("\ufeff#OFFSET 9 0 0\n1 1 0 0 0 1 -1\n", "its comment OFFSET 9 0 0 is not applied"),
        ("# OFFSET\n# 9 0\n1 1 0 0 0 1 -1\n", None),
        ("1 1 0 0 0 -1 -1\n", ": 1 node has a negative radius"),
        ("# SCALE 1.0 1.0 1.0\n# OFFSET 0 0 0\n# scale was not known\n1 1 0 0 0 1 -1\n", None),
        ("# SCALE 0.5 0.5 2\n1 1 0 0 0 1 -1\n", "its comment SCALE 0.5 0.5 2 is not applied"),
        ("# OFFSET 9 0 0\r\n1 1 0 0 0 1 -1\r\n", "its comment OFFSET 9 0 0 is not applied"),
        ("1 1 0 0 0 -1 -1\n2 1 0 0 0 -1 1\n", "2 nodes have a negative radius"),
    ],
)
def test_what_programs_do_not_agree_on_is_warned_of(tmp_path, caplog, text, warning):
    read(tmp_path, text)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (warning is not None)
    assert warning is None or warning in caplog.text


def test_blank_lines_take_no_time_to_speak_of(tmp_path):
    start = time.process_time()
    read(tmp_path, "\n" * 30_000 + "# OFFSET" + " " * 30_000 + "x\n1 1 0 0 0 1 -1\n")
    assert time.process_time() - start < 2


def test_long_chains_are_no_rings(tmp_path):
    count = 5000
    ids = np.random.default_rng(0).permutation(count) + 1
    parents = np.concatenate([[-1], ids[:-1]])
    lines = [f"{i} 0 0 0 0 1 {p}" for i, p in zip(ids, parents, strict=True)]
    assert len(read(tmp_path, "\n".join(lines)).edges) == count - 1
