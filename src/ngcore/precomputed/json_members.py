"""JSON documents from outside: parsed without trust, checked member by member, written readably.

Every check names the place in the document as a path such as ``scales[1].size[2]``. Checks return
the value in its canonical form (tuples for arrays, integers for whole numbers, lower-case enums).
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

MAX_SAFE_INTEGER = 2**53 - 1
"""JSON numbers are doubles to most readers, as to Neuroglancer: larger ones lose bits."""
SMALLEST_LENGTH, LARGEST_LENGTH = 1e-30, 1e30
"""Of voxels, in nanometres: squares and inverses are numbers, in NIfTI's float32 too, and the
names of folders stay short."""

_LONGEST_PATH, _LONGEST_NAME = 1024, 255
"""In bytes: no bucket has longer keys, no file system longer names."""
_MAX_DEPTH = 64


def parse_object(document: str | bytes) -> dict[str, Any]:
    """Parse a JSON document that holds an object.

    Raises
    ------
    FormatError
        It is no JSON, not UTF-8, holds a member twice, a number that JSON does not have or that
        no double holds, or is nested deeper than 64 levels; or it is not an object.
    """
    try:
        text = document if isinstance(document, str) else bytes(document).decode("utf-8")
        value = json.loads(
            text.removeprefix("\ufeff"),
            object_pairs_hook=_object_of_unique_members,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise FormatError(f"not JSON: byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")  # as in "Unterminated string starting at"
        raise FormatError(
            f"not JSON: {what} at line {error.lineno}, column {error.colno}"
        ) from error
    except RecursionError as error:
        raise FormatError("JSON nested too deeply") from error
    except FormatError:
        raise
    except ValueError as error:  # Python refuses to parse integers of thousands of digits.
        raise FormatError("JSON holds a number of too many digits") from error
    if not isinstance(value, dict):
        raise FormatError(f"expected a JSON object, got {shown(value)}")
    _check_depth(value)
    return value


def dump(value: Mapping[str, Any]) -> str:
    """Return JSON with an indent of two spaces, arrays of plain values on one line, ASCII only."""
    return "".join(_pieces(value, "\n")) + "\n"


def shown(value: object) -> str:
    """Return `value` as JSON, shortened to fit into an error message."""
    if isinstance(value, int) and abs(value) >= 1 << 1000:
        return "an integer of hundreds of digits"  # Python may refuse to print it.
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@contextmanager
def inside(path: str) -> Iterator[None]:
    """Put `path` before the path that an error of the block names."""
    try:
        yield
    except FormatError as error:
        message = str(error)
        joint = "" if message.startswith("[") else "."
        raise FormatError(f"{path}{joint}{message}") from error


def fail(path: str, expected: str, value: object) -> NoReturn:
    """Raise the FormatError that says what was expected at `path`, and what is there."""
    raise FormatError(f"{path}: expected {expected}, got {shown(value)}")


def check_object(value: object, path: str) -> dict[str, Any]:
    """Return `value` if it is a JSON object."""
    if not isinstance(value, dict):
        fail(path, "an object", value)
    return value


def check_array(value: object, path: str) -> tuple[Any, ...]:
    """Return the items of `value` if it is a JSON array."""
    if not isinstance(value, list | tuple):
        fail(path, "an array", value)
    return tuple(value)


def take(members: dict[str, Any], name: str) -> Any:
    """Remove a member that must be there from `members`, and return its value."""
    if name not in members:
        raise FormatError(f"{name}: missing")
    return members.pop(name)


def take_optional(members: dict[str, Any], name: str) -> Any:
    """Remove a member that may be absent, but not null: Neuroglancer rejects null."""
    if name in members and members[name] is None:
        raise FormatError(f"{name}: null; leave the member out instead")
    return members.pop(name, None)


set_field = object.__setattr__
"""Gives a field of a frozen dataclass its canonical form, while the instance is made."""


def check_type_tag(value: object, expected: str) -> None:
    """Check the member ``@type``."""
    if value != expected:
        fail("@type", f'"{expected}"', value)


def check_extra(extra: object, known: Collection[str]) -> None:
    """Check that members kept for others do not shadow those that are known."""
    for name in check_object(extra, "extra"):
        if name in known or name == "@type":
            raise FormatError(f"extra: {name!r} is a member of its own")


def check_enum(value: object, path: str, allowed: Collection[str]) -> str:
    """Return the one of `allowed` (lower case) that `value` spells, in whatever case."""
    if not isinstance(value, str) or value.lower() not in allowed:
        fail(path, f"one of {', '.join(allowed)}", value)
    return value.lower()


def check_integer(value: Any, path: str, minimum: int | None, maximum: int) -> int:
    """Return `value` as int; whole floats count as integers, as JSON does not know the two apart.

    `minimum` None stands for ``-maximum``.
    """
    low = -maximum if minimum is None else minimum
    expected = f"an integer from {low} to {maximum}"
    if low == 1 and maximum == MAX_SAFE_INTEGER:
        expected = "a positive integer below 2^53"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        number = operator.index(value)
    except TypeError:
        fail(path, expected, value)
    if isinstance(value, bool) or not low <= number <= maximum:
        fail(path, expected, value)
    return number


def check_number(value: Any, path: str) -> float:
    """Return `value` if it is a number with room for sums and products of it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -1e300 < value < 1e300:
        fail(path, "a finite number", value)
    return float(value)


def check_integers(
    value: object, path: str, minimum: int | None, maximum: int = MAX_SAFE_INTEGER
) -> tuple[int, int, int]:
    """Return `value` as (x, y, z) if it is an array of three integers in range."""
    x, y, z = _three(value, path)
    return (
        check_integer(x, f"{path}[0]", minimum, maximum),
        check_integer(y, f"{path}[1]", minimum, maximum),
        check_integer(z, f"{path}[2]", minimum, maximum),
    )


def check_lengths(value: object, path: str) -> tuple[float, float, float]:
    """Return `value` as (x, y, z) if it is an array of three lengths that can be squared."""
    x, y, z = _three(value, path)
    return (
        _check_length(x, f"{path}[0]"),
        _check_length(y, f"{path}[1]"),
        _check_length(z, f"{path}[2]"),
    )


def check_boolean(value: object, path: str) -> bool:
    """Return `value` if it is true or false."""
    if not isinstance(value, bool):
        fail(path, "true or false", value)
    return value


def check_relative_path(value: object, path: str) -> str:
    """Return `value` if it is a path relative to the document's folder; it may hold ``..``."""
    if (
        not isinstance(value, str)
        or not value
        or value.startswith("/")
        or "://" in value
        or any(c < " " or "\ud800" <= c <= "\udfff" for c in value)  # controls, halves of UTF-16
    ):
        fail(path, "a path relative to the info file", value)
    parts = value.encode(errors="surrogatepass").split(b"/")
    if len(value) > _LONGEST_PATH or max(map(len, parts)) > _LONGEST_NAME:
        fail(path, "a shorter path, one that file systems accept", value)
    return value


def plain_number(value: float) -> float:
    """Return whole floats as integers, so that they read ``8`` and not ``8.0``."""
    return int(value) if value == int(value) else float(value)


def _three(value: object, path: str) -> tuple[Any, Any, Any]:
    items = tuple(value) if isinstance(value, Iterable) else ()
    if isinstance(value, str | bytes | dict) or len(items) != 3:
        fail(path, "an array of three numbers", value)
    return items


def _check_length(value: Any, path: str) -> float:
    expected = "a positive finite number"
    if isinstance(value, bool | str | bytes):
        fail(path, expected, value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        fail(path, expected, value)
    if not (math.isfinite(number) and number > 0):
        fail(path, expected, value)
    if not SMALLEST_LENGTH <= number <= LARGEST_LENGTH:
        fail(path, f"a length from {SMALLEST_LENGTH:g} to {LARGEST_LENGTH:g} nm", value)
    return plain_number(number)


def _object_of_unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FormatError(f"JSON holds the member {shown(twice)} twice in one object")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise FormatError(f"JSON holds the number {shown(digits)}, too large for a double")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise FormatError(f"JSON has no number {name}")


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        children: list[object] = []
        for item in level:
            if isinstance(item, dict):
                children += item.values()
            elif isinstance(item, list):
                children += item
        level = children
    if any(isinstance(item, dict | list) for item in level):
        raise FormatError(f"JSON nested deeper than {_MAX_DEPTH} levels")


def _pieces(value: object, newline: str) -> Iterator[str]:
    """Yield the JSON of `value`; `newline` is a line break with the indent of its lines."""
    deeper = newline + "  "
    if isinstance(value, dict) and value:
        for number, (name, member) in enumerate(value.items()):
            yield f"{',' if number else '{'}{deeper}{json.dumps(name)}: "
            yield from _pieces(member, deeper)
        yield newline + "}"
    elif isinstance(value, list | tuple) and any(
        isinstance(i, dict | list | tuple) for i in value
    ):
        for number, item in enumerate(value):
            yield f"{',' if number else '['}{deeper}"
            yield from _pieces(item, deeper)
        yield newline + "]"
    else:
        yield json.dumps(value, allow_nan=False)
