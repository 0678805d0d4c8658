"""Pieces of bytes by label, many in each of a few files that are there whole or not at all.

What is made of a block, or of some labels, waits in one until all the rest is there, and is found
again by a run that goes on. A file starts with how many labels it has pieces of, and, for each,
the label and the sizes of its two pieces: 8 bytes each. The pieces follow in that order.

Where they lie is all that a run keeps of labels: 36 bytes for each file with pieces of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ngcore.storage import Store

_NUMBER = np.dtype("<u8")


class Place(NamedTuple):
    """Where the two pieces of a label lie: the second follows the first."""

    file: str
    start: int
    middle: int
    stop: int


class Pieces(NamedTuple):
    """Where the pieces of many labels lie; picklable.

    Attributes
    ----------
    files : tuple of str
    labels : ndarray of uint64, shape (n,)
    numbers : ndarray of uint32, shape (n,)
        Of `files`: the one that has them.
    ends : ndarray of uint64, shape (n, 3)
        Where the first piece starts, where the second does, and where that stops.
    """

    files: tuple[str, ...]
    labels: NDArray[np.uint64]
    numbers: NDArray[np.uint32]
    ends: NDArray[np.uint64]

    @property
    def sizes(self) -> NDArray[np.uint64]:
        """Bytes of both pieces."""
        return self.ends[:, 2] - self.ends[:, 0]

    def place(self, index: int) -> Place:
        """Return one of them."""
        start, middle, stop = self.ends[index].tolist()
        return Place(self.files[self.numbers[index]], start, middle, stop)

    def chosen(self, which: NDArray[np.bool_]) -> Pieces:
        """Return some of them, and the files that have them."""
        used, numbers = np.unique(self.numbers[which], return_inverse=True)
        files = tuple(self.files[number] for number in used.tolist())
        return Pieces(files, self.labels[which], numbers.astype(np.uint32), self.ends[which])


def merged(parts: Sequence[Pieces]) -> Pieces:
    """Return all of them by label, and those of one label in the order of the parts."""
    firsts = np.cumsum([0, *(len(part.files) for part in parts)]).tolist()
    labels = np.concatenate([np.empty(0, np.uint64), *(part.labels for part in parts)])
    order = np.argsort(labels, kind="stable")
    return Pieces(
        tuple(file for part in parts for file in part.files),
        labels[order],
        np.concatenate(
            [
                np.empty(0, np.uint32),
                *(part.numbers + np.uint32(n) for part, n in zip(parts, firsts, strict=False)),
            ]
        )[order],
        np.concatenate([np.empty((0, 3), np.uint64), *(part.ends for part in parts)])[order],
    )


def put_pieces(store: Store, file: str, pieces: Sequence[tuple[int, bytes, bytes]]) -> Pieces:
    """Write a file of (label, piece, piece), and return where they lie.

    Raises
    ------
    StorageError
        The disk is full, or failed.
    """
    rows = [(label, len(first), len(second)) for label, first, second in pieces]
    table = np.array(rows, _NUMBER).reshape(-1, 3)
    head = len(rows).to_bytes(_NUMBER.itemsize, "little") + table.tobytes()
    store.put_parts(file, (head, *(part for _, *both in pieces for part in both)))
    return _pieces(file, table)


def find_pieces(store: Store, file: str) -> Pieces | None:
    """Return where the pieces lie in a file of an earlier run; None if it is not whole."""
    size = store.size(file)
    start = store.get(file, 0, _NUMBER.itemsize) if size else None
    if size is None or start is None or len(start) < _NUMBER.itemsize:
        return None
    count = int.from_bytes(start, "little")
    end = _NUMBER.itemsize * (1 + 3 * count)
    table = (store.get(file, _NUMBER.itemsize, end) or b"") if end <= size else b""
    pieces = _pieces(file, np.frombuffer(table, _NUMBER).reshape(-1, 3))
    is_whole = len(pieces.labels) == count and size == (pieces.ends[-1, 2] if count else end)
    return pieces if is_whole else None


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


def _pieces(file: str, table: NDArray[np.uint64]) -> Pieces:
    """Return where they lie by the table at the start of their file."""
    ends = np.empty((len(table), 3), np.uint64)
    ends[:, 2] = np.cumsum(table[:, 1] + table[:, 2]) + np.uint64(_NUMBER.itemsize + table.nbytes)
    ends[:, 1] = ends[:, 2] - table[:, 2]
    ends[:, 0] = ends[:, 1] - table[:, 1]
    return Pieces((file,), table[:, 0].astype(np.uint64), np.zeros(len(table), np.uint32), ends)
