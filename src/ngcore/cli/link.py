"""`ngcore link`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ngcore.cli._viewing import space_option
from ngcore.errors import InputError
from ngcore.server.client import PUBLIC_VIEWER

if TYPE_CHECKING:
    from ngcore.server.states import Space


@click.command()
@click.argument("dests", metavar="DEST...", nargs=-1, required=True)
@click.option(
    "--url",
    "base",
    metavar="BASE",
    required=True,
    help="Where DEST is published. Several DESTs lie there under their names.",
)
@click.option(
    "--viewer", metavar="URL", default=PUBLIC_VIEWER, show_default=True, help="Neuroglancer page."
)
@space_option
@click.option("--json", "as_json", is_flag=True, help="Print the state instead of the URL.")
def link(dests: tuple[str, ...], base: str, viewer: str, space: Space, as_json: bool) -> None:
    """Print the Neuroglancer URL that shows DEST... published at BASE.

    Example: ngcore link out/brain --url https://example.org/data/brain
    """
    from ngcore.server.states import viewer_url
    from ngcore.server.view import name_volumes, published_urls, state_of

    if "://" not in viewer:
        raise InputError(f"--viewer {viewer!r} has no scheme; pass a URL such as {PUBLIC_VIEWER}")
    folders = [Path(dest) for dest in dests]
    volumes = name_volumes(folders)
    state = state_of(volumes, published_urls(folders, volumes, base), space=space)
    click.echo(json.dumps(state, indent=2) if as_json else viewer_url(viewer, state))


commands = [link]
