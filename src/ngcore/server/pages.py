"""The pages around the volumes: a plain index, and the Neuroglancer client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from anyio import CapacityLimiter, sleep, to_thread
from starlette.exceptions import HTTPException
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from ngcore.errors import InputNotFoundError, NgcoreError
from ngcore.previewing.picture import thumbnail
from ngcore.server.access import Access
from ngcore.server.client import EVENTS_PATH, MEDIA_TYPES, PAGE_PATH, PUBLIC_VIEWER, REPORT_PATHS
from ngcore.server.fence import fenced_store, fenced_volumes
from ngcore.server.folders import layer_of, open_volume, source_of
from ngcore.server.index_page import Entry, facts_of, index_page
from ngcore.server.layouts import fit_script
from ngcore.server.states import viewer_state, viewer_url
from ngcore.server.things import unique_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from starlette.requests import Request

    from ngcore.storage import ReadableStore

OPEN = Access()
_EVENT_POLL_SECONDS = 0.25
SCRIPT_NAME = "ngcore-page.js"
_SCRIPT = Path(__file__).with_name("page.js")
_REVALIDATE = {"Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Site:
    """What a server shows.

    Parameters
    ----------
    roots : mapping of str to path
        Folders by the first part of their URLs; one alone may have the empty name.
    client : path or None
        The folder of the built Neuroglancer client.
    is_closing : callable
        Says whether the server is stopping.
    access : Access
        Who may read.
    """

    roots: Mapping[str, Path]
    client: Path | None
    is_closing: Callable[[], bool]
    access: Access = OPEN

    def names(self) -> list[str]:
        """Return the URL paths of what is served; the path is empty for what lies at ``/``."""
        return list(fenced_volumes(self.roots))

    def store(self, name: str) -> ReadableStore:
        """Return the store of a volume by its URL path.

        Raises
        ------
        InputNotFoundError
            There is none that may be read.
        """
        return fenced_store(*self._found(name), self.title(name))

    def source(self, origin: str, name: str) -> str:
        """Return Neuroglancer's source for a volume by its URL path, at a server at `origin`."""
        return source_of(f"{origin}/{quote(name)}".rstrip("/"), self._found(name)[1])

    def _found(self, name: str) -> tuple[Path, Path]:
        found = fenced_volumes(self.roots).get(name)
        if found is None:
            raise InputNotFoundError("no such volume")
        return found

    def title(self, name: str) -> str:
        """Return what a volume is called on pages."""
        return name or self.roots[""].resolve().name

    def viewer(self, origin: str) -> str:
        """Return the address of the Neuroglancer page for a server at `origin`."""
        return f"{origin}{PAGE_PATH}" if self.client else PUBLIC_VIEWER


def page_routes(site: Site) -> list[Route]:
    """Return the routes of a site's pages."""
    # A look at a volume may take 200 MiB, and browsers ask for all pictures of a page at once.
    one_at_a_time = CapacityLimiter(1)

    async def index(request: Request) -> Response:
        page = await to_thread.run_sync(_index, site, _origin(request))
        return HTMLResponse(page, headers=_REVALIDATE)

    async def open_in_viewer(request: Request) -> Response:
        names = request.query_params.getlist("volume")
        names = list(dict.fromkeys(names))  # each is looked at once, however often it is named
        url = await to_thread.run_sync(
            _open_url, site, names, _origin(request), limiter=one_at_a_time
        )
        return RedirectResponse(url, headers={"Cache-Control": "no-store"})

    async def picture(request: Request) -> Response:
        name = request.query_params.get("volume", "")
        png = await to_thread.run_sync(_picture, site, name, limiter=one_at_a_time)
        return Response(png, media_type="image/png", headers=_REVALIDATE)

    async def client_page(_: Request) -> Response:
        return await to_thread.run_sync(_client_page, site)

    async def page_script(_: Request) -> Response:
        script = fit_script() + _SCRIPT.read_text("utf-8")
        return Response(script, media_type=MEDIA_TYPES[".js"], headers=_REVALIDATE)

    async def client_file(request: Request) -> Response:
        return _client_file(site, request.path_params["name"])

    async def events(_: Request) -> Response:
        return StreamingResponse(_silence(site.is_closing), media_type="text/event-stream")

    async def report(request: Request) -> Response:
        async for _ in request.stream():
            pass
        return JSONResponse({"g": ""})  # the state's generation, which nobody here counts

    async def favicon(_: Request) -> Response:
        return Response(status_code=204)

    return [
        Route("/", index),
        Route(f"{PAGE_PATH}open", open_in_viewer),
        Route(f"{PAGE_PATH}picture", picture),
        Route(PAGE_PATH, client_page),
        Route(f"{PAGE_PATH}{SCRIPT_NAME}", page_script),
        Route(f"{PAGE_PATH}{{name}}", client_file),
        Route(EVENTS_PATH, events),
        *(Route(path, report, methods=["POST"]) for path in REPORT_PATHS),
        Route("/favicon.ico", favicon),
    ]


def _origin(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _index(site: Site, origin: str) -> str:
    """Return the page of what is served."""
    entries = []
    for name in site.names():
        query = urlencode([("volume", name)])
        facts: dict[str, str] = {}
        fault = ""
        try:
            facts = facts_of(site.store(name))
        except NgcoreError as error:
            fault = str(error)
        entries.append(
            Entry(
                name,
                site.title(name),
                site.source(origin, name),
                f"{PAGE_PATH}open?{query}",
                f"{PAGE_PATH}picture?{query}" if "Size" in facts else None,
                facts,
                fault,
            )
        )
    shown = [("volume", entry.name) for entry in entries if not entry.fault]
    open_path = f"{PAGE_PATH}open"
    return index_page(entries, {"openPath": open_path}, f"{open_path}?{urlencode(shown)}")


def _open_url(site: Site, names: list[str], origin: str) -> str:
    known = site.names()
    if not names or any(name not in known for name in names):
        raise HTTPException(404, "no such volume")
    shown = unique_names(site.title(name).removesuffix(".zip") for name in names)
    try:
        layers = [
            layer_of(site.store(name), layer, site.source(origin, name))
            for name, layer in zip(names, shown, strict=True)
        ]
        state = viewer_state(layers)
    except NgcoreError as error:
        raise HTTPException(500, str(error)) from error
    return viewer_url(site.viewer(origin), state)


def _picture(site: Site, name: str) -> bytes:
    try:
        return thumbnail(open_volume(site.store(name)))
    except NgcoreError as error:
        raise HTTPException(404, str(error)) from error


def _client_page(site: Site) -> Response:
    """Return the client's page with our script before its own."""
    path = site.client / "index.html" if site.client else None
    if path is None:
        return PlainTextResponse("not found\n", 404)
    page = path.read_text("utf-8")
    head, tag, rest = page.partition("<head>")
    script = f'<script src="{SCRIPT_NAME}"></script>'
    return HTMLResponse(f"{head}{tag}{script}{rest}", headers=_REVALIDATE)


def _client_file(site: Site, name: str) -> Response:
    path = site.client / name if site.client else None
    if path is None or path.suffix not in MEDIA_TYPES or path.name != name or not path.is_file():
        return PlainTextResponse("not found\n", 404)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=_REVALIDATE)


async def _silence(is_closing: Callable[[], bool]) -> AsyncIterator[str]:
    """Keep a stream of server-sent events open without an event: the state is in the URL."""
    yield ":\n\n"
    while not is_closing():
        await sleep(_EVENT_POLL_SECONDS)
