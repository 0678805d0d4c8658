"""The notes of a release are the part of the changelog that tells of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TEXT = "# Log\n\n## Unreleased\n\n## 1.2.0 - 2026-12-01\n\n### Added\n\n- A thing.\n\n## 1.1.0\n"


@pytest.fixture(scope="module")
def script() -> Any:
    path = ROOT / "scripts/release_notes.py"
    spec = importlib.util.spec_from_file_location("release_notes", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_part_of_a_version_is_its_notes(script: Any) -> None:
    assert script.notes_of("1.2.0", TEXT) == "### Added\n\n- A thing.\n"


@pytest.mark.parametrize("version", ["1.1.0", "1.2", "Unreleased"])
def test_a_version_without_a_dated_part_is_refused(script: Any, version: str) -> None:
    with pytest.raises(SystemExit, match="has no heading"):
        script.notes_of(version, TEXT)


def test_the_changelog_has_each_kind_of_change_once_for_each_version() -> None:
    for part in (ROOT / "CHANGELOG.md").read_text("utf-8").split("\n## ")[1:]:
        kinds = [line for line in part.splitlines() if line.startswith("### ")]
        assert len(kinds) == len(set(kinds)), kinds
