"""The `info` of an annotation collection: kind, dimensions, properties and indexes.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/annotations.md
The client's parser reads `chunk_size` of a spatial level; the schema on that page is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError
from ngcore.precomputed.annotation_property import AnnotationProperty
from ngcore.precomputed.json_members import (
    MAX_SAFE_INTEGER,
    check_array,
    check_enum,
    check_extra,
    check_integer,
    check_number,
    check_object,
    check_relative_path,
    check_type_tag,
    dump,
    fail,
    inside,
    parse_object,
    plain_number,
    set_field,
    take,
    take_optional,
)
from ngcore.precomputed.names import ANNOTATIONS_TYPE
from ngcore.precomputed.sharding import ShardingSpec

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = ("point", "line", "axis_aligned_bounding_box", "ellipsoid", "polyline")
"""Values of `annotation_type`."""
MOST_RECORD_BYTES = 255
"""The client's shaders take one record of fixed size as one vertex attribute of that stride."""

_UNIT = re.compile(r"(?:[YZEPTGMkhdcmuµnpfazy]?(?:m|s|Hz|rad/s))?")
_MEMBERS = (
    *("dimensions", "lower_bound", "upper_bound", "annotation_type", "properties"),
    *("relationships", "by_id", "spatial"),
)


@dataclass(frozen=True, slots=True)
class AnnotationIndex:
    """Where annotations lie by their ids: the index `by_id`, or that of a relationship.

    Attributes
    ----------
    key : str
        Folder, relative to that of `info`.
    sharding : ShardingSpec or None
    id : str
        Name of the relationship; empty for `by_id`.
    """

    key: str
    sharding: ShardingSpec | None = None
    id: str = ""

    def __post_init__(self) -> None:
        check_relative_path(self.key, "key")
        if not isinstance(self.id, str):
            fail("id", "a string", self.id)

    @classmethod
    def from_json(cls, value: object, *, is_relationship: bool = False) -> AnnotationIndex:
        """Check a parsed JSON value."""
        members = dict(check_object(value, "index"))
        name = take(members, "id") if is_relationship else ""
        return cls(take(members, "key"), _sharding(members), name)

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds."""
        members: dict[str, Any] = {"id": self.id} if self.id else {}
        return members | {"key": self.key} | _sharding_json(self.sharding)


@dataclass(frozen=True, slots=True)
class SpatialLevel:
    """One level of the spatial index: a grid of cells, which begins at `lower_bound`.

    Attributes
    ----------
    key : str
    grid_shape : tuple of int
        Cells along each dimension.
    chunk_size : tuple of float
        Of a cell, in units of the dimensions.
    limit : int
        About the most annotations of a cell.
    sharding : ShardingSpec or None
    """

    key: str
    grid_shape: tuple[int, ...]
    chunk_size: tuple[float, ...]
    limit: int
    sharding: ShardingSpec | None = None

    def __post_init__(self) -> None:
        check_relative_path(self.key, "key")
        cells = tuple(
            check_integer(item, f"grid_shape[{n}]", 1, MAX_SAFE_INTEGER)
            for n, item in enumerate(check_array(self.grid_shape, "grid_shape"))
        )
        sides = _numbers(self.chunk_size, "chunk_size")
        for number, side in enumerate(sides):
            if side <= 0:
                fail(f"chunk_size[{number}]", "a positive number", side)
        set_field(self, "grid_shape", cells)
        set_field(self, "chunk_size", sides)
        set_field(self, "limit", check_integer(self.limit, "limit", 1, MAX_SAFE_INTEGER))

    @classmethod
    def from_json(cls, value: object) -> SpatialLevel:
        """Check a parsed JSON value."""
        members = dict(check_object(value, "level"))
        return cls(
            take(members, "key"),
            take(members, "grid_shape"),
            take(members, "chunk_size"),
            take(members, "limit"),
            _sharding(members),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "key": self.key,
            "grid_shape": list(self.grid_shape),
            "chunk_size": [plain_number(side) for side in self.chunk_size],
            "limit": self.limit,
        } | _sharding_json(self.sharding)


@dataclass(frozen=True)
class AnnotationInfo:
    """The `info` of an annotation collection, checked.

    Attributes
    ----------
    dimensions : dict of str to (float, str)
        By name, in order: how large 1 is, and the unit, such as ``(0.001, "m")``.
    lower_bound, upper_bound : tuple of float
        Of all annotations, one for each dimension.
    annotation_type : str
        One of `KINDS`.
    properties : tuple of AnnotationProperty
    relationships : tuple of AnnotationIndex
        With ids.
    by_id : AnnotationIndex
    spatial : tuple of SpatialLevel
        Coarse to fine.
    extra : dict
        Members that nobody knows, kept as they are.

    Raises
    ------
    FormatError
        A value breaks the format's rules; the message starts with its JSON path.
    """

    dimensions: dict[str, tuple[float, str]]
    lower_bound: tuple[float, ...]
    upper_bound: tuple[float, ...]
    annotation_type: str
    properties: tuple[AnnotationProperty, ...]
    relationships: tuple[AnnotationIndex, ...]
    by_id: AnnotationIndex
    spatial: tuple[SpatialLevel, ...]
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_field(self, "dimensions", _dimensions(self.dimensions))
        rank = len(self.dimensions)
        for name in ("lower_bound", "upper_bound"):
            set_field(self, name, _numbers(getattr(self, name), name, rank))
        for axis, (low, high) in enumerate(zip(self.lower_bound, self.upper_bound, strict=True)):
            if high < low:
                fail(f"upper_bound[{axis}]", f"no less than lower_bound, {low:g}", high)
        kind = check_enum(self.annotation_type, "annotation_type", KINDS)
        set_field(self, "annotation_type", kind)
        for name in ("properties", "relationships", "spatial"):
            set_field(self, name, tuple(getattr(self, name)))
        _check_unique((item.id for item in self.properties), "properties")
        _check_unique((item.id for item in self.relationships), "relationships")
        for number, level in enumerate(self.spatial):
            for member in ("grid_shape", "chunk_size"):
                if len(getattr(level, member)) != rank:
                    path = f"spatial[{number}].{member}"
                    fail(path, f"{rank} numbers, one for each dimension", getattr(level, member))
        check_extra(self.extra, _MEMBERS)
        if self.record_bytes > MOST_RECORD_BYTES:
            raise FormatError(
                f"properties: an annotation takes {self.record_bytes} bytes, but the client "
                f"takes at most {MOST_RECORD_BYTES}; leave properties out"
            )

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.dimensions)

    @property
    def geometry_floats(self) -> int:
        """Numbers of float32 that place an annotation; of a polyline those of a vertex."""
        return self.rank * (1 if self.annotation_type in ("point", "polyline") else 2)

    @cached_property
    def property_offsets(self) -> tuple[int, ...]:
        """Where each property lies, in bytes after the geometry; in the order of `properties`.

        Those of 4 bytes come first, then those of 2, then single bytes and colours.
        """
        offsets = [0] * len(self.properties)
        position = 0
        for size in (4, 2, 1):
            for number, item in enumerate(self.properties):
                if item.dtype.itemsize == size:
                    offsets[number] = position
                    position += size * item.components
        return tuple(offsets)

    @cached_property
    def property_bytes(self) -> int:
        """Bytes of all properties of an annotation, filled up to a multiple of 4."""
        size = sum(item.dtype.itemsize * item.components for item in self.properties)
        return -(-size // 4) * 4

    @property
    def record_bytes(self) -> int:
        """Bytes of geometry (of polylines none) and properties."""
        geometry = 0 if self.annotation_type == "polyline" else 4 * self.geometry_floats
        return geometry + self.property_bytes

    @classmethod
    def from_json(cls, document: str | bytes) -> AnnotationInfo:
        """Parse an `info` file.

        Raises
        ------
        FormatError
            It is no JSON, or breaks the format's rules; the message names the JSON path.
        """
        members = parse_object(document)
        check_type_tag(take(members, "@type"), ANNOTATIONS_TYPE)
        values = {name: take(members, name) for name in _MEMBERS[:5]}
        relationships = _parsed(
            take(members, "relationships"),
            "relationships",
            lambda item: AnnotationIndex.from_json(item, is_relationship=True),
        )
        with inside("by_id"):
            by_id = AnnotationIndex.from_json(take(members, "by_id"))
        spatial = _parsed(
            take_optional(members, "spatial") or [], "spatial", SpatialLevel.from_json
        )
        values["properties"] = _parsed(
            values["properties"], "properties", AnnotationProperty.from_json
        )
        return cls(
            **values, relationships=relationships, by_id=by_id, spatial=spatial, extra=members
        )

    def to_json(self) -> str:
        """Return the file's text."""
        members: dict[str, Any] = {
            "@type": ANNOTATIONS_TYPE,
            "dimensions": {
                name: [plain_number(scale), unit]
                for name, (scale, unit) in self.dimensions.items()
            },
            "lower_bound": [plain_number(value) for value in self.lower_bound],
            "upper_bound": [plain_number(value) for value in self.upper_bound],
            "annotation_type": self.annotation_type,
        }
        for name in ("properties", "relationships"):
            members[name] = [item.to_json() for item in getattr(self, name)]
        members["by_id"] = self.by_id.to_json()
        members["spatial"] = [level.to_json() for level in self.spatial]
        return dump(members | self.extra)


def _dimensions(value: object) -> dict[str, tuple[float, str]]:
    checked: dict[str, tuple[float, str]] = {}
    for name, item in check_object(value, "dimensions").items():
        path = f"dimensions.{name}"
        pair = check_array(item, path)
        if len(pair) != 2 or not isinstance(pair[1], str) or not _UNIT.fullmatch(pair[1]):
            fail(path, "a number and a unit such as m or s", item)
        scale = check_number(pair[0], f"{path}[0]")
        if scale <= 0:
            fail(f"{path}[0]", "a positive number", scale)
        checked[name] = (scale, pair[1])
    if not checked:
        raise FormatError("dimensions: expected one or more, got none")
    return checked


def _sharding(members: dict[str, Any]) -> ShardingSpec | None:
    value = take_optional(members, "sharding")
    if value is None:
        return None
    with inside("sharding"):
        return ShardingSpec.from_json(value)


def _sharding_json(sharding: ShardingSpec | None) -> dict[str, Any]:
    return {} if sharding is None else {"sharding": sharding.to_json()}


def _parsed(value: object, path: str, parse: Any) -> tuple[Any, ...]:
    parsed = []
    for number, item in enumerate(check_array(value, path)):
        with inside(f"{path}[{number}]"):
            parsed.append(parse(item))
    return tuple(parsed)


def _numbers(value: object, path: str, count: int | None = None) -> tuple[float, ...]:
    items = check_array(value, path)
    if count is not None and len(items) != count:
        fail(path, f"{count} numbers, one for each dimension", list(items))
    return tuple(check_number(item, f"{path}[{n}]") for n, item in enumerate(items))


def _check_unique(names: Iterable[str], path: str) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            raise FormatError(f"{path}[{number}].id: {name!r} occurs twice")
        seen.add(name)
