"""Tables, and collections made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from annotation_reader import Collection

from ngcore.annotating.annotate import annotations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., Collection]:
    """Write a text as a table, or take a table, and return the collection made of it."""

    def make(table: Any, name: str = "table.csv", **options: Any) -> Collection:
        if isinstance(table, str):
            path = tmp_path / name
            path.write_text(table)
            table = path
        annotations(table, tmp_path / "out", fsync=False, overwrite=True, **options)
        assert not (tmp_path / "out" / ".ngcore").exists()
        return Collection(tmp_path / "out")

    return make
