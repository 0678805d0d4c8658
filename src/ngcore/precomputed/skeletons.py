"""Skeletons: the `info` of a folder of them, and the bytes of one.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/skeletons.md
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.json_members import (
    check_enum,
    check_extra,
    check_integer,
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
from ngcore.precomputed.names import SKELETONS_TYPE
from ngcore.precomputed.sharding import ShardingSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ATTRIBUTE_TYPES = ("float32", "int8", "uint8", "int16", "uint16", "int32", "uint32")
IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)

_HEADER = 8
_VERTEX = 12
_EDGE = 8
_MEMBERS = ("transform", "vertex_attributes", "sharding", "segment_properties")
_MOST_COMPONENTS = 64


@dataclass(frozen=True, slots=True)
class VertexAttribute:
    """Numbers that each vertex has.

    Attributes
    ----------
    id : str
    data_type : str
        One of `ATTRIBUTE_TYPES`.
    num_components : int
        How many of them.
    """

    id: str
    data_type: str
    num_components: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            fail("id", "a name", self.id)
        set_field(self, "data_type", check_enum(self.data_type, "data_type", ATTRIBUTE_TYPES))
        count = check_integer(self.num_components, "num_components", 1, _MOST_COMPONENTS)
        set_field(self, "num_components", count)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one number, as it is stored."""
        return np.dtype(self.data_type).newbyteorder("<")

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "id": self.id,
            "data_type": self.data_type,
            "num_components": self.num_components,
        }


@dataclass(frozen=True, slots=True)
class SkeletonInfo:
    """The `info` of a folder of skeletons, checked.

    Attributes
    ----------
    vertex_attributes : tuple of VertexAttribute
    transform : tuple of 12 float
        From stored coordinates to nanometres, row by row.
    sharding : ShardingSpec or None
    segment_properties : str or None
        Folder of names and numbers of the skeletons.
    extra : dict
        Members that nobody knows, kept as they are.

    Raises
    ------
    FormatError
        A value breaks the format's rules; the message starts with its JSON path.
    """

    vertex_attributes: tuple[VertexAttribute, ...] = ()
    transform: tuple[float, ...] = IDENTITY
    sharding: ShardingSpec | None = None
    segment_properties: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        attributes = tuple(self.vertex_attributes)
        set_field(self, "vertex_attributes", attributes)
        names = [item.id for item in attributes]
        if len(set(names)) != len(names):
            raise FormatError("vertex_attributes: an id occurs twice")
        if not isinstance(self.transform, list | tuple) or len(self.transform) != 12:
            fail("transform", "an array of 12 numbers", self.transform)
        numbers = tuple(_number(item, f"transform[{n}]") for n, item in enumerate(self.transform))
        set_field(self, "transform", numbers)
        if self.segment_properties is not None:
            check_relative_path(self.segment_properties, "segment_properties")
        check_extra(self.extra, _MEMBERS)

    @classmethod
    def from_json(cls, document: str | bytes) -> SkeletonInfo:
        """Parse an `info` file.

        Raises
        ------
        FormatError
            It is no JSON, or breaks the format's rules; the message names the JSON path.
        """
        members = parse_object(document)
        check_type_tag(take(members, "@type"), SKELETONS_TYPE)
        attributes = []
        found = members.pop("vertex_attributes", [])
        if not isinstance(found, list):
            fail("vertex_attributes", "an array", found)
        for number, item in enumerate(found):
            with inside(f"vertex_attributes[{number}]"):
                values = dict(check_object(item, "attribute"))
                name, kind = take(values, "id"), take(values, "data_type")
                attributes.append(VertexAttribute(name, kind, take(values, "num_components")))
        sharding = take_optional(members, "sharding")
        if sharding is not None:
            with inside("sharding"):
                sharding = ShardingSpec.from_json(sharding)
        return cls(
            tuple(attributes),
            members.pop("transform", IDENTITY),
            sharding,
            take_optional(members, "segment_properties"),
            members,
        )

    def to_json(self) -> str:
        """Return the file's text."""
        members: dict[str, Any] = {
            "@type": SKELETONS_TYPE,
            "transform": [plain_number(number) for number in self.transform],
            "vertex_attributes": [item.to_json() for item in self.vertex_attributes],
        }
        if self.sharding is not None:
            members["sharding"] = self.sharding.to_json()
        if self.segment_properties is not None:
            members["segment_properties"] = self.segment_properties
        return dump(members | self.extra)


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """One skeleton.

    Attributes
    ----------
    vertices : ndarray of float32, shape (n, 3)
        Stored coordinates: the info's `transform` takes them to nanometres.
    edges : ndarray of uint32, shape (m, 2)
        Pairs of vertices.
    attributes : mapping of str to ndarray, shape (n,) or (n, components)
        One for each attribute of the info.
    """

    vertices: NDArray[np.float32]
    edges: NDArray[np.uint32]
    attributes: Mapping[str, NDArray[Any]]

    def to_bytes(self, info: SkeletonInfo) -> bytes:
        """Return the bytes of the skeleton; `from_bytes` takes them back."""
        parts: list[NDArray[Any]] = [
            np.array([len(self.vertices), len(self.edges)], "<u4"),
            np.asarray(self.vertices, "<f4"),
            np.asarray(self.edges, "<u4"),
        ]
        for item in info.vertex_attributes:
            values = np.asarray(self.attributes[item.id], item.dtype)
            parts.append(values.reshape(len(self.vertices), item.num_components))
        return b"".join(part.tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, data: bytes, info: SkeletonInfo) -> Skeleton:
        """Parse a skeleton.

        Raises
        ------
        FormatError
            It has not exactly the size that its counts ask for, a coordinate is not finite, or an
            edge names a vertex that is not there. The message names the byte offset.
        """
        if len(data) < _HEADER:
            raise FormatError(f"a skeleton has at least {_HEADER} bytes, got {len(data)}")
        vertex_count, edge_count = np.frombuffer(data, "<u4", 2).tolist()
        per_vertex = _VERTEX + sum(
            item.dtype.itemsize * item.num_components for item in info.vertex_attributes
        )
        expected = _HEADER + per_vertex * vertex_count + _EDGE * edge_count
        if len(data) != expected:
            raise FormatError(
                f"{len(data)} bytes, but {vertex_count} vertices with their attributes and "
                f"{edge_count} edges take exactly {expected}"
            )
        vertices = np.frombuffer(data, "<f4", 3 * vertex_count, _HEADER).reshape(-1, 3)
        wrong = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
        if wrong.size:
            raise FormatError(
                f"byte {_HEADER + _VERTEX * int(wrong[0])}: the coordinates of vertex "
                f"{wrong[0]} are {vertices[wrong[0]].tolist()}; they must be finite numbers"
            )
        position = _HEADER + _VERTEX * vertex_count
        edges = np.frombuffer(data, "<u4", 2 * edge_count, position).reshape(-1, 2)
        wrong = np.flatnonzero((edges >= vertex_count).any(axis=1))
        if wrong.size:
            raise FormatError(
                f"byte {position + _EDGE * int(wrong[0])}: edge {wrong[0]} joins vertices "
                f"{edges[wrong[0]].tolist()}, but there are {vertex_count}"
            )
        position += _EDGE * edge_count
        attributes: dict[str, NDArray[Any]] = {}
        for item in info.vertex_attributes:
            count = vertex_count * item.num_components
            values = np.frombuffer(data, item.dtype, count, position)
            position += values.nbytes
            if item.num_components > 1:
                values = values.reshape(vertex_count, item.num_components)
            attributes[item.id] = values
        return cls(vertices, edges, attributes)


def _number(value: Any, path: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -1e300 < value < 1e300 or not math.isfinite(value):
        fail(path, "a finite number", value)
    return float(value)
