"""Plain English, as CONTRIBUTING.md asks for it: what no page may say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOT_PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [
    *(ROOT / name for name in ROOT_PAGES),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BANNED = (
    r"\bmend(s|ed|ing)?\b",
    r"\bat the most\b",
    r"\bwhole and sound\b",
    r"\b(is|are|was) no (number|numbers)\b",
    r"\bsays? nothing of\b",
    r"\bthat (is|are|was) due\b",
    r"\bgets? a whole copy\b",
    r"\bwhat of\b",
    r"(?:^|[.:;!?)*] |\n\n|\| |- )Of (?!course)",
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_uses_none_of_the_words_that_readers_stumble_over(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"`[^`\n]*`", "", text)
    # The table that shows what not to write.
    text = re.sub(r"^\| rule \| before.*?\n\n", "", text, flags=re.DOTALL | re.MULTILINE)
    one_line = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    found = [
        f"...{one_line[max(0, hit.start() - 40) : hit.end() + 40]}..."
        for words in BANNED
        for hit in re.finditer(words, one_line)
    ]
    assert not found, found
