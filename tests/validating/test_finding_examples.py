"""The page of every finding shows what `validate` really prints of a volume that has it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from ngcore.validating.rules import RULES

SCRIPT = Path(__file__).parents[2] / "scripts/finding_examples.py"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permissions like these")
def test_every_finding_has_an_example_that_shows_it() -> None:
    spec = importlib.util.spec_from_file_location("finding_examples", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shown = module.examples()
    assert set(shown) == set(RULES)
    for rule, (text, kinds) in shown.items():
        assert rule in kinds, text
        done, _, printed = text.partition("``` {.text .wrap}\n$ ngcore ")
        assert done.strip().endswith("."), text
        assert any(
            line.startswith(("error: ", "warning: ", "not fixed: "))
            for line in printed.splitlines()
        )
