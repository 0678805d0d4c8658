"""A running `ngcore serve` or `ngcore view` for tests, in a process of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NGCORE = "from ngcore.cli import main; main()"


@contextlib.contextmanager
def running(
    command: str, *arguments: object, without: str | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a command that serves; yield its process and the first line of its output.

    `without` names a package that the process can't find.
    """
    hide = f"import sys; sys.modules[{without!r}] = None; " if without else ""
    process = subprocess.Popen(
        [sys.executable, "-c", hide + NGCORE, command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    with process:
        try:
            line = process.stdout.readline().strip()
            if not line:
                raise AssertionError(f"ngcore {command} printed nothing: {process.communicate()}")
            yield process, line
        finally:
            process.terminate()


@contextlib.contextmanager
def served(folder: object) -> Iterator[str]:
    """Serve a folder; yield the origin, such as ``http://127.0.0.1:41234``."""
    with running("serve", folder, "--port", 0) as (_, line):
        yield line.removeprefix("precomputed://")
