"""Mends segment_properties: ids in numerical order, as text, and tags that can be searched for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError
from ngcore.precomputed.json_members import dump, parse_object
from ngcore.precomputed.segment_properties import SegmentProperties

if TYPE_CHECKING:
    from ngcore.repairing.changes import Changes


def mend_properties(document: bytes, changes: Changes) -> bytes:
    """Return the content of the `info` of segment properties; as it is, if it is valid.

    Raises
    ------
    FormatError
        Something else is wrong with it.
    """
    try:
        SegmentProperties.from_json(document)
    except FormatError as error:
        first_fault = error
    else:
        return document
    members = parse_object(document)
    inline = members.get("inline")
    if not isinstance(inline, dict):
        raise first_fault
    try:
        has_moved = _sort_ids(inline)
        tags = _repair_tags(inline)
        content = dump(members).encode()
        SegmentProperties.from_json(content)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise first_fault from error
    changes.add("ids", int(has_moved))
    changes.add("tags", tags)
    return content


def _sort_ids(inline: dict[str, Any]) -> bool:
    """Sort the ids, and with them the values of every property; say if that changed anything."""
    ids, properties = inline["ids"], inline["properties"]
    numbers = [_segment_id(value) for value in ids]
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    texts = [str(numbers[place]) for place in order]
    if texts == ids:
        return False
    for item in properties:
        values = item["values"]
        if len(values) != len(ids):
            raise FormatError("not as many values as ids")
        item["values"] = [values[place] for place in order]
    inline["ids"] = texts
    return True


def _segment_id(value: Any) -> int:
    """Return an id that was written as a number, or as text with zeros before it."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise FormatError(f"{value!r} is not an id")
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 25):
        raise FormatError(f"{value!r} is not an id")
    return int(value)


def _repair_tags(inline: dict[str, Any]) -> int:
    """Mend every tag that Neuroglancer can't search for, and return how many these were."""
    count = 0
    for item in inline["properties"]:
        if str(item["type"]).lower() != "tags":
            continue
        tags = ["_".join(tag.lstrip("#").split()) for tag in item["tags"]]
        count += sum(new != old for new, old in zip(tags, item["tags"], strict=True))
        item["tags"] = tags
        values = [sorted(set(indices)) for indices in item["values"]]
        count += sum(new != old for new, old in zip(values, item["values"], strict=True))
        item["values"] = values
    return count
