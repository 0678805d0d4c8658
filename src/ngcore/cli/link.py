"""`ngcore link`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ngcore.cli._made import say_made
from ngcore.cli._viewing import THING, layout_option, space_option
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
    help="Where THING is published; several THINGs lie there under their own names.",
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
    from ngcore.server.verbs import link as make_link
    from ngcore.server.verbs import link_state

    if overwrite and state_file is None:
        raise click.UsageError("--overwrite is for --state")
    url = make_link(
        things,
        url=base,
        viewer=viewer,
        layout=layout,
        space=space,
        state=state_file,
        overwrite=overwrite,
    )
    if as_json:
        state = link_state(things, url=base, layout=layout, space=space)
        url = json.dumps(state, indent=2)
    click.echo(url)
    if state_file is not None:
        say_made(state_file, "")


commands = [link]
