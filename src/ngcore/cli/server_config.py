"""`ngcore server-config`: configuration for web servers that publish volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ngcore.server.web_servers import WebServer


@click.command("server-config")
@click.argument("server", type=click.Choice(["nginx", "apache", "caddy"]))
@click.argument("dest", default=".")
@click.option(
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets other machines in.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    default=8080,
    show_default=True,
    help="Port to listen on.",
)
@click.option(
    "--location",
    metavar="PATH",
    help="Print a block for an existing site, in which the volumes appear under PATH, such as "
    "/data.  [default: a site of its own]",
)
@click.option(
    "--root",
    metavar="DIR",
    help="Where the folder lies on the machine of the web server.  [default: DEST]",
)
def server_config(
    server: WebServer, dest: str, host: str, port: int, location: str | None, root: str | None
) -> None:
    """Print configuration with which nginx, Apache or Caddy serves the volume DEST.

    DEST may be a folder of volumes too; it is the current folder if left out. Chunks may be flat,
    nested, gzipped or in shards. The first lines of the configuration say where to save it.

    \b
    Example:
      ngcore server-config nginx brain --port 9000
    """
    from ngcore.server.web_servers import web_server_config

    config = web_server_config(server, dest, host=host, port=port, location=location, root=root)
    click.echo(config, nl=False)


commands: list[click.Command] = [server_config]
