"""Every finding has a rule, and the page of rules is true."""

import re
from pathlib import Path

from ngcore.validating.rules import RULES, as_markdown

ROOT = Path(__file__).parents[2]


def test_the_page_of_rules_is_the_table_of_rules():
    page = ROOT / "docs" / "findings.md"
    assert page.read_text() == as_markdown()


def test_every_rule_is_used_and_has_an_id_of_small_letters():
    source = "".join(
        path.read_text()
        for room in ("validating", "repairing")
        for path in (ROOT / "src/ngcore" / room).glob("*.py")
        if path.name != "rules.py"
    )
    for name, rule in RULES.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert f'"{name}"' in source
        assert all(text.endswith(".") for text in rule)
