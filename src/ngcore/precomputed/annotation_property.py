"""One property of annotations, as the `info` of their collection describes it.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/annotations.md
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.json_members import (
    check_array,
    check_enum,
    check_integer,
    check_number,
    check_object,
    fail,
    set_field,
    take,
    take_optional,
)

NUMBER_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")
COLOUR_TYPES = {"rgb": 3, "rgba": 4}
PROPERTY_ID = re.compile(r"[a-z][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class AnnotationProperty:
    """One value that each annotation has.

    Attributes
    ----------
    id : str
        Matches ``[a-z][a-zA-Z0-9_]*``: shaders call it ``prop_ID()``.
    type : str
        One of `NUMBER_TYPES`, or ``rgb`` or ``rgba``.
    description : str or None
    default : number or str or None
        Of annotations drawn by hand; a colour is ``#rrggbb``. Kept as it is.
    enum_values : tuple of number
        Values that have a name; only of numbers.
    enum_labels : tuple of str
        Their names, as many.
    """

    id: str
    type: str
    description: str | None = None
    default: float | str | None = None
    enum_values: tuple[float, ...] = ()
    enum_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not PROPERTY_ID.fullmatch(self.id):
            fail("id", "a lower-case letter, then letters, digits and _", self.id)
        set_field(self, "type", check_enum(self.type, "type", (*NUMBER_TYPES, *COLOUR_TYPES)))
        if self.description is not None and not isinstance(self.description, str):
            fail("description", "a string", self.description)
        if isinstance(self.default, bool) or not isinstance(
            self.default, int | float | str | None
        ):
            fail("default", "a number or a colour", self.default)
        values, labels = (
            check_array(self.enum_values, "enum_values"),
            check_array(self.enum_labels, "enum_labels"),
        )
        if len(values) != len(labels):
            raise FormatError(
                f"enum_labels: {len(labels)} labels for {len(values)} values of enum_values"
            )
        if values and self.type in COLOUR_TYPES:
            fail("enum_values", "none for a colour", list(values))
        for number, label in enumerate(labels):
            if not isinstance(label, str):
                fail(f"enum_labels[{number}]", "a string", label)
        checked = tuple(
            self._checked_value(value, f"enum_values[{number}]")
            for number, value in enumerate(values)
        )
        if len(set(checked)) != len(checked):
            raise FormatError("enum_values: a value occurs twice")
        set_field(self, "enum_values", checked)
        set_field(self, "enum_labels", labels)

    def _checked_value(self, value: Any, path: str) -> float:
        if self.type == "float32":
            return check_number(value, path)
        limits = np.iinfo(self.type)
        return check_integer(value, path, int(limits.min), int(limits.max))

    @property
    def components(self) -> int:
        """Numbers that a value is made of."""
        return COLOUR_TYPES.get(self.type, 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of each of them, as it is stored."""
        name = "uint8" if self.type in COLOUR_TYPES else self.type
        return np.dtype(name).newbyteorder("<")

    @classmethod
    def from_json(cls, value: object) -> AnnotationProperty:
        """Check a parsed JSON value; members that nobody knows are left out."""
        members = dict(check_object(value, "property"))
        return cls(
            take(members, "id"),
            take(members, "type"),
            take_optional(members, "description"),
            take_optional(members, "default"),
            _listed(members, "enum_values"),
            _listed(members, "enum_labels"),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds."""
        members: dict[str, Any] = {"id": self.id, "type": self.type}
        if self.description is not None:
            members["description"] = self.description
        if self.default is not None:
            members["default"] = self.default
        if self.enum_values:
            members["enum_values"] = list(self.enum_values)
            members["enum_labels"] = list(self.enum_labels)
        return members


def _listed(members: dict[str, Any], name: str) -> Any:
    value = take_optional(members, name)
    return () if value is None else value
