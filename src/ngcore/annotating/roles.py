"""What each column of a table is for: coordinates, ids, groups, relations, or a property."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ngcore.sources.points.base import Table

logger = logging.getLogger(__name__)

Kind = Literal["point", "line", "box", "ellipsoid", "polyline"]
TYPES = {
    "point": "point",
    "line": "line",
    "box": "axis_aligned_bounding_box",
    "ellipsoid": "ellipsoid",
    "polyline": "polyline",
}
"""Kinds as the command calls them, and the `annotation_type` of each."""

_CORNERS = ("x1", "y1", "z1", "x2", "y2", "z2")
_COORDINATES = {
    "point": ("x", "y", "z"),
    "line": _CORNERS,
    "box": _CORNERS,
    "ellipsoid": ("x", "y", "z", "rx", "ry", "rz"),
    "polyline": ("x", "y", "z"),
}


_UNITS = {
    "mm": "mm",
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns"), "um"),
    "nm": "nm",
}
_UNIT_IN_NAME = re.compile(
    rf"(?:^|[^a-z])({'|'.join(sorted(_UNITS, key=len, reverse=True))})\W*$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Roles:
    """Columns of a table by what they are for.

    Attributes
    ----------
    coordinates : tuple of str
    id : str or None
    group : str or None
        Of polylines.
    relations : tuple of (name, column, folder)
    properties : tuple of (column, id)
    """

    coordinates: tuple[str, ...]
    id: str | None
    group: str | None
    relations: tuple[tuple[str, str, str], ...]
    properties: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read."""
        found = [*self.coordinates, *filter(None, (self.id, self.group))]
        found += [column for _, column, _ in self.relations]
        return tuple(dict.fromkeys([*found, *(column for column, _ in self.properties)]))


def find_roles(
    table: Table,
    kind: str,
    *,
    columns: Mapping[str, str],
    id: str | None,  # noqa: A002 (the option's name)
    group: str | None,
    relations: Mapping[str, str],
    skip: Sequence[str],
) -> Roles:
    """Find out which column of a table is what.

    Raises
    ------
    InputError
        A column is missing, or an option does not fit the kind.
    """
    if kind not in TYPES:
        raise InputError(f"kind must be one of {', '.join(TYPES)}, got {kind!r}")
    needed = _COORDINATES[kind]
    for name in columns:
        if name not in needed:
            raise InputError(f"--columns: a {kind} has {', '.join(needed)}, not {name!r}")
    coordinates = tuple(_coordinate(table, name, columns.get(name), needed) for name in needed)
    if kind == "polyline" and group is None:
        raise InputError(
            "--kind polyline needs --group COLUMN, which names the line of each vertex"
        )
    if kind != "polyline" and group is not None:
        raise InputError(f"--group is for --kind polyline; each {kind} is one row")
    for option, column in (
        ("--id", id),
        ("--group", group),
        *(("--relation", column) for column in relations.values()),
        *(("--skip", column) for column in skip),
    ):
        if column is not None:
            _check_there(table, column, option)
    taken = {*coordinates, id, group, *relations.values(), *skip}
    folders = _unique([f"rel_{name}" for name in relations], r"[^A-Za-z0-9_-]")
    return Roles(
        coordinates,
        id,
        group,
        tuple(
            (name, column, folder)
            for (name, column), folder in zip(relations.items(), folders, strict=True)
        ),
        property_ids([column for column in table.columns if column not in taken]),
    )


def warn_of_units(name: str, columns: Sequence[str], unit: str) -> None:
    """Say that a column's name tells another unit than the one that its numbers are read in."""
    for column in columns:
        told = _UNIT_IN_NAME.search(column)
        if told and (other := _UNITS[told[1].lower()]) != unit:
            logger.warning(
                "%s: column %r is read in %s; if it is in %s, pass --units %s",
                *(name, column, unit, other, other),
            )
            return


def kind_by_columns(table: Table) -> tuple[Kind, str | None]:
    """Return the kind that the columns of a table tell, and the one of groups.

    What stands in one row is told apart by the names of coordinates. Lines and boxes have the
    same ones, and are lines. A column ``group`` may be any group of points, as BIDS has it of
    electrodes; vertices of lines are told by a column ``polyline``.

    Raises
    ------
    InputError
        The columns tell two kinds.
    """
    names = {column.lower(): column for column in table.columns}
    group = names.get("polyline")
    is_ellipsoid = names.keys() >= {*_COORDINATES["ellipsoid"]}
    if group is not None and is_ellipsoid:
        raise InputError(
            f"{table.name} has radii rx, ry, rz as ellipsoids do and a column {group!r} as "
            "vertices of lines do; run ngcore annotations with the right --kind"
        )
    if is_ellipsoid:
        return "ellipsoid", None
    if group is not None:
        return "polyline", group
    if names.keys() >= {*_CORNERS} and not names.keys() >= {*"xyz"}:
        return "line", None
    return "point", None


def property_ids(columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return (column, id) of properties: the name of the column where that is valid.

    Examples
    --------
    >>> property_ids(["size", "Size", "2nd channel", "µ"])
    (('size', 'size'), ('Size', 'size_2'), ('2nd channel', 'p_2nd_channel'), ('µ', 'p_'))
    """
    valid = re.compile(r"[a-z][a-zA-Z0-9_]*")
    ids = {column: column for column in columns if valid.fullmatch(column)}
    for column in columns:
        if column in ids:
            continue
        name = re.sub(r"[^a-zA-Z0-9_]", "_", column)
        name = name[:1].lower() + name[1:]
        if not valid.fullmatch(name):
            name = f"p_{name.lstrip('_')}"
        ids[column] = _free(name, set(ids.values()))
    return tuple((column, ids[column]) for column in columns)


def _unique(names: Sequence[str], invalid: str) -> list[str]:
    found: list[str] = []
    for name in names:
        found.append(_free(re.sub(invalid, "_", name), set(found)))
    return found


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _coordinate(table: Table, name: str, asked: str | None, needed: Sequence[str]) -> str:
    if asked is not None:
        _check_there(table, asked, "--columns")
        return asked
    if name in table.columns:
        return name
    alike = [column for column in table.columns if column.lower() == name]
    if len(alike) == 1:
        return alike[0]
    raise InputError(
        f"{table.name} has no column {name!r} ({', '.join(needed)} are needed); it has "
        f"{_listed(table.columns)}; name the column with --columns {name}=COLUMN"
    )


def _check_there(table: Table, column: str, option: str) -> None:
    if column not in table.columns:
        raise InputError(
            f"{option}: {table.name} has no column {column!r}; it has {_listed(table.columns)}"
        )


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column) for column in columns[:12])
    return shown + (", ..." if len(columns) > 12 else "")
