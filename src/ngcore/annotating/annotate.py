"""Annotations from a table: the whole way, from options to `info`."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ngcore.annotating.blocks import Blocks
from ngcore.annotating.columns import RowBlocks, SpooledTable
from ngcore.annotating.levels import choose_levels
from ngcore.annotating.polylines import GroupedBlocks
from ngcore.annotating.roles import TYPES, Kind, Roles, find_roles, warn_of_units
from ngcore.annotating.write import Collection, SameIdError, write_collection
from ngcore.conversion.options import parse_memory
from ngcore.errors import InputError
from ngcore.precomputed.annotations import AnnotationInfo
from ngcore.precomputed.names import ANNOTATIONS_TYPE
from ngcore.sources.identity import lasting_identity, source_identity
from ngcore.sources.points.base import Table
from ngcore.sources.points.opening import open_table
from ngcore.sources.remote_files import local_files
from ngcore.storage import is_url
from ngcore.storage.spool import Spool
from ngcore.transaction.layer_folder import LayerFolder, LayerStore
from ngcore.volume.provenance import Provenance
from ngcore.volume.read import world_bounds_like

logger = logging.getLogger(__name__)

Units = Literal["mm", "um", "nm"]
PathLike = str | os.PathLike[str]

UNITS_M = {"mm": 1e-3, "um": 1e-6, "nm": 1e-9, "m": 1.0, "cm": 1e-2}
"""Units of coordinates, in metres; the last two are those of BIDS alone."""
FILES = r"by_id|rel_.*|spatial[0-9]+"
"""Names in the folder of a collection."""


def annotations(
    table: object,
    dest: PathLike,
    *,
    kind: Kind = "point",
    columns: Mapping[str, str] | None = None,
    units: Units | None = None,
    id: str | None = None,  # noqa: A002 (the option's name)
    group: str | None = None,
    relations: Mapping[str, str] | None = None,
    skip: Sequence[str] = (),
    like: PathLike | None = None,
    max_per_cell: int = 10_000,
    sharding: bool = True,
    memory: str | int = "1G",
    tmp: PathLike | None = None,
    dask: object | None = None,
    fsync: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Convert a table to Neuroglancer annotations, with every index, in bounded memory.

    Parameters
    ----------
    table : path, array or named columns
        CSV or TSV with a header (BIDS ``electrodes.tsv`` too), Parquet, ``.npy``; an array of
        shape (n, 3), or (n, 6) for lines, boxes and ellipsoids; a mapping of names to arrays, a
        pandas DataFrame and the like. Coordinates are in world millimetres unless `units` says
        otherwise.
    dest : path
        A folder that is empty or not there yet.
    kind : {"point", "line", "box", "ellipsoid", "polyline"}
        Columns are x, y, z; x1, y1, z1, x2, y2, z2 of lines and boxes; x, y, z, rx, ry, rz of
        ellipsoids. A polyline has a row for each vertex, in order.
    columns : mapping, optional
        Which column holds a coordinate that is called otherwise, such as ``{"x": "pos_x"}``.
    units : {"mm", "um", "nm"}, optional
        Of coordinates and radii; default millimetres, or what BIDS says.
    id : str, optional
        Column of ids; default 1 to n in the order of the table.
    group : str, optional
        Column with the polyline that each vertex belongs to.
    relations : mapping, optional
        Names of relations to segments, and the column of each: a segment id, several as ``1;2``,
        or nothing. Every column that is left is a property.
    skip : sequence of str
        Columns to leave out.
    like : path, optional
        A volume whose bounds, in its world, the annotations get.
    max_per_cell : int
        About how many annotations a cell of the spatial index holds at most.
    sharding : bool
        Pack the indexes into shards, or write a file for each entry.
    memory : str or int
        Bound on resident memory, such as ``"512M"``.
    tmp : path, optional
        Where temporary files go; default hidden, in `dest`.
    dask : str or distributed.Client, optional
        The address of a Dask scheduler whose workers sort and write the indexes, or its client;
        ``local`` starts processes here. They must reach `dest`. The table is read here.
    fsync, resume, overwrite : bool
        As for `ngcore.convert`.

    Raises
    ------
    InputError, FormatError
        The table or an option can't be used. Nothing is left in `dest`.
    DestinationError
        `dest` holds something already, can't be written or is in use.
    StorageError
        Reading or writing fails midway; `resume` continues.

    Examples
    --------
    >>> import numpy as np, tempfile, ngcore
    >>> points = np.random.default_rng(0).uniform(-80, 80, (1000, 3))
    >>> ngcore.annotations(points, tempfile.mkdtemp(), units="mm")
    """
    _check_choice("kind", kind, get_args(Kind))
    if units is not None:
        _check_choice("units", units, get_args(Units))
    if isinstance(max_per_cell, bool) or not isinstance(max_per_cell, int) or max_per_cell < 1:
        raise InputError(f"max_per_cell must be 1 or more, got {max_per_cell!r}")
    bytes_of_memory = parse_memory(memory)
    if not os.fspath(dest):
        raise InputError("the path of the destination is empty; pass that of a new folder")
    with local_files([table] if isinstance(table, str | os.PathLike) else [], tmp) as found:
        opened = open_table(found[0] if found else table)
        roles = find_roles(
            opened,
            kind,
            columns=columns or {},
            id=id,
            group=group,
            relations=relations or {},
            skip=skip,
        )
        unit = _unit(opened, units)
        if units is None:
            warn_of_units(opened.name, roles.coordinates, unit)
        bounds = None if like is None else _bounds_like(like, unit)
        identity = (
            source_identity(opened.files[0], opened.files)
            if opened.files
            else {"name": opened.name}
        )
        options: dict[str, Any] = {
            "kind": kind,
            "columns": dict(columns or {}),
            "units": unit,
            "id": id,
            "group": group,
            "relations": dict(relations or {}),
            "skip": list(skip),
            "bounds": None if bounds is None else [list(map(float, side)) for side in bounds],
            "max_per_cell": max_per_cell,
            "sharding": sharding,
        }
        names = [path.name for path in opened.files] or [opened.name]
        if is_url(table):
            names = [str(table)]
        provenance = Provenance.of(
            names, "annotations", {**options, "source": lasting_identity(identity)}
        )
        folder = LayerFolder(
            dest,
            layer_type=ANNOTATIONS_TYPE,
            files=FILES,
            plan={"source": identity, "options": options},
            provenance=provenance.to_json(),
            overwrite=overwrite,
            resume=resume,
            fsync=fsync,
            sources=opened.files,
        )
        if folder.is_done:
            return
        with folder, folder.temporaries(tmp) as temporary:
            spool = Spool(Path(temporary))
            try:
                blocks, rows = _spooled(opened, roles, kind, spool, bytes_of_memory)
                lower, upper = _bounds(kind, rows, bounds, opened.name)
                levels = choose_levels(TYPES[kind], blocks, lower, upper, max_per_cell)
                collection = Collection(
                    TYPES[kind],
                    UNITS_M[unit],
                    lower,
                    upper,
                    rows.properties,
                    tuple((name, key) for name, _, key in roles.relations),
                    levels,
                    sharding,
                )
                info = _written(
                    dask, collection, blocks, folder.store, spool, bytes_of_memory // 3
                )
            except SameIdError as error:
                raise InputError(f"{opened.name}: {error}") from error
            finally:
                spool.close()
            folder.finish(info.to_json())


def _written(
    dask: object | None,
    collection: Collection,
    blocks: Blocks,
    store: LayerStore,
    spool: Spool,
    memory: int,
) -> AnnotationInfo:
    if dask is None:
        return write_collection(collection, blocks, store, spool, memory)
    from ngcore.annotating.spread import write_spread
    from ngcore.work.opening import executor_of

    with executor_of(dask, lambda: (os.cpu_count() or 1, 1)) as executor:
        return write_spread(collection, blocks, store, executor, memory)


def _check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _unit(table: Table, asked: str | None) -> str:
    if asked is not None:
        return asked
    if table.unit is None:
        return "mm"
    if table.unit not in UNITS_M:
        raise InputError(
            f"{table.name}: its coordinate system file gives positions in {table.unit!r}; "
            "convert them to a length, or pass --units"
        )
    return table.unit


def _bounds_like(like: PathLike, unit: str) -> NDArray[np.float64]:
    """Return the bounds of a volume in its world, shape (2, 3), in a unit."""
    bounds: NDArray[np.float64] = world_bounds_like(like) * (1e-3 / UNITS_M[unit])
    return bounds


def _spooled(
    table: Table, roles: Roles, kind: str, spool: Spool, memory: int
) -> tuple[Blocks, SpooledTable]:
    rows = SpooledTable(table, roles, spool)
    if kind == "polyline":
        assert roles.group is not None
        return GroupedBlocks(rows, spool, memory // 4), rows
    if kind == "ellipsoid" and (rows.lower[3:] < 0).any():
        axis = "xyz"[int(np.argmax(rows.lower[3:] < 0))]
        raise InputError(f"{table.name}: a radius r{axis} is negative; radii are 0 or more")
    return RowBlocks(rows), rows


def _bounds(
    kind: str, rows: SpooledTable, like: NDArray[np.float64] | None, name: str
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the bounds of the collection: those of the data, or those of a volume."""
    lower, upper = rows.lower, rows.upper
    if kind in ("line", "box"):
        lower = np.minimum(lower[:3], lower[3:])
        upper = np.maximum(upper[:3], upper[3:])
    elif kind == "ellipsoid":
        lower, upper = rows.reach
    if like is not None:
        if (upper < like[0]).any() or (lower > like[1]).any():
            logger.warning("%s: everything lies outside of the volume; check --units", name)
        elif (lower < like[0]).any() or (upper > like[1]).any():
            logger.warning("%s reaches beyond the volume; the bounds are made larger", name)
        lower, upper = np.minimum(lower, like[0]), np.maximum(upper, like[1])
    x, y, z = lower.tolist()
    a, b, c = upper.tolist()
    return (x, y, z), (a, b, c)
