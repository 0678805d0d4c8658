"""What `by_id` holds, and what the other indexes of annotations tell of it: in arrays.

An annotation takes 28 bytes, and each segment that it is related to 17: millions fit.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.uint64]
    Rows = NDArray[np.int64]

_UNSEEN = np.iinfo(np.int64).min


class AnnotationTable:
    """Annotations by row, in the order of their ids. First `add` each, then `close`.

    Its user sees to it that one thread at a time calls it.

    Parameters
    ----------
    relationships : int
        How many there are.
    most : int
        So many annotations are held, and so many segments that they are related to.
    """

    def __init__(self, relationships: int, most: int) -> None:
        self._most = most
        self._added, self._marks = array("Q"), array("Q")
        self._related = [(array("Q"), array("Q")) for _ in range(relationships)]
        self._relations: list[_Relation] = []
        self.ids: Numbers = np.zeros(0, np.uint64)
        self._digests = self.ids
        self._levels = np.zeros(0, np.int32)
        self._awaited = np.zeros(0, np.int64)

    def add(self, number: int, digest: int, mark: int, segments: Sequence[Numbers]) -> bool:
        """Add an annotation of `by_id`, with the segments of each relationship.

        Returns whether there was room.
        """
        related = sum(len(known) for known, _ in self._related) + sum(map(len, segments))
        if len(self._added) == self._most or related > self._most:
            return False
        self._added.append(number)
        self._marks.append(digest)
        for (known, marks), more in zip(self._related, segments, strict=True):
            known.frombytes(more.tobytes())
            marks.extend([mark] * len(more))
        return True

    def close(self) -> None:
        """Sort what was added."""
        self.ids, first = np.unique(np.array(self._added, np.uint64), return_index=True)
        self._digests = np.array(self._marks, np.uint64)[first]
        self._levels = np.full(len(first), -1, np.int32)
        self._awaited = np.full(len(first), _UNSEEN, np.int64)
        self._added, self._marks = array("Q"), array("Q")
        while self._related:
            self._relations.append(_Relation(*self._related.pop(0)))

    def rows(self, ids: Numbers) -> Rows:
        """Return the rows of annotations, -1 for what `by_id` lacks."""
        if not len(self.ids):
            return np.full(len(ids), -1, np.int64)
        rows = np.searchsorted(self.ids, ids)
        rows[rows == len(self.ids)] = 0
        rows[self.ids[rows] != ids] = -1
        return rows.astype(np.int64)

    def compare(self, ids: Numbers, rows: Rows, digests: Numbers) -> None:
        """Check that `by_id` has these annotations, with these digests.

        Raises
        ------
        FormatError
            It lacks one, or has another.
        """
        if (rows < 0).any():
            number = ids[int(np.argmax(rows < 0))]
            raise FormatError(f"lists annotation {number}, which by_id lacks")
        differs = self._digests[rows] != digests
        if differs.any():
            number = ids[int(np.argmax(differs))]
            raise FormatError(f"annotation {number} differs from the one in by_id")

    def place(self, rows: Rows, level: int) -> None:
        """Note that annotations are in a spatial level.

        Raises
        ------
        FormatError
            One is in another one, too.
        """
        before = self._levels[rows]
        self._levels[rows[before < 0]] = level
        is_twice = (before >= 0) & (before != level)
        if is_twice.any():
            one = int(np.argmax(is_twice))
            raise FormatError(f"annotation {self.ids[rows[one]]} is in level {before[one]} too")

    def are_unseen(self, rows: Rows) -> NDArray[np.bool_]:
        """Return of which annotations `expect` wasn't told yet."""
        unseen: NDArray[np.bool_] = self._awaited[rows] == _UNSEEN
        return unseen

    def expect(self, rows: Rows, counts: Rows, is_here: NDArray[np.bool_]) -> None:
        """Note that a cell lists annotations; of those that are new, how many cells must."""
        before = self._awaited[rows]
        self._awaited[rows] = np.where(before == _UNSEEN, counts, before) - is_here

    def take_segment(self, relationship: int, segment: int) -> int:
        """Return the sum of marks of what a segment is related to, once; then 0."""
        return self._relations[relationship].take(segment)

    def segments_left(self, relationship: int) -> Numbers:
        """Return the segments that nobody has taken."""
        relation = self._relations[relationship]
        return relation.segments[relation.is_left]

    @property
    def lost(self) -> Numbers:
        """The annotations that are in no level."""
        return self.ids[self._levels < 0]

    @property
    def hidden(self) -> tuple[Numbers, Rows]:
        """The annotations that cells lack which must list them, and how many cells those are."""
        is_hidden = self._awaited > 0
        return self.ids[is_hidden], self._awaited[is_hidden]


class _Relation:
    """Segments, and the sums of marks of the annotations that are related to each."""

    def __init__(self, segments: array[int], marks: array[int]) -> None:
        of = np.array(segments, np.uint64)
        order = np.argsort(of, kind="stable")
        self.segments, starts = np.unique(of[order], return_index=True)
        ordered = np.array(marks, np.uint64)[order]
        self.sums = np.add.reduceat(ordered, starts) if len(starts) else ordered
        self.is_left = np.ones(len(starts), np.bool_)

    def take(self, segment: int) -> int:
        row = int(np.searchsorted(self.segments, np.uint64(segment)))
        if row == len(self.segments) or self.segments[row] != segment or not self.is_left[row]:
            return 0
        self.is_left[row] = False
        return int(self.sums[row])
