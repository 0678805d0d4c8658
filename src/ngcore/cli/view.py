"""`ngcore view`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ngcore.cli._progress import progress_bar
from ngcore.cli._viewing import (
    THING,
    host_option,
    layout_option,
    port_option,
    space_option,
)

if TYPE_CHECKING:
    from ngcore.server.layouts import LayoutName
    from ngcore.server.states import Space


@click.command()
@click.argument("things", metavar="THING...", nargs=-1, required=True, type=THING)
@click.option(
    "--browser/--no-browser", default=True, show_default=True, help="Open the page in a browser."
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Keep what is converted in DIR, and reuse what has not changed.  [default: a temporary "
    "folder]",
)
@layout_option
@space_option
@port_option(0)
@host_option
def view(
    things: tuple[str, ...],
    browser: bool,
    keep: str | None,
    layout: LayoutName | None,
    space: Space,
    port: int,
    host: str,
) -> None:
    """Show THING... together in Neuroglancer.

    A THING is a volume that ngcore wrote, a URL of one, or a file: whatever `convert` reads,
    surfaces, tables of points, streamlines, SWC. Files are converted on the way. Settings follow a
    colon:
    THING:colormap=grey|hot|cold-hot|viridis|turbo|magma|red|#ff8000, min=V, max=V, opacity=0..1,
    visible=0|1, labels=TABLE, color=NAME, type=image|segmentation, volume=N.

    The first line printed is the address of the page. Works offline, with the Neuroglancer that
    comes with the neuroglancer package. Serves until stopped with Ctrl-C.

    \b
    Example:
      ngcore view sub-01_T1w.nii.gz zmap.nii.gz:min=2.3 lh.pial.gii
    """
    from ngcore.server.verbs import view as show

    show(
        things,
        browser=browser,
        keep=keep,
        layout=layout,
        space=space,
        port=port,
        host=host,
        ready=click.echo,
        watch=progress_bar,
    )


commands = [view]
