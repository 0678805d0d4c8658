"""`ngcore preview`: a picture of volumes."""

from __future__ import annotations

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import Numbers
from ngcore.cli._progress import progress_bar
from ngcore.cli._viewing import THING


@click.command("preview")
@click.argument("things", metavar="THING...", nargs=-1, required=True, type=THING)
@click.argument("out", metavar="OUT.png", type=click.Path())
@click.option(
    "--at",
    type=Numbers(float, (3,), "X,Y,Z"),
    help="Where the slices cross, in mm.  [default: the middle]",
)
@click.option(
    "--size",
    type=click.IntRange(64, 4096),
    metavar="N",
    default=512,
    show_default=True,
    help="Pixels of the longest side of what is shown.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT.  [default: refuse]")
def preview(
    things: tuple[str, ...],
    out: str,
    *,
    at: tuple[float, ...] | None,
    size: int,
    overwrite: bool,
) -> None:
    """Write a picture of three slices of THING..., overlaid, with a scale bar.

    A THING is what `ngcore view` takes, with the same settings. If it has a place in the world,
    the slices are sagittal, coronal and axial, with left, right, posterior and anterior marked.
    Labels have the colours that `ngcore labels` gave them.

    \b
    Example:
      ngcore preview brain zmap.nii.gz:min=2.3 brain.png --at 10,8,6
    """
    from ngcore.server.pictures import preview as write_preview

    write_preview(list(things), out, size=size, at=at, overwrite=overwrite, watch=progress_bar)
    say_made(out, "")


commands = [preview]
