"""`ngcore serve`."""

from __future__ import annotations

import click

from ngcore.cli._viewing import host_option, port_option
from ngcore.server.serve import DEFAULT_PORT


@click.command()
@click.argument("dest", type=click.Path())
@port_option(DEFAULT_PORT)
@host_option
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let only pages of this origin read, such as https://example.org. May be given several "
    "times.  "
    "[default: any web page]",
)
def serve(dest: str, port: int, host: str, origins: tuple[str, ...]) -> None:
    """Serve the volume, zip file or folder of volumes DEST to Neuroglancer.

    The first line printed is the source to paste into Neuroglancer; in a folder of volumes, add
    the name of one to it. The page at the same address lists the volumes. Any web page may read
    what is served, unless --allow-origin is given. Serves until stopped with Ctrl-C.

    Example: ngcore serve out/brain --port 9000
    """
    from ngcore.server.verbs import serve as serve_folder

    serve_folder(dest, port=port, host=host, allow_origin=origins, ready=click.echo)


commands = [serve]
