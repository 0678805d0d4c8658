"""Label tables of columns: what a column holds is found in its cells, its title is a hint.

BIDS's `_dseg.tsv`, CSV of Slicer, CAT, brainglobe, Allen, Codex, CAVE, neuPrint and pandas, and
lists of JSON objects.
https://bids-specification.readthedocs.io/en/stable/derivatives/imaging.html#common-image-derived-labels
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ngcore.errors import FormatError, InputError
from ngcore.sources.tables.cells import (
    are_colours,
    are_flags,
    are_mostly,
    are_numbers,
    are_tags,
    are_units,
    colour_parser,
    is_missing,
    is_number,
    is_true,
    number_of,
)
from ngcore.sources.tables.hierarchy import parent_of, tags_of_ancestors
from ngcore.sources.tables.rows import Label, at_place, is_whole, parse_colour, parse_id, tag_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ngcore.sources.tables.rows import Row
    from ngcore.volume.segment_colours import Colour

_OF_NEURONS = ("rootid", "ptrootid", "segmentid", "segid", "bodyid")
_IDS = (_OF_NEURONS, ("labelvalue", "labelid", "roiid", "regionid"), ("id",), ("index", "idx"))
_IDS_IF_WHOLE = ("label", "value", "key", "structureid", "number", "no", "intensity")
_NAMES = (
    "name", "labelname", "roiname", "regionname", "segmentname", "structurename", "fullname",
    "label", "region", "instance", "celltype", "type", "structure", "acronym", "abbreviation",
    "abbr", "roiabbr", "shortname",
)  # fmt: skip
_DESCRIPTIONS = ("description", "acronym", "abbreviation", "abbr", "roiabbr", "shortname")
_SHORT_NAMES = ("acronym", "abbreviation", "abbr", "roiabbr", "shortname")
_PATHS = ("structureidpath",)
_PARENTS = (*_PATHS, "parentstructureid", "parentid", "parent")
_TAGS = ("tag", "tags")
_IDLE = ("mapping", "a", "alpha", "opacity")
_CHANNEL = re.compile(
    r"(?:(?:label|lut|display)?colou?r|rgba?|lut|display)?(r|red|g|green|b|blue|a|alpha)"
    r"(?:value|val|channel|colou?r|0255|01)?"
)
_ROW_COUNTS = re.compile(r"unnamed.*|index|x|")

_DIGITS = re.compile(r"[0-9]{1,3}")


class Choice(NamedTuple):
    """Columns that the user chose, by title or, where there are none, by number from 1."""

    id: str | None = None
    name: str | None = None
    colour: str | None = None


class Record(NamedTuple):
    """A row of a table: where it stands, and its cells."""

    place: str
    cells: Sequence[str]


@dataclass(slots=True)
class _Columns:
    """Which columns hold what, by their numbers."""

    titles: list[str]
    cells: list[list[str]]
    """Of each column; "" where a row ends before it."""
    used: set[int] = field(default_factory=set)

    def named(self, keys: Sequence[str]) -> list[int]:
        """Return the columns of these titles, in the order of `keys`, that no other role has."""
        found = [
            (keys.index(key), n) for n, key in enumerate(map(_key, self.titles)) if key in keys
        ]
        return [n for _, n in sorted(found) if n not in self.used]

    def chosen(self, title: str, option: str) -> int:
        """Return the column that the user means."""
        for same in (str, str.casefold):
            matches = [n for n, other in enumerate(self.titles) if same(other) == same(title)]
            if len(matches) == 1:
                return matches[0]
        if title.isdecimal() and 1 <= int(title[:9]) <= len(self.titles):
            return int(title) - 1
        raise InputError(
            f"the table has no column {title!r} ({option}); it has {_listed(self.titles)}"
        )


class _Roles(NamedTuple):
    id: int
    name: int | None
    name_may_be_missing: bool
    colour: Callable[[Sequence[str]], Colour | None]
    description: list[int]
    parent: int | None
    tags: list[int]
    flags: list[int]
    values: list[int]


def read_columns(
    titles: Sequence[str], records: Sequence[Record], name: str, first: str, choice: Choice
) -> Iterator[Row]:
    """Yield the labels of a table whose columns have titles.

    Parameters
    ----------
    titles : sequence of str
    records : sequence of Record
    name : str
        Of the file, for messages.
    first : str
        Where the titles stand, for messages.
    choice : Choice

    Raises
    ------
    FormatError
        A row can't be understood, or no column can hold the ids or the names.
    InputError
        There is no column that the user chose.
    """
    with at_place(name, first):
        width = len(titles)
        cells = [[_cell(record, n) for record in records] for n in range(width)]
        columns = _Columns([*titles], cells)
        roles = _roles(columns, choice)
    ancestors = _ancestors(columns, roles, records, name)
    for row, record in enumerate(records):
        with at_place(name, record.place):
            yield record.place, _label(columns, roles, [c[row] for c in cells], record, ancestors)


def read_untitled(records: Sequence[Record], name: str, choice: Choice) -> Iterator[Row]:
    """Yield the labels of a table without titles: id, name, perhaps three channels, and tags."""
    width = max(len(record.cells) for record in records)
    first = records[0].cells
    has_colours = len(first) >= 5 and all(map(_DIGITS.fullmatch, first[2:5]))
    titles = ["id", "name", *(("r", "g", "b") if has_colours else ())]
    titles += ["tag"] * (width - len(titles))
    if choice != Choice():
        titles = [f"column {number}" for number in range(1, width + 1)]
    return read_columns(titles, records, name, records[0].place, choice)


def is_title_of_ids(title: str) -> bool:
    """Whether a column of this title holds ids."""
    key = _key(title)
    return any(key in keys for keys in _IDS) or key in _IDS_IF_WHOLE


def _roles(columns: _Columns, choice: Choice) -> _Roles:
    id_column = _id_column(columns, choice)
    columns.used.add(id_column)
    of_neurons = _key(columns.titles[id_column]) in _OF_NEURONS
    name = _name_column(columns, choice)
    columns.used.add(name)
    colour = _colour_reader(columns, choice)
    description = columns.named(_DESCRIPTIONS)
    parents = [n for n in columns.named(_PARENTS) if are_mostly(columns.cells[n], _has_digits)]
    columns.used.update(description, parents)
    tags, flags, values = _others(columns)
    return _Roles(
        id_column, name, of_neurons, colour, description, parents[0] if parents else None,
        tags, flags, values,
    )  # fmt: skip


def _id_column(columns: _Columns, choice: Choice) -> int:
    if choice.id is not None:
        return columns.chosen(choice.id, "--id-column")
    tiers = [*((keys, False) for keys in _IDS), *(((key,), True) for key in _IDS_IF_WHOLE)]
    found: list[int] = []
    for keys, is_ambiguous in tiers:
        # an index beside an id may number the rows, or be another id
        if found and keys not in _IDS[2:]:
            break
        candidates = columns.named(keys)
        if is_ambiguous:
            candidates = [n for n in candidates if are_mostly(columns.cells[n], is_whole)]
        found += candidates
    if not found:
        raise FormatError(
            "the table has no column id (or index, root_id, ...); say which column holds the "
            f"ids with --id-column: {_listed(columns.titles)}"
        )
    best, *others = found
    for other in others:
        cells = columns.cells[other]
        is_rival = _key(columns.titles[other]) not in ("index", "idx") or not _counts_rows(cells)
        if is_rival and cells != columns.cells[best] and are_mostly(cells, is_whole):
            raise FormatError(
                f"the columns {columns.titles[best]!r} and {columns.titles[other]!r} both could "
                "hold the ids; say which with --id-column"
            )
    columns.used.update(others)
    return best


def _name_column(columns: _Columns, choice: Choice) -> int:
    if choice.name is not None:
        return columns.chosen(choice.name, "--name-column")
    for n in columns.named(_NAMES):
        if _key(columns.titles[n]) == "name" or not are_numbers(columns.cells[n]):
            return n
    raise FormatError(
        "the table has no column name (or label, region, ...); say which column holds the "
        f"names with --name-column: {_listed(columns.titles)}"
    )


def _colour_reader(columns: _Columns, choice: Choice) -> Callable[[Sequence[str]], Colour | None]:
    """Choose the column, or three, of colours; the others that hold colours are of no use."""
    chosen = [] if choice.colour is None else [
        columns.chosen(title.strip(), "--color-column") for title in choice.colour.split(",")
    ]  # fmt: skip
    if len(chosen) not in (0, 1, 3):
        raise InputError("--color-column takes one title, or three joined by commas: r,g,b")
    channels = _channels(columns) if not chosen else chosen if len(chosen) == 3 else []
    single = _single_colours(columns) if not chosen else chosen if len(chosen) == 1 else []
    columns.used.update(channels, single, chosen)
    if single:
        parse = colour_parser(columns.cells[single[0]])
        return lambda row: None if is_missing(row[single[0]]) else parse(row[single[0]])
    if channels:
        unit = are_units([columns.cells[n] for n in channels])
        return lambda row: _of_channels([row[n] for n in channels], unit=unit)
    return lambda _row: None


def _of_channels(cells: Sequence[str], *, unit: bool) -> Colour | None:
    return None if all(map(is_missing, cells)) else parse_colour(cells, unit=unit)


def _channels(columns: _Columns) -> list[int]:
    found: dict[str, int] = {}
    for n, title in enumerate(columns.titles):
        match = _CHANNEL.fullmatch(_key(title))
        if match and n not in columns.used and are_mostly(columns.cells[n], is_number):
            channel = match[1][0]
            if channel in found:
                raise FormatError(f"two columns hold the channel {title!r} of colours; keep one")
            found[channel] = n
    alpha = found.pop("a", None)
    if len(found) < 2:
        return []  # a lone b is not a blue
    if len(found) < 3:
        raise FormatError("a colour is either the columns r, g and b, or one of color")
    if alpha is not None:
        columns.used.add(alpha)
    return [found[channel] for channel in "rgb"]


def _single_colours(columns: _Columns) -> list[int]:
    found = []
    for n, title in enumerate(columns.titles):
        if n in columns.used:
            continue
        # what is called a colour, and nothing else, must hold some
        is_promised = _key(title) in ("color", "colour") and any(columns.cells[n])
        if is_promised or are_colours(columns.cells[n], title):
            found.append(n)
    return found


def _others(columns: _Columns) -> tuple[list[int], list[int], list[int]]:
    """Return the columns that hold tags, those of true and false, and those of other values."""
    tags: list[int] = []
    flags: list[int] = []
    values: list[int] = []
    for n, (title, cells) in enumerate(zip(columns.titles, columns.cells, strict=True)):
        key = _key(title)
        is_idle = key in _IDLE or (_ROW_COUNTS.fullmatch(key) and _counts_rows(cells))
        if n in columns.used or is_idle:
            continue
        if key in _TAGS or not title:
            tags.append(n)
        elif are_flags(cells):
            flags.append(n)
        elif are_numbers(cells) or not are_tags(cells) or _differ_in_case(cells):
            values.append(n)
        else:
            tags.append(n)
    return tags, flags, values


def _label(
    columns: _Columns,
    roles: _Roles,
    row: Sequence[str],
    record: Record,
    ancestors: dict[int, tuple[str, ...]],
) -> Label:
    beyond = record.cells[len(columns.titles) :]
    if any(beyond):
        raise FormatError(f"{len(record.cells)} columns, but {len(columns.titles)} titles")
    label_id = parse_id(row[roles.id])
    name = "" if roles.name is None or is_missing_name(row[roles.name]) else row[roles.name]
    if not name:
        if not roles.name_may_be_missing:
            raise FormatError("the name is missing")
        name = str(label_id)
    described = [row[n] for n in roles.description if not is_missing(row[n])]
    tags = [
        *ancestors.get(label_id, ()),
        *(tag_of(row[n]) for n in roles.tags if not is_missing(row[n])),
        *(tag_of(columns.titles[n]) for n in roles.flags if is_true(row[n])),
    ]
    values = [
        (columns.titles[n], number_of(row[n]) if is_number(row[n]) else row[n])
        for n in roles.values
        if not is_missing(row[n])
    ]
    return Label(
        label_id,
        name,
        roles.colour(row),
        described[0] if described else "",
        tuple(dict.fromkeys(tags)),
        tuple(values),
    )


def is_missing_name(cell: str) -> bool:
    """Whether a cell holds no name; "None", "NA" and "nan" are what tables call the background."""
    return cell in ("", "n/a")


def _ancestors(
    columns: _Columns, roles: _Roles, records: Sequence[Record], name: str
) -> dict[int, tuple[str, ...]]:
    if roles.parent is None:
        return {}
    is_path = _key(columns.titles[roles.parent]) in _PATHS
    short = [n for n in range(len(columns.titles)) if _key(columns.titles[n]) in _SHORT_NAMES]
    parents: dict[int, int | None] = {}
    names: dict[int, str] = {}
    for row, record in enumerate(records):
        cell = columns.cells[roles.id][row]
        if not is_whole(cell):
            continue  # told of where the label is made
        with at_place(name, record.place):
            region = parse_id(cell)
            parents[region] = parent_of(columns.cells[roles.parent][row], is_path=is_path)
            sources = [*short, *([] if roles.name is None else [roles.name])]
            found = [columns.cells[n][row] for n in sources if columns.cells[n][row]]
            names[region] = found[0] if found else cell
    with at_place(name, "its tree of regions"):
        return tags_of_ancestors(parents, names)


def _cell(record: Record, column: int) -> str:
    return record.cells[column] if column < len(record.cells) else ""


def _key(title: str) -> str:
    return re.sub(r"[^a-z0-9]", "", title.casefold())


def _has_digits(cell: str) -> bool:
    return any(character.isdigit() for character in cell)


def _counts_rows(cells: Sequence[str]) -> bool:
    """Whether cells number the rows, as pandas writes an index that nobody set."""
    return any(
        all(cell == str(number) for number, cell in enumerate(cells, start)) for start in (0, 1)
    )


def _differ_in_case(cells: Sequence[str]) -> bool:
    """Whether two cells would be one tag to Neuroglancer, but are two words."""
    tags = set(map(tag_of, cells))
    return len({tag.casefold() for tag in tags}) < len(tags)


def _listed(titles: Sequence[str]) -> str:
    shown = ", ".join(repr(title) for title in titles[:12])
    return shown + (f" and {len(titles) - 12} more" if len(titles) > 12 else "")
