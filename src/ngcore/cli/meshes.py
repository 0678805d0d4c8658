"""Commands for surface meshes: into a volume as fragments, their manifests, and VTK files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import units_option
from ngcore.cli._steps import compresslevel_option, idle_flat_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.volume.world import Space

    Command = Callable[..., None]


def _numbers(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        numbers = tuple(float(word) for word in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} holds something that is not a number") from None
    if len(numbers) not in (12, 16):
        raise click.BadParameter(f"it takes 12 or 16 numbers, got {len(numbers)}")
    return numbers


_overwrite = click.option(
    "--overwrite", is_flag=True, help="Replace what is there.  [default: refuse]"
)
_coord_transform = click.option(
    "--coord-transform",
    callback=_numbers,
    metavar="A,B,...",
    help="Affine transform of the coordinates: 12 or 16 numbers, row by row, translation in mm. "
    "A negative determinant flips the triangles.  [default: none]",
)


def _fragment_options(command: Command) -> Command:
    options = [
        click.option(
            "--mesh-dir",
            metavar="NAME",
            help="Folder for meshes in DEST.  [default: the one in DEST/info, else mesh]",
        ),
        click.option(
            "--mesh-name",
            metavar="NAME",
            help="Name of the fragment.  [default: the file's stem]",
        ),
        _coord_transform,
        units_option,
        click.option(
            "--space",
            type=click.Choice(["native", "world"]),
            default="native",
            show_default=True,
            help="native: write the coordinates x 1e6. world: also apply the inverse of "
            "DEST/transform.json, so that the mesh lies on its volume when both are shown "
            "through that transform.",
        ),
        click.option(
            "--no-gzip",
            "--no-compression",
            is_flag=True,
            help="Write NAME, not NAME.gz.  [default: gzip]",
        ),
        _overwrite,
        idle_flat_option,
        compresslevel_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command("mesh-to-precomputed")
@click.argument("mesh")
@click.argument("dest")
@_fragment_options
def mesh_to_precomputed(
    mesh: str,
    dest: str,
    mesh_dir: str | None,
    mesh_name: str | None,
    coord_transform: tuple[float, ...] | None,
    space: Space,
    units: str | None,
    no_gzip: bool,
    overwrite: bool,
) -> None:
    """Write MESH into the volume DEST, as one fragment.

    MESH is a GIfTI, FreeSurfer, STL, PLY, OBJ (Wavefront's or MNI's), OFF or VTK surface in
    millimetres, or in the unit that --units or its header names. GIfTI coordinates go through the
    file's own transform, FreeSurfer's become scanner RAS, and LPS in headers of 3D Slicer becomes
    RAS. Sets "mesh" in DEST/info. Warns about a surface that lies entirely outside the volume.
    Link fragments to labels with link-mesh-fragments.

    \b
    Example:
      ngcore mesh-to-precomputed lh.pial.gii brain --mesh-name pial_left
    """
    from ngcore.meshing import fragments

    fragments.mesh_to_precomputed(
        mesh,
        dest,
        mesh_dir=mesh_dir,
        mesh_name=mesh_name,
        coord_transform=coord_transform,
        space=space,
        units=units,
        use_gzip=not no_gzip,
        overwrite=overwrite,
    )
    say_made(dest, "link-mesh-fragments CSV")


@click.command("stl-to-precomputed")
@click.argument("stl")
@click.argument("dest")
@click.option(
    "--voxel-size",
    type=float,
    metavar="MM",
    default=1.0,
    show_default=True,
    help="Millimetres per unit of the STL coordinates; applied before --coord-transform.",
)
@_fragment_options
def stl_to_precomputed(
    stl: str,
    dest: str,
    voxel_size: float,
    mesh_dir: str | None,
    mesh_name: str | None,
    coord_transform: tuple[float, ...] | None,
    space: Space,
    units: str | None,
    no_gzip: bool,
    overwrite: bool,
) -> None:
    """Write STL (text or binary) into the volume DEST, as one fragment; equal vertices are merged.

    Sets "mesh" in DEST/info. Link fragments to labels with link-mesh-fragments.

    \b
    Example:
      ngcore stl-to-precomputed skull.stl brain --voxel-size 0.5
    """
    from ngcore.meshing import fragments

    fragments.stl_to_precomputed(
        stl,
        dest,
        voxel_size=voxel_size,
        mesh_dir=mesh_dir,
        mesh_name=mesh_name,
        coord_transform=coord_transform,
        space=space,
        units=units,
        use_gzip=not no_gzip,
        overwrite=overwrite,
    )
    say_made(dest, "link-mesh-fragments CSV")


@click.command("mesh-to-vtk")
@click.argument("mesh")
@click.argument("out", metavar="OUT.vtk")
@_coord_transform
@units_option
@_overwrite
def mesh_to_vtk(
    mesh: str,
    out: str,
    coord_transform: tuple[float, ...] | None,
    units: str | None,
    overwrite: bool,
) -> None:
    """Write MESH as VTK: ASCII PolyData in nanometres, for Neuroglancer's vtk source.

    MESH is what mesh-to-precomputed takes.

    \b
    Example:
      ngcore mesh-to-vtk lh.pial.gii lh.pial.vtk
    """
    from ngcore.meshing import fragments

    fragments.mesh_to_vtk(
        mesh, out, coord_transform=coord_transform, units=units, overwrite=overwrite
    )
    say_made(out, "")


@click.command("link-mesh-fragments")
@click.argument("csv")
@click.argument("dest")
@click.option(
    "--no-colon-suffix",
    is_flag=True,
    help="Name manifests LABEL, not LABEL:0, for file systems without colons.  [default: LABEL:0]",
)
@_overwrite
@click.option("--no-gzip", "--no-compression", is_flag=True, hidden=True, expose_value=False)
@idle_flat_option
@compresslevel_option
def link_mesh_fragments(csv: str, dest: str, no_colon_suffix: bool, overwrite: bool) -> None:
    """Link labels to mesh fragments of the volume DEST.

    Each row of CSV is a label and the names of its fragments (label,fragment,...) and becomes a
    manifest in DEST's mesh folder; a label without fragments has an empty mesh. Nothing is written
    unless every row is valid.

    \b
    Example:
      ngcore link-mesh-fragments fragments.csv brain
    """
    from ngcore.meshing import fragments

    fragments.link_mesh_fragments(csv, dest, colon_suffix=not no_colon_suffix, overwrite=overwrite)
    say_made(dest)


commands: list[click.Command] = [
    mesh_to_precomputed,
    stl_to_precomputed,
    mesh_to_vtk,
    link_mesh_fragments,
]
