"""`ngcore preview`: a picture of a volume."""

import click


@click.command("preview")
@click.argument("dest")
@click.argument("out", metavar="OUT.png")
@click.option(
    "--size",
    type=click.IntRange(64, 4096),
    metavar="N",
    default=512,
    show_default=True,
    help="Pixels of the longest side of the volume.",
)
@click.option("--overwrite", is_flag=True, help="Replace OUT.  [default: refuse]")
def preview(dest: str, out: str, *, size: int, overwrite: bool) -> None:
    """Write a picture of the three middle slices of DEST, with a scale bar.

    Where DEST says how it lies in the world, these are the sagittal, coronal and axial slice, with
    left, right, posterior and anterior marked. Labels have the colours that `ngcore labels` gave
    them.

    \b
    Example:
      ngcore preview brain brain.png
    """
    from ngcore.previewing.middle_slices import preview as write_preview

    write_preview(dest, out, size=size, overwrite=overwrite)


commands = [preview]
