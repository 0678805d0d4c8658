"""`ngcore serve`."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from ngcore.cli._viewing import host_option, port_option
from ngcore.errors import InputError, InputNotFoundError
from ngcore.server.client import find_client
from ngcore.server.serve import DEFAULT_PORT, listen, require_server, run

logger = logging.getLogger(__name__)


@click.command()
@click.argument("dest", type=click.Path(path_type=Path))
@port_option(DEFAULT_PORT)
@host_option
def serve(dest: Path, port: int, host: str) -> None:
    """Serve the volume, or the folder of volumes, DEST to Neuroglancer.

    The first line printed is the source to paste into Neuroglancer; of a folder of volumes each
    lies under its own name. The page at the same address lists the volumes. Serves until
    stopped.

    Example: ngcore serve out/brain --port 9000
    """
    require_server()
    if not dest.exists():
        raise InputNotFoundError(f"no folder {str(dest)!r}; pass one that ngcore has written")
    if not dest.is_dir():
        raise InputError(f"{str(dest)!r} is not a folder; pass the folder that holds the volume")

    from ngcore.server.app import create_app
    from ngcore.server.pages import Site
    from ngcore.server.survey import find_volumes

    if not find_volumes(dest):
        logger.warning(
            "no volume in %r yet: neither it nor a folder in it has an info file", str(dest)
        )
    with listen(host, port) as (listener, origin):
        click.echo(f"precomputed://{origin}")
        run(
            lambda is_closing: create_app(Site({"": dest}, find_client(), is_closing)),
            listener,
        )


commands = [serve]
