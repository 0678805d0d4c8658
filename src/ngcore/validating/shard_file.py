"""Checks the indexes of one shard file, of chunks or of meshes, and yields what it holds.

Nothing that an index says is believed before it was compared with the file's size: a damaged or
hostile shard costs no more memory than one minishard index and the list of its own entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.codecs import gzip
from ngcore.errors import FormatError, StorageError
from ngcore.precomputed.shard_index import (
    SHARD_INDEX_ENTRY,
    MinishardIndex,
    parse_minishard_index,
    parse_shard_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage import ReadableStore
    from ngcore.validating.findings import Findings

_BLOCK_ENTRIES = 1 << 16
_MOST_MINISHARD_BITS = 24
MAX_MINISHARD_INDEX = 24 << 20
"""A million entries; the client fetches a minishard index whole, and about a thousand are wise."""


@dataclass(slots=True)
class ShardFile:
    """One shard file while it is checked.

    Attributes
    ----------
    store : ReadableStore
    name : str
        Of the file, in the store.
    number : int
        Of the shard, as its name says.
    spec : ShardingSpec
    findings : Findings
    size : int
        Of the file, in bytes.
    is_damaged : bool
        Whether a part of it could not be understood.
    """

    store: ReadableStore
    name: str
    number: int
    spec: ShardingSpec
    findings: Findings
    size: int
    is_damaged: bool = False
    _ranges: list[NDArray[Any]] = field(default_factory=list)

    def minishards(self) -> Iterator[MinishardIndex]:
        """Yield the checked index of each minishard that is not empty.

        Ids that belong elsewhere are reported, and left out. So are entries without bytes.
        """
        try:
            indexes = self._index_ranges()
        except (FormatError, StorageError) as error:
            self._fault(self.name, error)
            return
        if not self._are_disjoint(indexes[:, 1:]):
            return  # a minishard index that is read for many minishards could keep us for hours
        self._ranges.append(indexes[:, 1:])
        for minishard, start, stop in indexes.tolist():
            where = f"{self.name}: bytes {start}-{stop}, index of minishard {minishard}"
            try:
                index = self._minishard_index(start, stop)
            except (FormatError, StorageError) as error:
                self._fault(where, error)
                continue
            self._ranges.append(np.stack([index.starts, index.stops], axis=1))
            yield self._checked(where, minishard, index)
        self._are_disjoint(np.concatenate(self._ranges))

    def _index_ranges(self) -> NDArray[np.uint64]:
        """Return (minishard, start, stop) of the minishard indexes there are."""
        found = [np.zeros((0, 3), np.uint64)]
        count = 1 << self.spec.minishard_bits
        if self.spec.minishard_bits > _MOST_MINISHARD_BITS:
            raise FormatError(
                f"every shard opens with an index of {self.spec.shard_index_size} bytes; use at "
                f"most {_MOST_MINISHARD_BITS} minishard_bits"
            )
        if self.size < self.spec.shard_index_size:
            raise FormatError(
                f"the file has {self.size} bytes, fewer than the {self.spec.shard_index_size} of "
                "its shard index: it is truncated"
            )
        for first in range(0, count, _BLOCK_ENTRIES):
            last = min(first + _BLOCK_ENTRIES, count)
            data = self.read(first * SHARD_INDEX_ENTRY, last * SHARD_INDEX_ENTRY)
            if not any(data):
                continue
            ranges = parse_shard_index(data, self.spec, file_size=self.size, first_minishard=first)
            used = np.flatnonzero(ranges[:, 0] != ranges[:, 1])
            found.append(np.column_stack([(used + first).astype(np.uint64), ranges[used]]))
        return np.concatenate(found)

    def _minishard_index(self, start: int, stop: int) -> MinishardIndex:
        if stop - start > MAX_MINISHARD_INDEX:
            raise FormatError(f"{stop - start} bytes, too large for any client to fetch")
        data = self.read(start, stop)
        if self.spec.minishard_index_encoding == "gzip":
            data = gzip.decompress(data, max_size=MAX_MINISHARD_INDEX)
        return parse_minishard_index(data, self.spec, file_size=self.size)

    def _checked(self, where: str, minishard: int, index: MinishardIndex) -> MinishardIndex:
        shards, minishards = self.spec.locate_many(index.ids)
        is_here = (shards == self.number) & (minishards == minishard)
        for entry in np.flatnonzero(~is_here).tolist():
            self._fault(
                where,
                f"id {index.ids[entry]} belongs to minishard {minishards[entry]} of "
                f"{self.spec.file_name(int(shards[entry]))}",
            )
        has_bytes = index.starts != index.stops
        for entry in np.flatnonzero(~has_bytes).tolist():
            self._fault(where, f"id {index.ids[entry]} is listed with no bytes; leave it out")
        kept = is_here & has_bytes
        return MinishardIndex(index.ids[kept], index.starts[kept], index.stops[kept])

    def _are_disjoint(self, ranges: NDArray[np.uint64]) -> bool:
        ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
        ranges = ranges[ranges[:, 0] != ranges[:, 1]]
        overlaps = np.flatnonzero(ranges[1:, 0] < ranges[:-1, 1])
        for entry in overlaps[:1].tolist():
            (start, stop), (next_start, next_stop) = ranges[entry : entry + 2].tolist()
            self._fault(
                f"{self.name}: byte {next_start}",
                f"two entries claim the same bytes: {start}-{stop} and "
                f"{next_start}-{next_stop}; places like this: {len(overlaps)}",
            )
        return not overlaps.size

    def read(self, start: int, stop: int) -> bytes:
        """Return a range of the file, which must be there."""
        data = self.store.get(self.name, start, stop)
        if data is None or len(data) != stop - start:
            raise FormatError(f"the file ends before byte {stop}: it is truncated")
        return data

    def _fault(self, where: str, message: str | Exception) -> None:
        self.is_damaged = True
        self.findings.error("shard", where, message)
