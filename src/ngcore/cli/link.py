"""`ngcore link`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ngcore.cli._viewing import THING, layout_option, space_option
from ngcore.errors import InputError
from ngcore.server.client import PUBLIC_VIEWER

if TYPE_CHECKING:
    from ngcore.server.layouts import LayoutName
    from ngcore.server.states import Space


@click.command()
@click.argument("things", metavar="THING...", nargs=-1, required=True, type=THING)
@click.option(
    "--url",
    "base",
    metavar="BASE",
    required=True,
    help="Where THING is published. Several lie there under their names.",
)
@click.option(
    "--viewer", metavar="URL", default=PUBLIC_VIEWER, show_default=True, help="Neuroglancer page."
)
@layout_option
@space_option
@click.option(
    "--state",
    "state_file",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Write the state to FILE, to be published at BASE too, and print the short link that "
    "loads it from there.  [default: print the link that holds the state]",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.  [default: refuse]")
@click.option("--json", "as_json", is_flag=True, help="Print the state instead of the URL.")
def link(
    things: tuple[str, ...],
    base: str,
    viewer: str,
    layout: LayoutName | None,
    space: Space,
    state_file: str | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Print the Neuroglancer URL that shows THING... published at BASE.

    A THING is a volume that ngcore wrote, with settings after a colon, as `ngcore view` takes
    them.

    Example: ngcore link out/brain --url https://example.org/data/brain
    """
    from urllib.parse import quote

    from ngcore.server.look import layers_of, make_ready
    from ngcore.server.published import check_published, checked_base, published_urls
    from ngcore.server.states import PAGE_MEMBER, viewer_state, viewer_url
    from ngcore.server.things import parse_thing
    from ngcore.transaction.output_file import check_output_file, write_output

    if "://" not in viewer:
        raise InputError(f"--viewer {viewer!r} has no scheme; pass a URL such as {PUBLIC_VIEWER}")
    if state_file is not None:
        check_output_file(Path(state_file), overwrite=overwrite)
    elif overwrite:
        raise click.UsageError("--overwrite is for --state")
    base = checked_base(base)
    parsed = [parse_thing(thing) for thing in things]
    with tempfile.TemporaryDirectory(prefix="ngcore-link-") as folder:
        for thing in parsed:
            check_published(thing)
        shown = make_ready(things, Path(folder))
        places = [thing.path for thing in parsed if not thing.is_remote]
        layers = layers_of(shown, published_urls(places, base))
    state = viewer_state(layers, space=space, layout=layout)
    del state[PAGE_MEMBER]  # what our own page alone reads
    text = json.dumps(state, indent=2)
    if state_file is not None:
        write_output(Path(state_file), f"{text}\n".encode())
    if as_json:
        click.echo(text)
    elif state_file is not None:
        click.echo(f"{viewer}#!{base}/{quote(Path(state_file).name)}")
    else:
        click.echo(viewer_url(viewer, state))


commands = [link]
