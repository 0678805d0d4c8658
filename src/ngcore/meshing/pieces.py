"""Pieces of bytes by label, many in each of a few files that are there whole or not at all.

What is made of a block, or of some labels, waits in one until all the rest is there, and is found
again by a run that goes on. A file starts with how many labels it has pieces of, and, for each,
the label and the sizes of its two pieces: 8 bytes each. The pieces follow in that order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.storage import Store

_NUMBER = np.dtype("<u8")


class Place(NamedTuple):
    """Where the two pieces of a label lie: the second follows the first."""

    file: str
    start: int
    middle: int
    stop: int


def put_pieces(
    store: Store, file: str, pieces: Sequence[tuple[int, bytes, bytes]]
) -> list[tuple[int, Place]]:
    """Write a file of (label, piece, piece), and return where they lie.

    Raises
    ------
    StorageError
        The disk is full, or failed.
    """
    sizes = [(label, len(first), len(second)) for label, first, second in pieces]
    head = np.array([len(pieces), *(number for row in sizes for number in row)], _NUMBER)
    parts = (part for _, *both in pieces for part in both)
    store.put_parts(file, (head.tobytes(), *parts))
    return _places(file, sizes)


def find_pieces(store: Store, file: str) -> list[tuple[int, Place]] | None:
    """Return where the pieces lie in a file of an earlier run; None if it is not whole."""
    size = store.size(file)
    start = store.get(file, 0, _NUMBER.itemsize) if size else None
    if size is None or start is None or len(start) < _NUMBER.itemsize:
        return None
    count = int.from_bytes(start, "little")
    end = _NUMBER.itemsize * (1 + 3 * count)
    table = (store.get(file, _NUMBER.itemsize, end) or b"") if end <= size else b""
    sizes = np.frombuffer(table, _NUMBER).reshape(-1, 3).tolist()
    places = _places(file, [(label, first, second) for label, first, second in sizes])
    is_whole = len(places) == count and size == (places[-1][1].stop if places else end)
    return places if is_whole else None


def get_pieces(store: Store, place: Place) -> tuple[bytes, bytes]:
    """Return the two pieces of a label.

    Raises
    ------
    StorageError
        They can't be read.
    """
    data = store.get(place.file, place.start, place.stop)
    if data is None or len(data) != place.stop - place.start:
        raise StorageError(f"{store.location}/{place.file} was removed while it was in use")
    middle = place.middle - place.start
    return data[:middle], data[middle:]


def _places(file: str, sizes: Sequence[tuple[int, int, int]]) -> list[tuple[int, Place]]:
    offset = _NUMBER.itemsize * (1 + 3 * len(sizes))
    places = []
    for label, first, second in sizes:
        middle = offset + first
        places.append((label, Place(file, offset, middle, middle + second)))
        offset = middle + second
    return places
