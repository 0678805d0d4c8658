"""`ngcore gallery`."""

from __future__ import annotations

import json

import click

from ngcore.cli._made import say_made
from ngcore.cli._report import FAULTS_FOUND
from ngcore.server.client import PUBLIC_VIEWER


@click.command()
@click.argument("folder", type=click.Path())
@click.option(
    "--url",
    "base",
    metavar="BASE",
    help="Where FOLDER is published.  [default: wherever the page is opened from]",
)
@click.option(
    "--viewer", metavar="URL", default=PUBLIC_VIEWER, show_default=True, help="Neuroglancer page."
)
@click.option(
    "--check",
    is_flag=True,
    help="Then fetch info and a range of each volume from BASE, and exit with status 1 if its "
    "server sends other data, no ranges, or no CORS headers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written and faults as JSON.")
@click.pass_context
def gallery(
    ctx: click.Context, folder: str, base: str | None, viewer: str, check: bool, as_json: bool
) -> None:
    """Write a web page of the volumes in FOLDER: pick some, open them together.

    Writes FOLDER/index.html, and a picture and a state.json of each volume into
    FOLDER/index-files. They are static files for any web server or bucket.

    \b
    Example:
      ngcore gallery out --url https://example.org/data
    """
    from ngcore.server.gallery import gallery as write_gallery

    if check and base is None:
        raise click.UsageError("--check needs --url")
    written = write_gallery(folder, url=base, viewer=viewer)
    faults: list[str] = []
    if check and base is not None:
        from ngcore.server.check_published import check_published

        faults = check_published(folder, base, viewer)
    if as_json:
        members = {"written": [str(path) for path in written], "faults": faults}
        click.echo(json.dumps(members, indent=2))
    else:
        for fault in faults:
            click.echo(fault)
        say_made(written[0], "serve", at=folder)
    if faults:
        ctx.exit(FAULTS_FOUND)


commands = [gallery]
