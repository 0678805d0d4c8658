"""`view`, `serve` and `link` as functions: what the commands of these names call."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import threading
import webbrowser
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ngcore.errors import InputError, InputNotFoundError, NgcoreError, StorageError
from ngcore.server.access import for_origins, own_page_only
from ngcore.server.client import PUBLIC_VIEWER, find_client
from ngcore.server.folders import check_layer_info, find_volumes
from ngcore.server.look import (
    layers_of,
    make_ready,
    served_roots,
    served_url,
    unwatched,
    workshop,
)
from ngcore.server.published import check_published, checked_base, published_urls
from ngcore.server.serve import DEFAULT_HOST, DEFAULT_PORT, listen, require_server, run
from ngcore.server.states import PAGE_MEMBER, viewer_state, viewer_url
from ngcore.server.things import parse_thing
from ngcore.storage import open_store, split_place
from ngcore.transaction.output_file import check_output_file, write_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ngcore.server.layouts import LayoutName
    from ngcore.server.look import Watch
    from ngcore.server.states import Space, State

    PathLike = str | os.PathLike[str]

logger = logging.getLogger(__name__)

_MOST_LOOKED_AT = 64


def view(
    things: PathLike | Sequence[PathLike],
    *,
    browser: bool = True,
    keep: PathLike | None = None,
    layout: LayoutName | None = None,
    space: Space = "world",
    port: int = 0,
    host: str = DEFAULT_HOST,
    ready: Callable[[str], object] = print,
    watch: Watch = unwatched,
) -> None:
    """Show things together in Neuroglancer, until Ctrl-C.

    Parameters
    ----------
    things : path, or sequence of paths
        Volumes and whatever else is precomputed, at paths or URLs; whatever `convert` reads,
        surfaces, tables of points, streamlines and SWC, which are converted on the way. Settings
        follow a colon: ``"zmap.nii.gz:min=2.3"``.
    browser : bool
        Open the page in a browser.
    keep : path, optional
        Keep what is converted in this folder, and reuse what has not changed; default a temporary
        folder, which goes at the end.
    layout : {"anatomical", "native"}, optional
        Panels; default anatomical where there is a world.
    space : {"world", "native"}
        native: leave `transform.json` out.
    port : int
        0 takes a free one.
    host : str
        Address to listen on.
    ready : callable
        Called with the URL of the page when it is served.
    watch : callable, optional
        Told of each thing that is converted.

    Raises
    ------
    NgcoreError
        A thing is not there or can't be shown, or the port is taken.
    MissingExtraError
        The extra `view` is not installed.
    """
    require_server()

    from ngcore.server.app import create_app
    from ngcore.server.pages import Site

    client = find_client()
    if client is None:
        logger.warning(
            "the neuroglancer package is not installed, so the public viewer shows the volumes; "
            'pip install "ngcore-neuroglancer[view]" to have one that works offline'
        )
    access = own_page_only(host, None if client else PUBLIC_VIEWER)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workshop(keep))
        shown = make_ready(_sequence(things), folder, watch)
        listener, origin = stack.enter_context(listen(host, port))

        def url_of(path: Path, root: str) -> str:
            return served_url(origin, path, root)

        state = viewer_state(layers_of(shown, url_of), space=space, layout=layout)
        roots = served_roots(shown)
        page = viewer_url(Site(roots, client, lambda: False, access).viewer(origin), state)
        with contextlib.suppress(KeyboardInterrupt):  # the normal end of what serves
            ready(page)
            logger.info("Ctrl-C stops it")
            if browser:
                # Some browsers hold the call until they are closed.
                threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
            run(lambda closing: create_app(Site(roots, client, closing, access)), listener)


def serve(
    dest: PathLike,
    *,
    port: int = DEFAULT_PORT,
    host: str = DEFAULT_HOST,
    allow_origin: Sequence[str] = (),
    ready: Callable[[str], object] = print,
) -> None:
    """Serve a volume, or a folder of volumes, to Neuroglancer, until Ctrl-C.

    Parameters
    ----------
    dest : path
        A folder, or the zip file that `pack` wrote.
    port : int
        0 takes a free one.
    host : str
        Address to listen on.
    allow_origin : sequence of str
        Web pages that may read, such as ``https://example.org``; default any.
    ready : callable
        Called with the source for Neuroglancer when it is served.

    Raises
    ------
    NgcoreError
        There is no such folder, or the port is taken.
    MissingExtraError
        The extra `view` is not installed.
    """
    require_server()

    from ngcore.server.app import create_app
    from ngcore.server.pages import Site

    folder, name = Path(dest), os.fspath(dest)
    if not folder.exists():
        raise InputNotFoundError(f"no folder {name!r}; pass one that ngcore has written")
    is_zip = folder.is_file() and folder.suffix.lower() == ".zip"
    if not folder.is_dir() and not is_zip:
        raise InputError(f"{name!r} is not a folder; pass the folder that holds the volume")
    access = for_origins(allow_origin)
    if is_zip:
        open_store(name)  # or it raises what is wrong with it
    try:
        volumes = find_volumes(folder)
    except StorageError as error:
        raise InputError(str(error)) from error
    roots = {f"{folder.stem}.zip" if is_zip else "": folder}
    with listen(host, port) as (listener, origin):
        if not volumes:
            logger.warning(
                "no volume in %r yet: neither it nor a folder in it has an info file; "
                "pass one that ngcore has written, or write one there now",
                name,
            )
        _warn_of_broken(volumes)
        with contextlib.suppress(KeyboardInterrupt):  # the normal end of what serves
            ready(served_url(origin, folder, folder.stem) if is_zip else f"precomputed://{origin}")
            readers = "pages of the origins named" if allow_origin else "any web page"
            logger.info("%s lists it; %s may read it; Ctrl-C stops it", origin, readers)
            run(lambda closing: create_app(Site(roots, find_client(), closing, access)), listener)


def _warn_of_broken(volumes: Mapping[str, str]) -> None:
    """Say which `info` the client will refuse; a folder of very many is not looked through."""
    for place in islice(volumes.values(), _MOST_LOOKED_AT):
        try:
            check_layer_info(open_store(place))
        except NgcoreError as error:
            logger.warning("%s; Neuroglancer will refuse it; see ngcore validate", error)


def link(
    things: PathLike | Sequence[PathLike],
    *,
    url: str,
    viewer: str = PUBLIC_VIEWER,
    layout: LayoutName | None = None,
    space: Space = "world",
    state: PathLike | None = None,
    overwrite: bool = False,
) -> str:
    """Return the Neuroglancer URL that shows things which are published.

    Parameters
    ----------
    things : path, or sequence of paths
        Volumes here, with settings as `view` takes them.
    url : str
        Where they are published: one itself, several under the names of their folders.
    viewer : str
        The Neuroglancer page.
    layout, space
        As for `view`.
    state : path, optional
        Write the state to this file, to be published at `url` too; the short URL that loads it
        from there is returned. Default: the URL holds the state itself.
    overwrite : bool
        Replace the file.

    Raises
    ------
    InputError
        A thing is not a volume, or a URL has no scheme.
    DestinationError
        The file already exists, or can't be written.
    """
    _check_viewer(viewer)
    if state is not None:
        check_output_file(state, overwrite=overwrite)
    found = link_state(things, url=url, layout=layout, space=space)
    if state is None:
        return viewer_url(viewer, found)
    text = json.dumps(found, indent=2)
    write_output(state, f"{text}\n".encode())
    return f"{viewer}#!{checked_base(url)}/{quote(split_place(state)[1])}"


def link_state(
    things: PathLike | Sequence[PathLike],
    *,
    url: str,
    layout: LayoutName | None = None,
    space: Space = "world",
) -> State:
    """Return the state that `link` makes a URL of."""
    base = checked_base(url)
    named = _sequence(things)
    parsed = [parse_thing(thing) for thing in named]
    for thing in parsed:
        check_published(thing)
    with tempfile.TemporaryDirectory(prefix="ngcore-link-") as folder:
        shown = make_ready(named, Path(folder))
        places = [thing.path for thing in parsed if not thing.is_remote]
        layers = layers_of(shown, published_urls(places, base))
    state = viewer_state(layers, space=space, layout=layout)
    del state[PAGE_MEMBER]  # what our own page alone reads
    return state


def _check_viewer(viewer: str) -> None:
    if "://" not in viewer:
        raise InputError(f"--viewer {viewer!r} has no scheme; pass a URL such as {PUBLIC_VIEWER}")


def _sequence(things: PathLike | Sequence[PathLike]) -> list[PathLike]:
    if isinstance(things, str | os.PathLike):
        return [things]
    return list(things)
