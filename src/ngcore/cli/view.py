"""`ngcore view`."""

from __future__ import annotations

import logging
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ngcore.cli._viewing import host_option, port_option, space_option
from ngcore.server.client import find_client
from ngcore.server.serve import listen, require_server, run

if TYPE_CHECKING:
    from ngcore.server.states import Space

logger = logging.getLogger(__name__)


@click.command()
@click.argument("dests", metavar="DEST...", nargs=-1, required=True)
@click.option(
    "--browser/--no-browser", default=True, show_default=True, help="Open the page in a browser."
)
@port_option(0)
@host_option
@space_option
def view(dests: tuple[str, ...], browser: bool, port: int, host: str, space: Space) -> None:
    """Show the volumes DEST... together in Neuroglancer.

    The first line printed is the address of the page. Works offline, with the Neuroglancer that
    comes with the neuroglancer package. Serves until stopped.

    Example: ngcore view out/brain out/labels
    """
    require_server()

    from ngcore.server.app import create_app
    from ngcore.server.pages import Site, volume_url
    from ngcore.server.states import viewer_url
    from ngcore.server.view import name_volumes, state_of

    client = find_client()
    if client is None:
        logger.warning(
            "the neuroglancer package is not installed, so the public viewer shows the volumes; "
            'pip install "ngcore-neuroglancer[view]" to have one that works offline'
        )
    volumes = name_volumes([Path(dest) for dest in dests])
    with listen(host, port) as (listener, origin):
        urls = {name: volume_url(origin, name) for name in volumes}
        state = state_of(volumes, urls, space=space)

        page = viewer_url(Site(volumes, client, lambda: False).viewer(origin), state)
        click.echo(page)
        if browser:
            # Some browsers hold the call until they are closed.
            threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
        run(lambda is_closing: create_app(Site(volumes, client, is_closing)), listener)


commands = [view]
