"""Whether the voxels of an image look like labels, which averaging would turn into others.

A few planes are looked at, of a sample of the source where one is taken, else while chunks are
written. Labels are whole numbers, mostly equal to
their neighbours, and where they differ they do so by any amount; or they are few and oddly spaced.
Images are neither, but for drawings.
"""

from __future__ import annotations

import itertools
import math
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ngcore.precomputed.chunks import ChunkGrid, Vec3

_PLANES = 32
_FEWEST_PLANES = 8
"""So many of a volume of few chunks, where one plane may miss most labels."""

_MOST_VALUES = 4096
_FEW_VALUES = 64
_SMALLEST_SAMPLE = 100
_EQUAL_SHARE = 0.75
_JUMP_SHARE = 0.3
_SPARSE = 8


class Likeness(NamedTuple):
    """What was seen of the planes.

    Attributes
    ----------
    pairs : int
        Neighbours of which at least one is not zero.
    equal : int
        Those of them that are equal.
    jumps : int
        Those of them that are more than 1 apart.
    values : frozenset of float
        The values that are not zero; no more are added once there are thousands.
    is_whole : bool
        Whether all are whole numbers.
    """

    pairs: int = 0
    equal: int = 0
    jumps: int = 0
    values: frozenset[float] = frozenset()
    is_whole: bool = True

    def plus(self, other: Likeness) -> Likeness:
        """Return what both saw."""
        values = self.values
        if len(values) < _MOST_VALUES:
            values = values | other.values
        return Likeness(
            self.pairs + other.pairs,
            self.equal + other.equal,
            self.jumps + other.jumps,
            values,
            self.is_whole and other.is_whole,
        )

    @property
    def is_of_labels(self) -> bool:
        """Whether this looks like labels."""
        if not self.is_whole or len(self.values) < 3 or self.pairs < _SMALLEST_SAMPLE:
            return False
        steps = self.pairs - self.equal
        if self.equal >= _EQUAL_SHARE * self.pairs and self.jumps >= max(10, _JUMP_SHARE * steps):
            return True
        if len(self.values) > _FEW_VALUES:
            return False
        ordered = sorted(self.values)
        gaps = {after - before for before, after in itertools.pairwise(ordered)}
        return ordered[-1] - ordered[0] >= _SPARSE * len(ordered) and len(gaps) > 1


def likeness_of(plane: np.ndarray[Any, Any]) -> Likeness:
    """Return what is seen of one plane, shape (x, y)."""
    # np.unique would import the module of masked arrays, in 15 ms.
    ordered = np.sort(plane, axis=None)
    values = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
        if not np.array_equal(values, np.rint(values)):
            return Likeness(is_whole=False)
    pairs = equal = jumps = 0
    for first, second in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
        is_equal = first == second
        is_zero = is_equal & (first == 0)
        apart = np.maximum(first, second) - np.minimum(first, second)
        zeros = int(np.count_nonzero(is_zero))
        pairs += first.size - zeros
        equal += int(np.count_nonzero(is_equal)) - zeros
        jumps += int(np.count_nonzero(apart > 1))
    return Likeness(pairs, equal, jumps, frozenset(values[values != 0].tolist()))


def likeness_of_chunk(voxels: np.ndarray[Any, Any], planes: int = _FEWEST_PLANES) -> Likeness:
    """Return what is seen of some planes of a chunk, shape (x, y, z, channel), spread evenly."""
    depth, known = voxels.shape[2], Likeness()
    for plane in sorted({depth * (2 * part + 1) // (2 * planes) for part in range(planes)}):
        known = known.plus(likeness_of(voxels[:, :, plane, 0]))
    return known


class LikenessSample:
    """Takes a look at some chunks of a scale, from any thread.

    Parameters
    ----------
    grid : ChunkGrid
        Of the scale.
    """

    def __init__(self, grid: ChunkGrid) -> None:
        self._shape = grid.shape
        self._step = math.ceil(grid.count / _PLANES)
        self._planes = math.ceil(_FEWEST_PLANES / grid.count)
        self._lock = threading.Lock()
        self.found = Likeness()

    def look(self, cell: Vec3, voxels: np.ndarray[Any, Any]) -> None:
        """Look at the middle plane of a chunk of the sample, or at several of few."""
        x, y, z = cell
        if (x + self._shape[0] * (y + self._shape[1] * z)) % self._step or not self.found.is_whole:
            return
        seen = likeness_of_chunk(voxels, self._planes)
        with self._lock:
            self.found = self.found.plus(seen)
