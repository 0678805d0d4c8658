"""`ngcore annotations`: a table of points, lines, boxes, ellipsoids or polylines."""

from typing import Any

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import (
    dask_option,
    fsync_option,
    layer_memory_option,
    like_option,
    overwrite_layer_option,
    resume_option,
    sharded_layer_option,
    tmp_option,
)
from ngcore.cli._report import resumable_by_hand


def _pairs(text: str, metavar: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in text.split(","):
        name, equals, column = part.partition("=")
        if not equals or not name.strip() or not column.strip():
            raise click.BadParameter(f"expected {metavar}, got {text!r}")
        if name.strip() in pairs:
            raise click.BadParameter(f"{name.strip()} occurs twice")
        pairs[name.strip()] = column.strip()
    return pairs


def _columns(
    _ctx: click.Context, param: click.Parameter, value: str | None
) -> dict[str, str] | None:
    return None if value is None else _pairs(value, str(param.metavar))


def _relations(
    _ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        name, equals, column = value.partition("=")
        if not equals or not name or not column:
            raise click.BadParameter(f"expected {param.metavar}, got {value!r}")
        if name in pairs:
            raise click.BadParameter(f"the relation {name!r} occurs twice")
        pairs[name] = column
    return pairs


@click.command("annotations")
@click.argument("table")
@click.argument("dest")
@click.option(
    "--kind",
    type=click.Choice(["point", "line", "box", "ellipsoid", "polyline"]),
    default="point",
    show_default=True,
    help="What a row is. For polylines a row is a vertex, in order.",
)
@click.option(
    "--columns",
    callback=_columns,
    metavar="x=COL,y=COL,z=COL",
    help="Columns of coordinates: x,y,z; for lines and boxes x1,y1,z1,x2,y2,z2; for ellipsoids "
    "x,y,z,rx,ry,rz.  [default: those names]",
)
@click.option(
    "--units",
    type=click.Choice(["mm", "um", "nm"]),
    help="Unit of coordinates and radii.  [default: mm, or what BIDS says]",
)
@click.option("--id", metavar="COLUMN", help="Column of ids.  [default: 1 to n in file order]")
@click.option(
    "--group",
    metavar="COLUMN",
    help="Polylines: column that names the line of each vertex.  [default: none]",
)
@click.option(
    "--relation",
    "relations",
    multiple=True,
    callback=_relations,
    metavar="NAME=COLUMN",
    help="A relation to segments: COLUMN holds an id, several ids such as 1;2, or nothing. May "
    "be given several times.  [default: none]",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="COLUMN",
    help="Leave a column out. May be given several times.  [default: every column left is a "
    "property]",
)
@like_option
@click.option(
    "--max-per-cell",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    metavar="N",
    help="Rough limit on the annotations in a cell of the spatial index.",
)
@sharded_layer_option
@layer_memory_option
@tmp_option
@dask_option
@fsync_option
@resume_option
@overwrite_layer_option
def annotations(table: str, dest: str, **options: Any) -> None:
    """Convert TABLE to Neuroglancer annotations DEST, with every index.

    TABLE is CSV or TSV with a header (BIDS electrodes.tsv too), Parquet, or a .npy array of n x 3
    numbers. Coordinates are in world millimetres.

    \b
    Example:
      ngcore annotations cells.csv cells --relation neuron=segment
    """
    from ngcore.annotating.annotate import annotations as write_annotations

    with resumable_by_hand(overwrite=options["overwrite"]):
        write_annotations(table, dest, **options)
    say_made(dest)


commands = [annotations]
