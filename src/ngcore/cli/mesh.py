"""`ngcore mesh`: multi-resolution meshes of labels."""

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import (
    dask_option,
    label_numbers,
    resume_option,
    scale_option,
    units_option,
)
from ngcore.cli._progress import progress_bars
from ngcore.cli._report import resumable_by_hand


def _pairs(_ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[int, str]:
    pairs: dict[int, str] = {}
    for value in values:
        label, equals, text = value.partition("=")
        try:
            number = int(label)
        except ValueError:
            number = -1
        if not equals or not text or number < 0:
            raise click.BadParameter(f"expected {param.metavar}, got {value!r}")
        if number in pairs:
            raise click.BadParameter(f"label {number} occurs twice")
        pairs[number] = text
    return pairs


@click.command("mesh")
@click.argument("dest")
@click.option(
    "--labels",
    callback=label_numbers,
    metavar="1,2,...",
    help="Labels to mesh.  [default: all but 0; with --surface, none]",
)
@click.option(
    "--surface",
    "surfaces",
    multiple=True,
    callback=_pairs,
    metavar="LABEL=FILE",
    help="A surface (GIfTI, FreeSurfer, STL, PLY, OBJ, OFF or VTK) as the mesh of a label. "
    "May be given several times.  [default: none]",
)
@click.option(
    "--label",
    "names",
    multiple=True,
    callback=_pairs,
    metavar="LABEL=NAME",
    help="The name of a label, for DEST's segment properties. May be given several times.  "
    "[default: none]",
)
@click.option(
    "--space",
    type=click.Choice(["native", "world"]),
    default="native",
    show_default=True,
    help="Where surfaces lie. native: in the volume's own coordinates. world: in the "
    "coordinates that DEST/transform.json maps to.",
)
@units_option
@scale_option
@click.option(
    "--sharding/--no-sharding",
    default=True,
    show_default=True,
    help="Pack meshes into shard files, or write two files for each.",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Processes.  [default: all cores]"
)
@dask_option
@resume_option
@click.option("--overwrite", is_flag=True, help="Replace the meshes of DEST.  [default: refuse]")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
def mesh(
    dest: str,
    *,
    as_json: bool,
    labels: tuple[int, ...] | None,
    surfaces: dict[int, str],
    names: dict[int, str],
    space: str,
    units: str | None,
    scale: int,
    sharding: bool,
    workers: int | None,
    dask: str | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Make meshes for the labels of the segmentation DEST, in levels of detail that stream.

    Without --labels and --surface every label but 0 is meshed, in one pass over the voxels.
    Writes Draco meshes, and sets "mesh" in DEST/info once all of them are there. Needs the extra
    mesh.

    \b
    Example:
      ngcore mesh aseg --label 3=Left-Cerebral-Cortex
    """
    from ngcore.meshing.mesh import write_meshes

    with (
        resumable_by_hand(overwrite=overwrite),
        progress_bars("finding surfaces", "making meshes") as (progress, mesh_progress),
    ):
        write_meshes(
            dest,
            labels=labels,
            surfaces=surfaces,
            names=names,
            space="world" if space == "world" else "native",
            units=units,
            scale=scale,
            sharding=sharding,
            resume=resume,
            overwrite=overwrite,
            workers=workers,
            dask=dask,
            progress=progress,
            mesh_progress=mesh_progress,
        )
    say_made(dest, as_json=as_json)


commands = [mesh]
