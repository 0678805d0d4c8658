"""Count the functions of ngcore that one conversion enters, and the files that they are in.

    python scripts/entered.py SOURCE [--list] [--start]

A function is a `def` or a method, counted once however often it is called, on whatever thread;
bodies of modules and classes, lambdas and comprehensions are none. With `--start` what runs while
modules are imported counts too; without, the same conversion runs once before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import ngcore

if TYPE_CHECKING:
    from types import CodeType, FrameType

_IS_FUNCTION = 1  # inspect.CO_OPTIMIZED: modules and classes have no fast locals


def entered(source: str, *, with_start: bool = False) -> dict[str, list[str]]:
    """Return the names of functions that converting a source enters, by their file."""
    root = str(Path(ngcore.__file__).parent)
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            codes.add(frame.f_code)

    with tempfile.TemporaryDirectory() as folder:
        if not with_start:
            ngcore.convert(source, Path(folder, "before"), fsync=True)
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            ngcore.convert(source, Path(folder, "volume"), fsync=True)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    found: dict[str, list[str]] = defaultdict(list)
    for code in codes:
        if (
            code.co_filename.startswith(root)
            and code.co_flags & _IS_FUNCTION
            and not code.co_name.startswith("<")
        ):
            found[code.co_filename.removeprefix(root + "/")].append(code.co_qualname)
    return dict(sorted(found.items()))


def main() -> None:
    """Print how many there are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--start", action="store_true", help="count what runs at import")
    asked = parser.parse_args()
    found = entered(asked.source, with_start=asked.start)
    if asked.list:
        for name, functions in found.items():
            print(f"{name}  {len(functions)}  {' '.join(sorted(functions))}")
    print(f"{sum(map(len, found.values()))} functions in {len(found)} files")


if __name__ == "__main__":
    main()
