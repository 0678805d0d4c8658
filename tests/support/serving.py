"""A running `ngcore serve` or `ngcore view` for tests, in a process of its own."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


class _Bare(http.server.SimpleHTTPRequestHandler):
    """Files as they lie."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Plain(_Bare):
    """Files as they lie, with CORS and Range."""

    def end_headers(self) -> None:
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "Range")
        super().end_headers()

    def do_OPTIONS(self) -> None:
        self.send_response(204)
        self.end_headers()

    def send_head(self) -> Any:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        file = super().send_head() if wanted is None else None
        if wanted is None:
            return file
        first, last = int(wanted[1]), int(wanted[2])
        with Path(self.translate_path(self.path)).open("rb") as stored:
            stored.seek(first)
            part = stored.read(last + 1 - first)
            size = stored.seek(0, 2)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{size}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        return io.BytesIO(part)


def plainly_served(folder: object) -> contextlib.AbstractContextManager[str]:
    """Serve a folder as any web server or bucket does, with CORS and Range; yield the origin."""
    return served_by(Plain, folder)


def barely_served(folder: object) -> contextlib.AbstractContextManager[str]:
    """Serve a folder by Python's own server: no CORS, no ranges, no Content-Encoding."""
    return served_by(_Bare, folder)


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # with 5, whoever connects a sixth time waits for a second


@contextlib.contextmanager
def served_by(
    handler_class: type[http.server.SimpleHTTPRequestHandler], folder: object
) -> Iterator[str]:
    """Serve a folder by handlers of a class, in this process; yield the origin."""
    handler = functools.partial(handler_class, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
