"""Plain English, as CONTRIBUTING.md asks for it: what no page, message or help may say."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

import ngcore

ROOT = Path(__file__).parents[1]
ROOT_PAGES = ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [
    *(ROOT / name for name in ROOT_PAGES),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PACKAGE = ROOT / "src/ngcore"
ROOMS = sorted(path for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir())
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
    r"\b(is|are|was) due\b",
    r"\bpassed over\b",
    r"\bgets? (it|the file) again\b",
    r"\bgives? each \w+ one of its own\b",
    r"\bsomething else than\b",
    r"\b(exists|exist) already\b",
    r"\blistens? at\b",
    r"\bgets? a valid copy\b",
    r"\bis no (id|text|name|path|place)\b",
    r"\bwhen nobody\b",
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


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_no_message_or_help_uses_them(room: Path) -> None:
    files = sorted(room.rglob("*.py")) if room.is_dir() else [room]
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text}"
        for file in files
        for line, text in strings_of(file)
        if any(re.search(words, text) for words in BANNED)
    ]
    assert not found, found


@pytest.mark.parametrize("name", sorted(set(ngcore.__all__) - {"__version__"}))
def test_no_public_docstring_uses_them(name: str) -> None:
    text = inspect.getdoc(getattr(ngcore, name)) or ""
    assert not [words for words in BANNED if re.search(words, text)], text


def strings_of(file: Path) -> list[tuple[int, str]]:
    """Return the strings of a module that may be shown; of docstrings, those that are help."""
    found = []
    tree = ast.parse(file.read_text("utf-8"))
    hidden: set[int] = set()
    if file.parent.name != "cli":
        hidden = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            found.append((node.lineno, "".join(map(str, parts))))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append((node.lineno, node.value))
    return [(line, text) for line, text in found if len(text.split()) > 2]
