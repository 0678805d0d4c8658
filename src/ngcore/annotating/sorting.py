"""Entries of an index, sorted in bounded memory: sorted runs in a temporary file, then merged."""

from __future__ import annotations

from array import array
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.precomputed.annotation_records import Records, offsets_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from ngcore.storage.spool import Spool

_PAGE_BYTES = 64 << 10
"""Of a run in the temporary file: what is read of it at least."""
_LEAST_RUN_BYTES = 1 << 20
_BATCH_BYTES = 4 << 20
Keys = tuple["NDArray[np.uint64]", ...]


class Entries(NamedTuple):
    """Entries of an index.

    Attributes
    ----------
    keys : tuple of ndarray of uint64
        By which they are sorted, the most significant first.
    ids : ndarray of uint64
        Of the annotations.
    records : Records
    """

    keys: Keys
    ids: NDArray[np.uint64]
    records: Records

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return (
            (len(self.keys) + 1) * self.ids.nbytes
            + self.records.words.nbytes
            + self.records.offsets.nbytes
        )

    def take(self, order: NDArray[np.int64]) -> Entries:
        """Return some of them, in the order of these numbers."""
        keys = tuple(key[order] for key in self.keys)
        return Entries(keys, self.ids[order], self.records.take(order))

    def part(self, start: int, stop: int) -> Entries:
        """Return a run of them, without a copy."""
        offsets = self.records.offsets[start : stop + 1]
        words = self.records.words[offsets[0] : offsets[-1]]
        keys = tuple(key[start:stop] for key in self.keys)
        return Entries(keys, self.ids[start:stop], Records(words, offsets - offsets[0]))

    def sorted(self, bits: Sequence[int]) -> Entries:
        """Return them in the order of their keys.

        Parameters
        ----------
        bits : sequence of int
            How many of each key but the last are in use; the last one is spread over all its bits.
        """
        return self.take(_order(self.keys, bits))


def joined(parts: Sequence[Entries]) -> Entries:
    """Return entries one after the other."""
    if len(parts) == 1:
        return parts[0]
    keys = tuple(np.concatenate(key) for key in zip(*(part.keys for part in parts), strict=True))
    words = np.concatenate([part.records.words for part in parts])
    lengths = np.concatenate([part.records.lengths for part in parts])
    ids = np.concatenate([part.ids for part in parts])
    return Entries(keys, ids, Records(words, offsets_of(lengths)))


def _order(keys: Keys, bits: Sequence[int]) -> NDArray[np.int64]:
    """Return the order of the keys: by one number made of them, which is quicker, if that does."""
    short = np.zeros(len(keys[0]), np.uint64)
    left = 64
    for key, used in zip(keys, [*bits, 64], strict=True):
        kept = min(left, used)
        if kept == 0:
            break
        left -= kept
        part = key if used == 64 else key & np.uint64((1 << used) - 1)
        short |= (part >> np.uint64(used - kept)) << np.uint64(left)
    order: NDArray[np.int64] = np.argsort(short)
    if _is_sorted(tuple(key[order] for key in keys)):
        return order
    return np.lexsort(keys[::-1])


def _is_sorted(keys: Keys) -> bool:
    """Whether keys never decrease."""
    is_open = np.ones(max(0, len(keys[0]) - 1), np.bool_)
    for key in keys:
        if (is_open & (key[1:] < key[:-1])).any():
            return False
        is_open &= key[1:] == key[:-1]
        if not is_open.any():
            return True
    return True


def _count_up_to(keys: Keys, last: tuple[int, ...]) -> int:
    """Return how many of sorted keys are no more than `last`."""
    start, stop = 0, len(keys[0])
    for key, value in zip(keys, last, strict=True):
        low, high = np.searchsorted(key[start:stop], np.uint64(value), side="left"), None
        high = np.searchsorted(key[start:stop], np.uint64(value), side="right")
        start, stop = start + int(low), start + int(high)
        if start == stop:
            return start
    return stop


class _Run:
    """A sorted run: pages in the temporary file, and what of them is in memory.

    Parameters
    ----------
    spool : Spool
    batches : iterable of Entries
        One after the other.
    """

    def __init__(self, spool: Spool, batches: Iterable[Entries]) -> None:
        self._spool = spool
        # Of each page how many numbers its place has, and these: tuples would take far more.
        self._places = array("q")
        for batch in batches:
            for part in _parts(batch):
                place = spool.put(packed(part))
                self._places.append(len(place))
                self._places.extend(place)
        self._next = 0
        self._loaded: deque[Entries] = deque()
        self._bytes = 0

    def fill(self, keys: int, size: int) -> None:
        """Load pages until that many bytes are in memory, or all."""
        while self._has_more and self._bytes < size:
            start = self._next + 1
            self._next = start + self._places[self._next]
            place = tuple(self._places[start : self._next])
            self._loaded.append(unpacked(self._spool.get(place), keys))
            self._bytes += self._loaded[-1].nbytes
            self._spool.free(place)

    @property
    def _has_more(self) -> bool:
        return self._next < len(self._places)

    @property
    def is_empty(self) -> bool:
        return not self._loaded and not self._has_more

    @property
    def end(self) -> tuple[int, ...] | None:
        """The keys that nothing still in the file comes before; None if nothing is."""
        return _keys_at(self._loaded[-1], -1) if self._has_more else None

    def take_up_to(self, last: tuple[int, ...] | None) -> Iterator[Entries]:
        """Yield the entries in memory whose keys are no more than `last`; None for all."""
        while self._loaded and (last is None or _keys_at(self._loaded[0], 0) <= last):
            entries = self._loaded.popleft()
            self._bytes -= entries.nbytes
            count = len(entries.ids)
            if last is not None and last < _keys_at(entries, -1):
                count = _count_up_to(entries.keys, last)
                self._loaded.appendleft(entries.part(count, len(entries.ids)))
                self._bytes += self._loaded[0].nbytes
            yield entries.part(0, count)


def _keys_at(entries: Entries, place: int) -> tuple[int, ...]:
    return tuple(int(key[place]) for key in entries.keys)


class Sorter:
    """Takes entries in any order and gives them back sorted.

    Runs as large as memory allows are sorted and wait in a temporary file. Of all runs that are
    merged together a page or more is in memory, so no more are merged at once than memory has
    room for; of more runs some are merged to one first.

    Parameters
    ----------
    spool : Spool
        A temporary file.
    memory : int, in bytes
        About what it may take, however many entries there are.
    bits : sequence of int
        See `Entries.sorted`.
    """

    def __init__(self, spool: Spool, memory: int, bits: Sequence[int]) -> None:
        self._spool = spool
        # What waits, its sorted copy, and what numbers its order.
        self._run_bytes = max(_LEAST_RUN_BYTES, memory // 4)
        # What is loaded, what is taken of it, and its sorted copy.
        self._loaded_bytes = max(_LEAST_RUN_BYTES, memory // 4)
        self._bits = tuple(bits)
        self._waiting: list[Entries] = []
        self._waiting_bytes = 0
        self._runs: deque[_Run] = deque()

    def add(self, entries: Entries) -> None:
        """Take some more entries."""
        if not len(entries.ids):
            return
        self._waiting.append(entries)
        self._waiting_bytes += entries.nbytes
        if self._waiting_bytes >= self._run_bytes:
            self._spill()

    def _take_waiting(self) -> Entries:
        entries = joined(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        return entries.sorted(self._bits)

    def _spill(self) -> None:
        self._runs.append(_Run(self._spool, [self._take_waiting()]))

    def batches(self) -> Iterator[Entries]:
        """Yield all entries in order, some MiB at a time; call it once."""
        if not self._runs:
            if self._waiting:
                yield from _parts(self._take_waiting(), _BATCH_BYTES)
            return
        if self._waiting:
            self._spill()
        most = self._loaded_bytes // (2 * _PAGE_BYTES)
        while len(self._runs) > most:
            # So many that what is left fills the last merge, and no more.
            count = min(most, len(self._runs) - most + 1)
            some = [self._runs.popleft() for _ in range(count)]
            self._runs.append(_Run(self._spool, self._merged(some)))
        runs, self._runs = [*self._runs], deque()
        yield from self._merged(runs)

    def _merged(self, runs: list[_Run]) -> Iterator[Entries]:
        while runs:
            share = self._loaded_bytes // (2 * len(runs))
            for run in runs:
                run.fill(len(self._bits) + 1, share)
            # Nothing that is still in the file comes before the least of these.
            last = min((end for run in runs if (end := run.end) is not None), default=None)
            taken = [part for run in runs for part in run.take_up_to(last)]
            runs = [run for run in runs if not run.is_empty]
            batch = joined(taken).sorted(self._bits)
            del taken
            yield from _parts(batch, _BATCH_BYTES)


def _parts(entries: Entries, size: int = _PAGE_BYTES) -> Iterator[Entries]:
    """Yield runs of entries of about so many bytes."""
    count = len(entries.ids)
    per_entry = 8 * (len(entries.keys) + 2)
    ends = entries.records.offsets[1:] * 4 + np.arange(1, count + 1) * per_entry
    first = 0
    while first < count:
        done = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, done + size, side="right")))
        yield entries.part(first, stop)
        first = stop


def packed(entries: Entries) -> bytes:
    """Return the bytes of some entries, one at least."""
    lengths = entries.records.lengths
    width = int(lengths[0])
    is_even = bool((lengths == width).all())
    head = np.array([len(entries.ids), width if is_even else 0], np.int64)
    arrays: list[NDArray[Any]] = [head, *entries.keys, entries.ids]
    if not is_even:
        arrays.append(lengths)
    arrays.append(entries.records.words)
    return b"".join(array.tobytes() for array in arrays)


def unpacked(data: bytes, key_count: int) -> Entries:
    """Return the entries that `packed` made bytes of."""
    count, width = np.frombuffer(data, np.int64, 2).tolist()
    long = 8 * count
    keys = tuple(np.frombuffer(data, np.uint64, count, 16 + long * n) for n in range(key_count))
    at = 16 + long * key_count
    ids = np.frombuffer(data, np.uint64, count, at)
    at += long
    if width:
        offsets = np.arange(count + 1, dtype=np.int64) * width
    else:
        offsets = offsets_of(np.frombuffer(data, np.int64, count, at))
        at += long
    return Entries(keys, ids, Records(np.frombuffer(data, np.uint32, offset=at), offsets))
