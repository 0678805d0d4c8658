"""The Neuroglancer client that comes built with the `neuroglancer` package.

The package holds a flat folder of files whose names change with every release. Only its place is
needed, so the package is found but never imported. The client refuses to start unless its page
lies at ``/v/TOKEN/``.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

TOKEN = "ngcore"
PAGE_PATH = f"/v/{TOKEN}/"
EVENTS_PATH = f"/events/{TOKEN}"
REPORT_PATHS = (f"/state/{TOKEN}", f"/action/{TOKEN}")
"""Where the client posts every change of its state, for a Python program that would follow it."""
PUBLIC_VIEWER = "https://neuroglancer-demo.appspot.com/"

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".map": "application/json",
    ".wasm": "application/wasm",
}


def find_client() -> Path | None:
    """Return the folder of the built client, or None where it is not installed."""
    spec = find_spec("neuroglancer")
    for package in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(package) / "static" / "client"
        if (folder / "index.html").is_file():
            return folder
    return None
