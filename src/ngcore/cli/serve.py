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
@click.argument("dest")
@port_option(DEFAULT_PORT)
@host_option
def serve(dest: str, port: int, host: str) -> None:
    """Serve the volume, or the folder of volumes, DEST to Neuroglancer.

    The first line printed is the source to paste into Neuroglancer; of a folder of volumes each
    lies under its own name. The page at the same address lists the volumes. Serves until
    stopped.

    Example: ngcore serve out/brain --port 9000
    """
    require_server()
    folder = Path(dest)
    if not folder.exists():
        raise InputNotFoundError(f"no folder {dest!r}; pass one that ngcore has written")
    if not folder.is_dir():
        raise InputError(f"{dest!r} is not a folder; pass the folder that holds the volume")

    from ngcore.server.app import create_app
    from ngcore.server.pages import Site
    from ngcore.server.survey import find_volumes

    try:
        has_volume = bool(find_volumes(folder))
    except OSError as error:
        raise InputError(
            f"{dest!r} can't be listed: {error.strerror}; check its access rights"
        ) from error

    with listen(host, port) as (listener, origin):
        if not has_volume:
            logger.warning(
                "no volume in %r yet: neither it nor a folder in it has an info file; "
                "pass one that ngcore has written, or write one there now",
                dest,
            )
        click.echo(f"precomputed://{origin}")
        run(
            lambda is_closing: create_app(Site({"": folder}, find_client(), is_closing)),
            listener,
        )


commands = [serve]
