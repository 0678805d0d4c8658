"""The table of docs/faults.md names tests that are there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_promise_names_a_test_that_is_there():
    text = (TESTS.parent / "docs" / "faults.md").read_text()
    promises = text.partition("## What is promised")[2].partition("## What is not")[0]
    rows = [line.split("|") for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row[3])
        assert named, row
        for file, name in named:
            assert f"def {name}" in (TESTS / file).read_text()
