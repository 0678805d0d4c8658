"""The pages around the volumes: a plain index, and the Neuroglancer client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

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

from ngcore.errors import NgcoreError
from ngcore.server.client import EVENTS_PATH, MEDIA_TYPES, PAGE_PATH, PUBLIC_VIEWER, REPORT_PATHS
from ngcore.server.index_page import index_page
from ngcore.server.states import viewer_state, viewer_url
from ngcore.server.survey import find_volumes, survey, thumbnail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from starlette.requests import Request

_EVENT_POLL_SECONDS = 0.25


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
    """

    roots: Mapping[str, Path]
    client: Path | None
    is_closing: Callable[[], bool]

    @property
    def volumes(self) -> dict[str, Path]:
        """Folders of volumes by URL path; the path is empty for one that is served at ``/``."""
        if "" in self.roots:
            return find_volumes(self.roots[""])
        return dict(self.roots)

    def viewer(self, origin: str) -> str:
        """Return the address of the Neuroglancer page for a server at `origin`."""
        return f"{origin}{PAGE_PATH}" if self.client else PUBLIC_VIEWER


def page_routes(site: Site) -> list[Route]:
    """Return the routes of a site's pages."""
    # A look at a volume may take 200 MiB, and browsers ask for all pictures of a page at once.
    one_at_a_time = CapacityLimiter(1)

    async def index(request: Request) -> Response:
        page = await to_thread.run_sync(index_page, site.volumes, _origin(request))
        return HTMLResponse(page, headers={"Cache-Control": "no-cache"})

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
        return Response(png, media_type="image/png", headers={"Cache-Control": "no-cache"})

    async def client_page(_: Request) -> Response:
        return _client_file(site, "index.html")

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
        Route(f"{PAGE_PATH}{{name}}", client_file),
        Route(EVENTS_PATH, events),
        *(Route(path, report, methods=["POST"]) for path in REPORT_PATHS),
        Route("/favicon.ico", favicon),
    ]


def _origin(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _open_url(site: Site, names: list[str], origin: str) -> str:
    volumes = site.volumes
    if not names or any(name not in volumes for name in names):
        raise HTTPException(404, "no such volume")
    try:
        layers = [survey(volumes[name], name, volume_url(origin, name)) for name in names]
    except NgcoreError as error:
        raise HTTPException(500, str(error)) from error
    return viewer_url(site.viewer(origin), viewer_state(layers))


def _picture(site: Site, name: str) -> bytes:
    volumes = site.volumes
    if name not in volumes:
        raise HTTPException(404, "no such volume")
    try:
        return thumbnail(volumes[name])
    except NgcoreError as error:
        raise HTTPException(404, str(error)) from error


def volume_url(origin: str, name: str) -> str:
    """Return the Neuroglancer source of a volume served under a URL path, which may be empty."""
    return f"precomputed://{origin}/{quote(name)}".rstrip("/")


def _client_file(site: Site, name: str) -> Response:
    path = site.client / name if site.client else None
    if path is None or path.suffix not in MEDIA_TYPES or path.name != name or not path.is_file():
        return PlainTextResponse("not found\n", 404)
    return FileResponse(
        path, media_type=MEDIA_TYPES[path.suffix], headers={"Cache-Control": "no-cache"}
    )


async def _silence(is_closing: Callable[[], bool]) -> AsyncIterator[str]:
    """Keep a stream of server-sent events open without an event: the state is in the URL."""
    yield ":\n\n"
    while not is_closing():
        await sleep(_EVENT_POLL_SECONDS)
