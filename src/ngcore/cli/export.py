"""`ngcore export`: a volume back into a file of other programs."""

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import scale_option
from ngcore.cli._progress import progress_bar


@click.command("export")
@click.argument("dest")
@click.argument("out", metavar="OUT")
@scale_option
@click.option("--overwrite", is_flag=True, help="Replace OUT.  [default: refuse]")
def export(dest: str, out: str, *, scale: int, overwrite: bool) -> None:
    """Write the volume DEST for other programs, with its affine, data type and values.

    The ending of OUT chooses NIfTI (.nii, .nii.gz), MGH (.mgh, .mgz), .npy, TIFF (.tif, .tiff) or
    OME-Zarr with every scale (.ome.zarr, .zarr). Channels, RGB included, become the fourth axis,
    and times keep their step. An axis of more than 32767 voxels needs NIfTI-2. Annotations are
    written as CSV or TSV, skeletons as SWC: one as OUT.swc, several into a folder.

    \b
    Example:
      ngcore export brain brain_2mm.nii.gz --scale 1
    """
    from ngcore.exporting.export import export as export_volume

    with progress_bar("exporting") as progress:
        export_volume(dest, out, scale=scale, overwrite=overwrite, progress=progress)
    say_made(out)


commands = [export]
