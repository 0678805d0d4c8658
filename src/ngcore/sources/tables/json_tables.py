"""Label tables in JSON: trees of the Allen institute, lists of brainglobe, nnU-Net, 3D Slicer.

https://atlas.brain-map.org (structure graph),
https://brainglobe.info/documentation/brainglobe-atlasapi,
https://github.com/MIC-DKFZ/nnUNet (dataset.json), https://qiicr.gitbook.io/dcmqi-guide (segments)
and Neuroglancer's own segment properties.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError
from ngcore.precomputed.names import SEGMENT_PROPERTIES_TYPE
from ngcore.precomputed.segment_properties import (
    NumberProperty,
    SegmentProperties,
    TagsProperty,
    TextProperty,
)
from ngcore.sources.tables.columns import Choice, Record, read_columns
from ngcore.sources.tables.rows import Label, is_whole, parse_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.sources.tables.rows import Row

_MOST_REGIONS = 5_000_000
_SEGMENT_TITLES = {
    "labelID": "id",
    "SegmentLabel": "name",
    "SegmentDescription": "description",
    "recommendedDisplayRGBValue": "rgb",
}


def read_json(data: bytes, name: str, choice: Choice) -> tuple[str, Iterator[Row]]:
    """Return the format and the labels of a JSON file.

    Raises
    ------
    FormatError
        It is not JSON, or none of these.
    """
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: not JSON: {error}; save the table again") from error
    if isinstance(document, dict):
        if document.get("@type") == SEGMENT_PROPERTIES_TYPE:
            return "Neuroglancer", _own(data, name)
        if isinstance(segments := document.get("segmentAttributes"), list):
            return "segment", _objects(_segments(segments), name, choice)
        for member in ("labels", "msg", "structures", "regions", "data"):
            if isinstance(document.get(member), dict | list):
                document = document[member]
                break
    if isinstance(document, dict) and not isinstance(document.get("children"), list):
        return "JSON", iter(_pairs(document, name))
    regions = _flat(document if isinstance(document, list) else [document])
    return "JSON", _objects(regions, name, choice)


def _pairs(document: dict[str, Any], name: str) -> list[Row]:
    """Return the labels of ``{"1": "spleen"}``, or ``{"spleen": 1}`` as nnU-Net 2 has it."""
    rows = []
    for key, value in document.items():
        if isinstance(value, str) and is_whole(key):
            label_id, text = parse_id(key), value
        elif isinstance(value, int) and not isinstance(value, bool) and key:
            label_id, text = value, key
        else:
            raise _unknown(name, f"the member {key[:40]!r}")
        try:
            rows.append((f"member {key!r}", Label(label_id, text)))
        except FormatError as error:
            raise FormatError(f"{name}, member {key!r}: {error}") from error
    return rows


def _segments(groups: list[Any]) -> list[Any]:
    segments = [one for group in groups for one in (group if isinstance(group, list) else [group])]
    return [
        {_SEGMENT_TITLES[key]: value for key, value in one.items() if key in _SEGMENT_TITLES}
        if isinstance(one, dict)
        else one
        for one in segments
    ]


def _flat(regions: list[Any]) -> list[Any]:
    """Return the regions of a tree, each before its parts, with the ids of their parents."""
    found: list[Any] = []
    waiting = [(region, None) for region in reversed(regions)]
    while waiting:
        region, parent = waiting.pop()
        if isinstance(region, dict):
            parts = region.get("children")
            here = {key: value for key, value in region.items() if key != "children"}
            if parent is not None:
                here.setdefault("parent_structure_id", parent)
            region = here
            if isinstance(parts, list):
                waiting += [(part, here.get("id")) for part in reversed(parts)]
        found.append(region)
    return found


def _objects(objects: list[Any], name: str, choice: Choice) -> Iterator[Row]:
    titles: dict[str, int] = {}
    for number, one in enumerate(objects, start=1):
        if not isinstance(one, dict):
            raise _unknown(name, f"entry {number}")
        for key in one:
            titles.setdefault(key, len(titles))
    if not objects or len(objects) * len(titles) > _MOST_REGIONS:
        raise _unknown(name, f"a list of {len(objects)} entries with {len(titles)} members")
    records = [
        Record(f"entry {number}", [_text(one.get(title)) for title in titles])
        for number, one in enumerate(objects, start=1)
    ]
    return read_columns([*titles], records, name, "its entries", choice)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "/".join(map(_text, value))
    return " ".join((value if isinstance(value, str) else json.dumps(value)).split())


def _own(data: bytes, name: str) -> Iterator[Row]:
    try:
        known = SegmentProperties.from_json(data)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error
    for place, segment in enumerate(known.ids):
        text, description = str(segment), ""
        tags: tuple[str, ...] = ()
        values: list[tuple[str, int | float | str]] = []
        for item in known.properties:
            if isinstance(item, TagsProperty):
                tags = tuple(item.tags[tag] for tag in item.values[place])
            elif isinstance(item, NumberProperty) or item.type == "string":
                values.append((item.id, item.values[place]))
            elif isinstance(item, TextProperty) and item.type == "label":
                text = item.values[place]
            else:
                description = str(item.values[place])
        yield f"segment {segment}", Label(segment, text, None, description, tags, tuple(values))


def _unknown(name: str, what: str) -> FormatError:
    return FormatError(
        f"{name} is not a label table: {what} of its JSON is not a label; expected "
        '{"1": "name"}, {"name": 1}, a list of objects with id and name, or a tree of them'
    )
