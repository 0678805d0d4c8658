"""Changes to inputs that reach further than flipped bytes do."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, 2**31, 2**53 + 1, 2**63, 2**64, -(2**70),
    "", "a", "../..", "a/b", "\0", "\ud800", "1_1_1", "uint64", "raw", "png", "NaN",
    [], {}, [0], [1, 1, 1], [[8, 8, 8]],
)  # fmt: skip


def mutated_json(data: bytes, rng: random.Random) -> bytes | None:
    """Return JSON with a few of its parts replaced, removed or swapped; None if it is no JSON."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.randint(1, 3)):
        document = _changed(document, rng)
    return json.dumps(document).encode()


def _changed(document: Any, rng: random.Random) -> Any:
    places = list(_places(document))
    if not places or rng.random() < 0.02:
        return deepcopy(rng.choice(_VALUES))  # parts that come twice are changed apart
    container, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            del container[key]
        case 1:
            other, other_key = rng.choice(places)
            container[key] = deepcopy(other[other_key])
        case 2 if isinstance(container, dict):
            container[rng.choice(["extra", "key", "sharding", "@type"])] = deepcopy(container[key])
        case 3 if isinstance(container[key], int | float):
            container[key] = container[key] * rng.choice([-1, 2, 3, 0.5, 1000]) + rng.randint(
                -1, 1
            )
        case _:
            container[key] = deepcopy(rng.choice(_VALUES))
    return document


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        keys = value if isinstance(value, dict) else range(len(value))
        for key in list(keys):
            yield value, key
            yield from _places(value[key])


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with some flipped, cut out, doubled, or replaced by numbers that are odd."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(5):
            case 0 if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                del changed[place : place + rng.randint(1, 1 + len(changed) // 4)]
            case 2:
                changed[place:place] = changed[place : place + rng.randint(1, 20)]
            case 3:
                size = rng.choice([1, 2, 4, 8])
                number = rng.choice([0, 1, 127, 128, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63])
                order = rng.choice(["little", "big"])
                changed[place : place + size] = (number % 256**size).to_bytes(size, order)
            case _:
                changed = changed[: rng.randrange(len(changed) + 1)]
    return bytes(changed)
