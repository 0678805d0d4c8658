"""`ngcore skeletons`: traced neurons, and the middle lines of labels."""

from typing import Any

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import (
    fsync_option,
    label_numbers,
    layer_memory_option,
    like_option,
    overwrite_layer_option,
    resume_option,
    scale_option,
    sharded_layer_option,
    tmp_option,
)
from ngcore.cli._report import resumable_by_hand


@click.command("skeletons")
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.argument("dest")
@click.option(
    "--labels",
    type=click.Path(),
    metavar="VOLUME",
    help="Trace the labels of this segmentation, instead of files. Needs the extra skeletons.  "
    "[default: none]",
)
@click.option(
    "--ids",
    callback=label_numbers,
    metavar="1,2,...",
    help="Labels to trace.  [default: all but 0]",
)
@scale_option
@click.option(
    "--units",
    type=click.Choice(["um", "nm", "mm"]),
    default="um",
    show_default=True,
    help="Unit of coordinates and radii of files.",
)
@like_option
@sharded_layer_option
@layer_memory_option
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Processes.  [default: all cores]"
)
@tmp_option
@fsync_option
@resume_option
@overwrite_layer_option
def skeletons(files: tuple[str, ...], dest: str, **options: Any) -> None:
    """Convert SWC files, or labels, to Neuroglancer skeletons DEST, one segment each.

    A file whose name is a number has that id; other files are numbered from 1. With --labels each
    label gets a skeleton. If DEST is a volume, its segments get the skeletons.

    \b
    Example:
      ngcore skeletons neuron.swc neurons
    """
    from ngcore.tracing.skeletons import skeletons as write_skeletons

    with resumable_by_hand(overwrite=options["overwrite"]):
        write_skeletons(files, dest, **options)
    say_made(dest)


commands = [skeletons]
