"""`ngcore skeletons`: traced neurons."""

from typing import Any

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import (
    fsync_option,
    like_option,
    overwrite_layer_option,
    resume_option,
    sharded_layer_option,
    tmp_option,
)
from ngcore.cli._report import resumable_by_hand


@click.command("skeletons")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.argument("dest")
@click.option(
    "--units",
    type=click.Choice(["um", "nm", "mm"]),
    default="um",
    show_default=True,
    help="Unit of coordinates and radii.",
)
@like_option
@sharded_layer_option
@tmp_option
@fsync_option
@resume_option
@overwrite_layer_option
def skeletons(files: tuple[str, ...], dest: str, **options: Any) -> None:
    """Convert SWC files to Neuroglancer skeletons DEST, one segment each.

    The id is the name of the file where that is a number; other files are numbered from 1. Where
    DEST is a volume, its segments get the skeletons.

    \b
    Example:
      ngcore skeletons neuron.swc neurons
    """
    from ngcore.tracing.skeletons import skeletons as write_skeletons

    with resumable_by_hand(overwrite=options["overwrite"]):
        write_skeletons(files, dest, **options)
    say_made(dest)


commands = [skeletons]
