"""Which names stand for slices: known without loading what reads them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_GLOB_CHARACTERS = "*?["


def is_slice_pattern(source: str | Path) -> bool:
    """Return whether a source names no file or folder but is a glob pattern."""
    text = os.fspath(source)
    return any(character in text for character in _GLOB_CHARACTERS) and not os.path.lexists(text)
