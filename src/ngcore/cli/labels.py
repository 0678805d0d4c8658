"""`ngcore labels`: names and colours for the labels of a segmentation."""

import click

from ngcore.cli._made import say_made
from ngcore.cli._progress import progress_bar


@click.command("labels")
@click.argument("dest")
@click.argument("table")
@click.option(
    "--measure",
    is_flag=True,
    help="Add the number of voxels and the volume in mm^3 of each label.  [default: names only]",
)
@click.option(
    "--id-column",
    metavar="TITLE",
    help="Title (or number, from 1) of the column of ids.  [default: by title and content]",
)
@click.option(
    "--name-column",
    metavar="TITLE",
    help="Title of the column of names.  [default: by title and content]",
)
@click.option(
    "--color-column",
    metavar="TITLE",
    help="Title of the column of colours, or three: R,G,B.  [default: by title and content]",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def labels(
    dest: str,
    table: str,
    *,
    as_json: bool,
    measure: bool,
    id_column: str | None,
    name_column: str | None,
    color_column: str | None,
) -> None:
    """Give the labels of the segmentation DEST the names and colours of TABLE.

    TABLE is text of FreeSurfer, ITK-SNAP, FSLeyes, MRtrix or Workbench, lines of an id and a name,
    a BIDS _dseg.tsv or any CSV with ids and names, XML of FSL, SPM, CAT or GIfTI, JSON of an atlas
    or a network, an .annot, or an .mgz with a colour table; its content tells which. The names
    that DEST has are replaced. Reports how many labels of DEST have no name, and how many names
    have no voxel.

    \b
    Example:
      ngcore labels aseg $FREESURFER_HOME/FreeSurferColorLUT.txt --measure
    """
    from ngcore.labelling.labels import write_labels

    with progress_bar("counting labels") as progress:
        write_labels(
            dest,
            table,
            measure=measure,
            id_column=id_column,
            name_column=name_column,
            color_column=color_column,
            progress=progress,
        )
    say_made(dest, as_json=as_json)


commands = [labels]
