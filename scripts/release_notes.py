"""Print what changed in a version, from CHANGELOG.md: `python scripts/release_notes.py v0.1.0`."""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def notes_of(version: str, changelog: str) -> str:
    """Return the part of a changelog that tells of a version.

    Raises
    ------
    SystemExit
        It has no such part, or an empty one.
    """
    parts = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    for part in parts:
        title, _, text = part.partition("\n")
        if re.fullmatch(rf"\[?{re.escape(version)}\]? - \d{{4}}-\d{{2}}-\d{{2}}", title.strip()):
            if not text.strip():
                raise SystemExit(f"release notes: CHANGELOG.md says nothing about {version}")
            return text.strip() + "\n"
    raise SystemExit(
        f"release notes: CHANGELOG.md has no heading '## {version} - YEAR-MONTH-DAY'; "
        "rename 'Unreleased' before you tag"
    )


if __name__ == "__main__":
    print(notes_of(sys.argv[1].removeprefix("v"), CHANGELOG.read_text(encoding="utf-8")), end="")
