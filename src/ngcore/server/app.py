"""The HTTP application: files of volumes with CORS, ranges and gzip, and the pages around them.

Which pages of other sites may read the answers is said by the site's `Access`; there are no
credentials here that could leak by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount

from ngcore.errors import FormatError
from ngcore.server.client import REPORT_PATHS
from ngcore.server.content import Content, open_content
from ngcore.server.locate import FileTree, LocatedFile
from ngcore.server.negotiation import (
    ByteRange,
    RangeNotSatisfiableError,
    accepts_gzip,
    is_still,
    parse_range,
)
from ngcore.server.pages import page_routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ngcore.server.access import Access
    from ngcore.server.pages import Site

_METHODS = "GET, HEAD, OPTIONS"


def create_app(site: Site) -> ASGIApp:
    """Return the ASGI application that serves a site's volumes and pages."""
    files = _Files(site.roots)
    return _Guarded(Starlette(routes=[*page_routes(site), Mount("/", files)]), site.access)


class _Guarded:
    """Adds CORS to every response, errors included, and answers what is no GET or HEAD."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        request = Headers(scope=scope)
        allowed = self._access.allowed_origin(request)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if allowed is not None:
                    headers["Access-Control-Allow-Origin"] = allowed
                    headers["Access-Control-Expose-Headers"] = "*"
                if not self._access.is_open:
                    headers.add_vary_header("Origin")
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        app: ASGIApp
        is_report = scope["method"] == "POST" and scope["path"] in REPORT_PATHS
        if (refusal := self._access.refusal(request)) is not None:
            app = PlainTextResponse(f"{refusal}\n", 403)
        elif scope["method"] in ("GET", "HEAD") or is_report:
            app = self._app
        elif scope["method"] == "OPTIONS":
            app = _options(request, is_allowed=allowed is not None)
        else:
            app = PlainTextResponse("only GET, HEAD and OPTIONS\n", 405, {"Allow": _METHODS})
        await app(scope, receive, send_with_cors)


def _options(request: Headers, *, is_allowed: bool) -> Response:
    if not is_allowed:
        return Response(status_code=204, headers={"Allow": _METHODS})
    headers = {
        "Allow": _METHODS,
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": request.get("access-control-request-headers", "*"),
        "Access-Control-Max-Age": "86400",
        "Vary": "Access-Control-Request-Headers",
    }
    if request.get("access-control-request-private-network") == "true":
        # Browsers ask this when a public page reads from the user's own machine.
        headers["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=headers)


class _Files:
    """Answers GET and HEAD with the files of a tree; file work happens in threads."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._tree = FileTree(roots)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._response(scope["path"], scope["method"], Headers(scope=scope))
        await response(scope, receive, send)

    async def _response(self, path: str, method: str, request: Headers) -> ASGIApp:
        located = await to_thread.run_sync(self._tree.find, path)
        if located is None:
            empty = await to_thread.run_sync(self._tree.empty_manifest, path)
            if empty is not None:
                # The client would take the 404 for a failure, and never call itself ready.
                headers = {"Cache-Control": "no-cache"}
                kind = (
                    "application/octet-stream" if path.endswith(".index") else "application/json"
                )
                return Response(empty, headers=headers, media_type=kind)
            return PlainTextResponse("not found\n", 404)
        sends_gzip = located.is_gzipped and accepts_gzip(
            ",".join(request.getlist("accept-encoding")) or None
        )
        unpacks = located.is_gzipped and not sends_gzip
        try:
            content = await to_thread.run_sync(_open, located, unpacks)
        except PermissionError:
            return PlainTextResponse("the server may not read this file\n", 403)
        except OSError:
            return PlainTextResponse("not found\n", 404)
        except FormatError as error:
            return PlainTextResponse(f"{error}\n", 500)
        return _answer(content, located, method, request, sends_gzip=sends_gzip)


def _open(located: LocatedFile, unpacks: bool) -> Content:
    return open_content(located.path, unpacks=unpacks)


def _answer(
    content: Content, located: LocatedFile, method: str, request: Headers, *, sends_gzip: bool
) -> ASGIApp:
    """Return the response with a file's content, which it closes."""
    headers = _content_headers(located, sends_gzip=sends_gzip)
    headers["ETag"] = etag = content.etag(is_gzipped=sends_gzip)
    headers["Last-Modified"] = content.last_modified
    # The standard defines ranges for GET alone.
    asked = request.get("range") if method == "GET" else None
    if asked is not None and not is_still(
        request.get("if-range"), etag, content.last_modified, request.get("date")
    ):
        asked = None
    try:
        wanted = parse_range(asked, content.size)
    except RangeNotSatisfiableError:
        content.close()
        return PlainTextResponse(
            "no such range\n", 416, {"Content-Range": f"bytes */{content.size}"}
        )
    if method == "HEAD":
        content.close()
        return Response(headers={**headers, "Content-Length": str(content.size)})
    return _body(content, wanted, headers)


def _content_headers(located: LocatedFile, *, sends_gzip: bool) -> dict[str, str]:
    headers = {
        "Content-Type": located.media_type,
        "Accept-Ranges": "bytes",
        # A volume that was converted again must show at once.
        "Cache-Control": "no-cache",
    }
    if located.is_gzipped:
        headers["Vary"] = "Accept-Encoding"
    if sends_gzip:
        headers["Content-Encoding"] = "gzip"
    return headers


def _body(content: Content, wanted: ByteRange | None, headers: dict[str, str]) -> Response:
    part = wanted or ByteRange(0, content.size)
    headers = {**headers, "Content-Length": str(part.length)}
    if wanted:
        span = f"{wanted.start}-{wanted.stop - 1}"
        headers["Content-Range"] = f"bytes {span}/{content.size}"
    return _Streamed(content, part, 206 if wanted else 200, headers)


class _Streamed(StreamingResponse):
    """Sends a part of a content, and closes it whatever happens: the client may go away first."""

    def __init__(
        self, content: Content, part: ByteRange, status: int, headers: dict[str, str]
    ) -> None:
        super().__init__(_stream(content, part), status, headers)
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._content.close()


async def _stream(content: Content, part: ByteRange) -> AsyncIterator[bytes]:
    blocks = content.blocks(part)
    try:
        while block := await to_thread.run_sync(next, blocks, b""):
            yield block
    finally:
        blocks.close()
