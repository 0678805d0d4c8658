from __future__ import annotations

from typing import TYPE_CHECKING

import damage
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def volume(tmp_path):
    """Return a function that makes a volume of one of the kinds of `damage`."""

    def make(name: str) -> Path:
        folder = tmp_path / "volume"
        damage.make_volume(folder, name)
        return folder

    return make
