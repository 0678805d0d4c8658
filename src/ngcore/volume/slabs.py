"""Planes one after the other: those that follow are decoded together, and kept.

Who reads plane after plane asks for the same chunks again and again. From the second plane on, a
slab, some planes side by side within one layer of chunks, is decoded at once, into memory in which
each plane lies together: every further plane is one copy. Boxes that lie in the same chunks again
and again are treated alike, with all voxels of these chunks. Slabs count as what a volume's cache
keeps, and go when it needs their room.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.volume.index import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ngcore.volume.chunk_cache import ChunkCache
    from ngcore.volume.scale_facts import ScaleFacts

    Read = Callable[[NDArray[Any], Sequence[Selection]], None]
    """Writes the selected voxels of x, y, z and channel, ascending, into an array."""

_SLAB_BYTES = 8 << 20
"""Of a slab: planes are copied while the processor's cache still holds some of it."""

_LINE = 64
"""Bytes that come from memory at once: planes of y and z that are fewer take as long."""

_ALIGNED = 8
"""Planes along the side of the usual block of compressed_segmentation."""


class Slab(NamedTuple):
    """Voxels side by side, shape (x, y, z, channel), from `start` on."""

    voxels: NDArray[Any]
    start: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.voxels.nbytes

    def place_of(self, selections: Sequence[Selection]) -> tuple[slice, ...]:
        """Return where selected voxels of x, y, z and channel are in it."""
        return tuple(
            slice(part.start - first, part.start - first + part.count * part.step, part.step)
            for part, first in zip(selections, self.start, strict=True)
        )


class _Walk(NamedTuple):
    """A slab by its planes, from `first` to `stop` along `axis`, and the others that it has."""

    axis: int
    first: int
    stop: int
    others: tuple[int, ...]


class Slabs:
    """The slabs of one scale. Safe to use from several threads at once.

    Parameters
    ----------
    scale : ScaleFacts
    cache : ChunkCache
        Where they are kept.
    """

    def __init__(self, scale: ScaleFacts, cache: ChunkCache) -> None:
        self._scale = scale
        self._cache = cache
        # Each is replaced whole, and only a hint: threads that read along different axes at once
        # may lose what these say, never voxels.
        self._last: tuple[Selection, ...] | None = None
        self._walk: _Walk | None = None
        self._made: tuple[_Walk, ...] = ()
        self._lock = threading.Lock()
        self._making: dict[tuple[Any, ...], threading.Lock] = {}

    def plane(self, index: Any) -> NDArray[Any] | None:
        """Return what an index selects, where that is a whole plane of the slab used last.

        It is what every index goes through, and knows the simplest of them only.
        """
        walk = self._walk
        if walk is None:
            return None
        items = index if type(index) is tuple else (index,)
        if not walk.axis < len(items) <= 4:
            return None
        for axis, item in enumerate(items):
            if axis == walk.axis:
                if type(item) is not int or not walk.first <= item < walk.stop:
                    return None
            elif type(item) is not slice or not item.start is item.stop is item.step is None:
                return None
        kept = self._cache.get(self._scale.index, walk)
        if kept is None:
            return None
        slab: Slab = kept[0]
        at = [slice(None)] * 4
        at[walk.axis] = items[walk.axis] - walk.first
        return slab.voxels[tuple(at)].copy(order="F")

    def holding(self, selections: Sequence[Selection], read: Read) -> Slab | None:
        """Return the slab that holds what is selected, made where that is worth it.

        Parameters
        ----------
        selections : sequence of Selection
            Of x, y, z and channel.
        read : callable
            Reads what a new slab holds.
        """
        if not self._cache.max_bytes:
            return None
        x, y, z, channels = asked = tuple(selections)
        if not x.step == y.step == z.step == channels.step == 1:
            return None
        last, self._last = self._last, asked
        if last is None:
            return None
        axis = _moved_axis(asked, last)
        if axis is not None:
            slab = self._planes(asked, last, axis, read)
            if slab is not None:
                return slab
        return self._chunks(asked, last, read)

    def _planes(
        self, asked: tuple[Selection, ...], last: tuple[Selection, ...], axis: int, read: Read
    ) -> Slab | None:
        """Return the slab along an axis that holds what is asked for."""
        part, side = asked[axis], self._scale.chunk_size[axis]
        a, b, c = asked[:axis] + asked[axis + 1 :]
        itemsize = self._scale.dtype.itemsize
        plane = a.count * b.count * c.count * itemsize
        thickness = _thickness(plane, axis == 0, itemsize, self._cache.max_bytes, side)
        if thickness < 2 * part.count:
            return None
        layer = part.start // side * side
        first = layer + (part.start - layer) // thickness * thickness
        stop = min(first + thickness, layer + side, self._scale.shape[axis])
        if part.start + part.count > stop:
            return None
        walk = _Walk(axis, first, stop, (a.start, a.count, b.start, b.count, c.start, c.count))
        kept = self._cache.get(self._scale.index, walk)
        shape = (a.count, b.count, c.count)
        sizes = self._scale.shape[:axis] + self._scale.shape[axis + 1 :]
        if kept is not None:
            self._walk = walk if shape == sizes else None
            found: Slab = kept[0]
            return found
        if abs(part.start - last[axis].start) > side:
            return None  # somewhere else: perhaps nobody goes on from there
        box = [*asked]
        box[axis] = Selection(first, 1, stop - first)

        def made() -> Slab:
            planes = np.empty((*shape, stop - first), self._scale.dtype, order="F")
            slab = Slab(np.moveaxis(planes, -1, axis), tuple(selected.start for selected in box))
            read(slab.voxels, box)
            self._forget_passed(walk)
            return slab

        slab = self._kept_or(walk, made)
        self._walk = walk if shape == sizes else None
        return slab

    def _forget_passed(self, walk: _Walk) -> None:
        """Let go of the slab before the one before, so that the next one takes its memory."""
        *_, before, last = (None, None, *self._made)
        if last is not None and last.others == walk.others and _follow(last, walk):
            if before is not None and _follow(before, last) and before.first != walk.first:
                self._cache.drop(self._scale.index, before)
            self._made = (last, walk)
        else:
            self._made = (walk,)

    def _chunks(
        self, asked: tuple[Selection, ...], last: tuple[Selection, ...], read: Read
    ) -> Slab | None:
        """Return all voxels of the chunks that hold what is asked for, from the second time on."""
        sides, sizes = self._scale.chunk_size, self._scale.shape
        x, y, z, _ = asked
        spans = (x.span(sides[0]), y.span(sides[1]), z.span(sides[2]))
        kept = self._cache.get(self._scale.index, spans)
        if kept is not None:
            slab: Slab = kept[0]
            return slab
        x, y, z, _ = last
        if spans != (x.span(sides[0]), y.span(sides[1]), z.span(sides[2])):
            return None
        start = [first * side for (first, _), side in zip(spans, sides, strict=True)]
        stop = [
            min((end + 1) * side, size)
            for (_, end), side, size in zip(spans, sides, sizes, strict=False)
        ]
        shape = [*(b - a for a, b in zip(start, stop, strict=True)), sizes[3]]
        size = math.prod(shape) * self._scale.dtype.itemsize
        if size > self._cache.max_bytes // 2 or [part.count for part in asked] == shape:
            return None

        def made() -> Slab:
            slab = Slab(np.empty(shape, self._scale.dtype, order="F"), (*start, 0))
            parts = [Selection(a, 1, n) for a, n in zip(slab.start, shape, strict=True)]
            read(slab.voxels, parts)
            return slab

        return self._kept_or(spans, made)

    def _kept_or(self, key: tuple[Any, ...], made: Callable[[], Slab]) -> Slab:
        """Return a slab that is kept, else one that is made, by one thread for all who wait."""
        kept = self._cache.get(self._scale.index, key)
        if kept is None:
            with self._lock:
                making = self._making.setdefault(key, threading.Lock())
            try:
                with making:
                    kept = self._cache.get(self._scale.index, key)
                    if kept is None:
                        kept = (made(),)
                        self._cache.put(self._scale.index, key, kept[0])
            finally:
                with self._lock:
                    self._making.pop(key, None)
        slab: Slab = kept[0]
        return slab


def _moved_axis(asked: tuple[Selection, ...], last: tuple[Selection, ...]) -> int | None:
    """Return the axis of space along which alone a box differs from the last, None if none is."""
    moved = None
    for axis, (one, other) in enumerate(zip(asked, last, strict=True)):
        if one.start != other.start or one.count != other.count:
            if moved is not None or axis == 3:
                return None
            moved = axis
    return moved


@lru_cache
def _thickness(plane: int, is_along_x: bool, itemsize: int, cache_bytes: int, side: int) -> int:
    """Return how many planes of some bytes a slab has, if its layer of chunks has as many."""
    wished = max(_SLAB_BYTES // plane, _ALIGNED)
    if is_along_x:
        wished = max(wished, _LINE // itemsize)
    planes = min(wished, cache_bytes // 4 // plane)
    return side if planes >= side else planes - planes % _ALIGNED or planes


def _follow(one: _Walk, other: _Walk) -> bool:
    """Whether one slab begins where the other ends, along the same axis."""
    return one.axis == other.axis and (one.stop == other.first or other.stop == one.first)
