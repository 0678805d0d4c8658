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
    default="127.0.0.1",
    show_default=True,
    help="Address to listen at; 0.0.0.0 lets other machines in.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="Port to listen at.",
)
def server_config(server: WebServer, dest: str, host: str, port: int) -> None:
    """Print configuration with which nginx, Apache or Caddy serves the volume DEST.

    DEST may be a folder of volumes too; it is the current folder if left out. Chunks may be flat,
    nested, gzipped or in shards. Where to save it stands in the configuration.

    \b
    Example:
      ngcore server-config nginx brain --port 9000
    """
    from ngcore.server.web_servers import web_server_config

    click.echo(web_server_config(server, dest, host=host, port=port), nl=False)


commands: list[click.Command] = [server_config]
