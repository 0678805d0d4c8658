"""`ngcore labels`: names and colours for the labels of a segmentation."""

import click

from ngcore.cli._progress import progress_bar


@click.command("labels")
@click.argument("dest")
@click.argument("table")
@click.option(
    "--measure",
    is_flag=True,
    help="Add the number of voxels and the volume in mm^3 of each label.  [default: names only]",
)
def labels(dest: str, table: str, *, measure: bool) -> None:
    """Give the labels of the segmentation DEST the names and colours of TABLE.

    TABLE is a FreeSurfer colour table, an ITK-SNAP label description, a BIDS _dseg.tsv, an FSL
    atlas (XML), a GIfTI file with a label table, or CSV of id,name[,r,g,b][,tag...]; its content
    tells which. The names that DEST has are replaced. Says how many labels of DEST have no name,
    and how many names no voxel.

    \b
    Example:
      ngcore labels aseg $FREESURFER_HOME/FreeSurferColorLUT.txt --measure
    """
    from ngcore.labelling.labels import write_labels

    with progress_bar("counting labels") as progress:
        write_labels(dest, table, measure=measure, progress=progress)


commands = [labels]
