"""The ``info`` of a folder of segment properties: names, tags and numbers of segments.

The rules are those of Neuroglancer's page and of what its client does with the file. The client
sorts ids itself where it finds them unsorted, but overlooks some orders, so here they are sorted.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/segment_properties.md
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from ngcore.errors import FormatError
from ngcore.precomputed.json_members import (
    check_enum,
    check_integer,
    check_object,
    check_type_tag,
    dump,
    fail,
    inside,
    parse_object,
    set_field,
    take,
    take_optional,
)
from ngcore.precomputed.names import MAX_SEGMENT_ID, SEGMENT_PROPERTIES_TYPE

TEXT_TYPES = ("label", "description", "string")
NUMBER_RANGES: dict[str, tuple[float, float]] = {
    "uint8": (0, 2**8 - 1),
    "int8": (-(2**7), 2**7 - 1),
    "uint16": (0, 2**16 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint32": (0, 2**32 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "float32": (-3.4028234663852886e38, 3.4028234663852886e38),
}
"""Data types of number properties, and the values that they hold."""

_MAX_TAGS = 2**16
"""The client keeps the tags of a segment as UTF-16 code units."""
_ID = re.compile("0|[1-9][0-9]{0,19}")


@dataclass(frozen=True, slots=True)
class TextProperty:
    """A text for each segment.

    Attributes
    ----------
    id : str
        Its name among the properties; the client shows that of a ``string`` only.
    values : tuple of str
        One for each segment.
    type : {'label', 'description', 'string'}
        The client shows a label wherever it shows the segment.
    description : str or None
        What the texts are.
    """

    id: str
    values: tuple[str, ...]
    type: str = "label"
    description: str | None = None

    def __post_init__(self) -> None:
        _check_text(self.id, "id")
        set_field(self, "type", check_enum(self.type, "type", TEXT_TYPES))
        _check_optional_text(self.description, "description")
        set_field(self, "values", tuple(_texts(self.values, "values")))

    def to_json(self) -> dict[str, Any]:
        """Return the object that stands for it in the file."""
        return {"id": self.id, "type": self.type} | _described(self) | {"values": self.values}


@dataclass(frozen=True, slots=True)
class TagsProperty:
    """Tags of segments, by which the client searches: ``#left``.

    Attributes
    ----------
    id : str
    tags : tuple of str
        Every tag, without the ``#``, without white space, different also in lower case.
    values : tuple of tuple of int
        For each segment the indices of its tags in `tags`, increasing.
    tag_descriptions : tuple of str or None
        One for each tag.
    """

    id: str
    tags: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    tag_descriptions: tuple[str, ...] | None = None
    type: ClassVar[str] = "tags"

    def __post_init__(self) -> None:
        _check_text(self.id, "id")
        set_field(self, "tags", tuple(_texts(self.tags, "tags")))
        if len(self.tags) > _MAX_TAGS:
            raise FormatError(
                f"tags: {len(self.tags)} tags, but Neuroglancer takes at most {_MAX_TAGS}"
            )
        seen: dict[str, int] = {}
        for number, tag in enumerate(self.tags):
            if (problem := problem_of_tag(tag)) is not None:
                raise FormatError(f"tags[{number}]: {problem}")
            first = seen.setdefault(tag.casefold(), number)
            if first != number:
                raise FormatError(
                    f"tags[{number}]: {tag!r} is tags[{first}] again, apart from case"
                )
        if self.tag_descriptions is not None:
            texts = tuple(_texts(self.tag_descriptions, "tag_descriptions"))
            _check_count(len(texts), len(self.tags), "tag_descriptions", "tags")
            set_field(self, "tag_descriptions", texts)
        set_field(self, "values", tuple(self._indices()))

    def _indices(self) -> list[tuple[int, ...]]:
        found = []
        for number, indices in enumerate(_items(self.values, "values")):
            place = f"values[{number}]"
            checked = tuple(
                check_integer(index, f"{place}[{position}]", 0, len(self.tags) - 1)
                for position, index in enumerate(_items(indices, place))
            )
            if any(b <= a for a, b in itertools.pairwise(checked)):
                fail(place, "indices in increasing order", list(checked))
            found.append(checked)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the object that stands for it in the file."""
        members: dict[str, Any] = {"id": self.id, "type": self.type, "tags": self.tags}
        if self.tag_descriptions is not None:
            members["tag_descriptions"] = self.tag_descriptions
        return members | {"values": self.values}


@dataclass(frozen=True, slots=True)
class NumberProperty:
    """A number for each segment, by which the client sorts and filters.

    Attributes
    ----------
    id : str
    data_type : str
        A key of `NUMBER_RANGES`.
    values : tuple of float
        One for each segment, in the range of `data_type`; whole but for float32.
    description : str or None
        What the numbers are.
    """

    id: str
    data_type: str
    values: tuple[float, ...]
    description: str | None = None
    type: ClassVar[str] = "number"

    def __post_init__(self) -> None:
        _check_text(self.id, "id")
        set_field(self, "data_type", check_enum(self.data_type, "data_type", NUMBER_RANGES))
        _check_optional_text(self.description, "description")
        low, high = NUMBER_RANGES[self.data_type]
        values = tuple(_items(self.values, "values"))
        for number, value in enumerate(values):
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not low <= value <= high:
                fail(f"values[{number}]", f"a number of type {self.data_type}", value)
            if self.data_type != "float32" and value != int(value):
                fail(f"values[{number}]", f"a number of type {self.data_type}", value)
        set_field(self, "values", values)

    def to_json(self) -> dict[str, Any]:
        """Return the object that stands for it in the file."""
        members = {"id": self.id, "type": self.type, "data_type": self.data_type}
        return members | _described(self) | {"values": self.values}


Property = TextProperty | TagsProperty | NumberProperty


@dataclass(frozen=True, slots=True)
class SegmentProperties:
    """All properties of a volume's segments.

    Attributes
    ----------
    ids : tuple of int
        Segments, 0 to 2^64 - 1, strictly increasing.
    properties : tuple of Property
        With ids of their own; at most one label, one description and one of tags.

    Raises
    ------
    FormatError
        A value breaks the format's rules; the message starts with its path in the JSON.

    Examples
    --------
    >>> names = TextProperty("label", ("Left-Hippocampus", "Left-Amygdala"))
    >>> made = SegmentProperties((17, 18), (names,))
    >>> SegmentProperties.from_json(made.to_json()) == made
    True
    """

    ids: tuple[int, ...]
    properties: tuple[Property, ...]

    def __post_init__(self) -> None:
        set_field(self, "ids", tuple(self.ids))
        set_field(self, "properties", tuple(self.properties))
        for number, segment in enumerate(self.ids):
            if not 0 <= segment <= MAX_SEGMENT_ID:
                raise FormatError(f"inline.ids[{number}]: {segment} is outside of 0 to 2^64 - 1")
            if number and segment <= self.ids[number - 1]:
                how = "listed twice" if segment in self.ids[:number] else "out of numerical order"
                raise FormatError(f"inline.ids[{number}]: {segment} is {how}")
        seen: dict[str, int] = {}
        for number, item in enumerate(self.properties):
            place = f"inline.properties[{number}]"
            _check_count(len(item.values), len(self.ids), f"{place}.values", "inline.ids")
            keys = [f"id {item.id!r}"]
            if item.type in ("label", "description", "tags"):
                keys.append(f"type {item.type!r}")
            for key in keys:
                first = seen.setdefault(key, number)
                if first != number:
                    raise FormatError(
                        f"{place}: has {key}, as properties[{first}] does; only one may have it"
                    )

    @classmethod
    def from_json(cls, document: str | bytes) -> SegmentProperties:
        """Parse the ``info`` of a folder of segment properties; unknown members are left out.

        Raises
        ------
        FormatError
            It is no JSON, or breaks the format's rules; the message names the JSON path.
        """
        members = parse_object(document)
        check_type_tag(take(members, "@type"), SEGMENT_PROPERTIES_TYPE)
        inline = take_optional(members, "inline")
        if inline is None:
            return cls((), ())
        check_object(inline, "inline")
        with inside("inline"):
            ids = [
                _segment_id(text, f"ids[{number}]")
                for number, text in enumerate(_items(take(inline, "ids"), "ids"))
            ]
            properties = []
            for number, item in enumerate(_items(take(inline, "properties"), "properties")):
                check_object(item, f"properties[{number}]")
                with inside(f"properties[{number}]"):
                    properties.append(_property(item))
        return cls(tuple(ids), tuple(properties))

    def to_json(self) -> str:
        """Return the file's text."""
        inline = {
            "ids": [str(segment) for segment in self.ids],
            "properties": [item.to_json() for item in self.properties],
        }
        return dump({"@type": SEGMENT_PROPERTIES_TYPE, "inline": inline})


def problem_of_tag(tag: str) -> str | None:
    """Return why Neuroglancer can't search for a tag, None where it can."""
    if not tag:
        return "an empty tag"
    if tag.startswith("#"):
        return f"the tag {tag!r} must be written without its '#'"
    if any(character.isspace() for character in tag):
        return f"the tag {tag!r} holds a space; write {'_'.join(tag.split())!r}"
    return None


def _property(members: dict[str, Any]) -> Property:
    kind = check_enum(take(members, "type"), "type", (*TEXT_TYPES, "tags", "number"))
    name, values = take(members, "id"), take(members, "values")
    if kind == "tags":
        if "description" in members:
            raise FormatError("description: tags have none; they have tag_descriptions")
        texts = take_optional(members, "tag_descriptions")
        return TagsProperty(name, take(members, "tags"), values, texts)
    description = take_optional(members, "description")
    if kind == "number":
        return NumberProperty(name, take(members, "data_type"), values, description)
    return TextProperty(name, values, kind, description)


def _segment_id(value: object, place: str) -> int:
    if not isinstance(value, str) or not _ID.fullmatch(value) or int(value) > MAX_SEGMENT_ID:
        fail(place, "a string of a decimal number below 2^64", value)
    return int(value)


def _described(item: TextProperty | NumberProperty) -> dict[str, str]:
    return {} if item.description is None else {"description": item.description}


def _items(value: Any, place: str) -> Any:
    if not isinstance(value, list | tuple):
        fail(place, "an array", value)
    return value


def _texts(value: Any, place: str) -> Any:
    for number, text in enumerate(_items(value, place)):
        _check_text(text, f"{place}[{number}]")
    return value


def _check_text(value: object, place: str) -> None:
    # A half of a UTF-16 pair can't be written as UTF-8.
    if not isinstance(value, str) or any("\ud800" <= c <= "\udfff" for c in value):
        fail(place, "a string", value)


def _check_optional_text(value: object, place: str) -> None:
    if value is not None:
        _check_text(value, place)


def _check_count(count: int, expected: int, place: str, like: str) -> None:
    if count != expected:
        raise FormatError(f"{place}: expected {expected} items, as many as {like}, got {count}")
