"""`ngcore serve`."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from ngcore.cli._viewing import host_option, port_option, until_stopped
from ngcore.errors import InputError, InputNotFoundError
from ngcore.server.client import find_client
from ngcore.server.serve import DEFAULT_PORT, listen, require_server, run

logger = logging.getLogger(__name__)


@click.command()
@click.argument("dest", type=click.Path())
@port_option(DEFAULT_PORT)
@host_option
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let only pages of this origin read, such as https://example.org; may be repeated.  "
    "[default: any web page]",
)
def serve(dest: str, port: int, host: str, origins: tuple[str, ...]) -> None:
    """Serve the volume, or the folder of volumes, DEST to Neuroglancer.

    The first line printed is the source to paste into Neuroglancer; of a folder of volumes each
    lies under its own name. The page at the same address lists the volumes. Any web page may read
    what is served, unless --allow-origin is given. Serves until stopped with Ctrl-C.

    Example: ngcore serve out/brain --port 9000
    """
    require_server()
    folder = Path(dest)
    if not folder.exists():
        raise InputNotFoundError(f"no folder {dest!r}; pass one that ngcore has written")
    if not folder.is_dir():
        raise InputError(f"{dest!r} is not a folder; pass the folder that holds the volume")

    from ngcore.server.access import for_origins
    from ngcore.server.app import create_app
    from ngcore.server.folders import find_volumes
    from ngcore.server.pages import Site

    access = for_origins(origins)
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
        with until_stopped():
            click.echo(f"precomputed://{origin}")
            readers = "pages of the origins named" if origins else "any web page"
            logger.info("%s lists it; %s may read it; Ctrl-C stops it", origin, readers)
            run(
                lambda closing: create_app(Site({"": folder}, find_client(), closing, access)),
                listener,
            )


commands = [serve]
