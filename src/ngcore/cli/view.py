"""`ngcore view`."""

from __future__ import annotations

import contextlib
import logging
import threading
import webbrowser
from typing import TYPE_CHECKING

import click

from ngcore.cli._progress import progress_bar
from ngcore.cli._viewing import (
    THING,
    host_option,
    layout_option,
    port_option,
    space_option,
    until_stopped,
)
from ngcore.server.client import PUBLIC_VIEWER, find_client
from ngcore.server.serve import listen, require_server, run

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.server.layouts import LayoutName
    from ngcore.server.states import Space

logger = logging.getLogger(__name__)


@click.command()
@click.argument("things", metavar="THING...", nargs=-1, required=True, type=THING)
@click.option(
    "--browser/--no-browser", default=True, show_default=True, help="Open the page in a browser."
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Keep what is converted in DIR, and reuse what has not changed.  [default: a temporary "
    "folder]",
)
@layout_option
@space_option
@port_option(0)
@host_option
def view(
    things: tuple[str, ...],
    browser: bool,
    keep: str | None,
    layout: LayoutName | None,
    space: Space,
    port: int,
    host: str,
) -> None:
    """Show THING... together in Neuroglancer.

    A THING is a volume that ngcore wrote, a URL of one, or a file: whatever `convert` reads,
    surfaces, tables of points, streamlines, SWC. Files are converted on the way. Settings follow a
    colon:
    THING:colormap=grey|hot|cold-hot|viridis|turbo|magma|red|#ff8000, min=V, max=V, opacity=0..1,
    visible=0|1, labels=TABLE, color=NAME, type=image|segmentation, volume=N.

    The first line printed is the address of the page. Works offline, with the Neuroglancer that
    comes with the neuroglancer package. Serves until stopped with Ctrl-C.

    \b
    Example:
      ngcore view sub-01_T1w.nii.gz zmap.nii.gz:min=2.3 lh.pial.gii
    """
    require_server()

    from ngcore.server.access import own_page_only
    from ngcore.server.app import create_app
    from ngcore.server.look import layers_of, make_ready, served_roots, served_url, workshop
    from ngcore.server.pages import Site
    from ngcore.server.states import viewer_state, viewer_url

    client = find_client()
    if client is None:
        logger.warning(
            "the neuroglancer package is not installed, so the public viewer shows the volumes; "
            'pip install "ngcore-neuroglancer[view]" to have one that works offline'
        )
    access = own_page_only(host, None if client else PUBLIC_VIEWER)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workshop(keep))
        shown = make_ready(things, folder, progress_bar)
        listener, origin = stack.enter_context(listen(host, port))

        def url_of(path: Path, root: str) -> str:
            return served_url(origin, path, root)

        state = viewer_state(layers_of(shown, url_of), space=space, layout=layout)
        roots = served_roots(shown)
        page = viewer_url(Site(roots, client, lambda: False, access).viewer(origin), state)
        with until_stopped():
            click.echo(page)
            logger.info("Ctrl-C stops it")
            if browser:
                # Some browsers hold the call until they are closed.
                threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
            run(lambda closing: create_app(Site(roots, client, closing, access)), listener)


commands = [view]
