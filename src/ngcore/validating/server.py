"""Checks the web server that a volume is on: what pages of other sites need, as Neuroglancer is.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.storage.http import HttpStore

if TYPE_CHECKING:
    from ngcore.validating.scale import Context

_ORIGIN = "https://neuroglancer-demo.appspot.com"
_LOCAL_HOSTS = ("http://127.0.0.1", "http://localhost", "http://[::1]")


def check_server(context: Context) -> None:
    """Check how the server answers; nothing for what is not a web server."""
    store = context.store
    if not isinstance(store, HttpStore):
        return
    answer = store.ask("info", {"Origin": _ORIGIN}, method="HEAD")
    _check_cors(context, "info", answer.headers.get("access-control-allow-origin"))
    if store.location.startswith("http://") and not store.location.startswith(_LOCAL_HOSTS):
        context.findings.warning(
            "server", store.location, "pages served by https can't read what is served by http"
        )


def check_ranges(context: Context, name: str) -> None:
    """Check how the server answers to a part of a shard file."""
    store = context.store
    if not isinstance(store, HttpStore):
        return
    headers = {"Origin": _ORIGIN, "Range": "bytes=1-4", "Accept-Encoding": "gzip"}
    answer = store.ask(name, headers, limit=5)
    if answer.status != 206 or len(answer.body) != 4:
        context.findings.error(
            "server",
            name,
            f"asked for a range of bytes, the server sends HTTP {answer.status} and not 206 with "
            "just these: Neuroglancer can't read shards from it",
        )
    _check_cors(context, name, answer.headers.get("access-control-allow-origin"))


def _check_cors(context: Context, name: str, allowed: str | None) -> None:
    if allowed in ("*", _ORIGIN):
        return
    if allowed is None:
        message = "the server sends no Access-Control-Allow-Origin: * (CORS), so Neuroglancer "
        message += "can't read it"
    else:
        message = f"only pages of {allowed} may read it (CORS)"
    context.findings.error("server", name, message)
