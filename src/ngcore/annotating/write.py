"""Every index of a collection of annotations: by id, by related segment, by place."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ngcore.annotating.blocks import chances
from ngcore.annotating.index_files import (
    cell_sharding,
    file_order,
    hashed_sharding,
    list_parts,
    single_parts,
    write_files,
    write_shards,
)
from ngcore.annotating.levels import ALL
from ngcore.annotating.sorting import Entries, Sorter
from ngcore.errors import InputError
from ngcore.precomputed.annotation_cells import cells_met
from ngcore.precomputed.annotation_records import encode_annotations
from ngcore.precomputed.annotations import AnnotationIndex, AnnotationInfo, SpatialLevel
from ngcore.precomputed.chunks import cells_of_morton_codes, compressed_morton_codes, morton_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ngcore.annotating.blocks import Block, Blocks
    from ngcore.annotating.index_files import Files
    from ngcore.annotating.levels import Level
    from ngcore.precomputed.annotation_property import AnnotationProperty
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage.base import Store
    from ngcore.storage.spool import Spool

_MOST_DISTINCT = 1 << 22
_MOST_EMPTY_CELLS = 4096
"""Of a level of so many cells those without an annotation get a file too: the client asks for all
that are in view, and would be answered with as many 404s."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What is written: all that `info` says but how indexes are laid out.

    Attributes
    ----------
    kind : str
        A value of `annotation_type`.
    unit_m : float
        The unit of coordinates, in metres.
    lower, upper : tuple of float, (x, y, z)
    properties : tuple of AnnotationProperty
    relations : tuple of (name, folder)
    levels : sequence of Level
    sharding : bool
    """

    kind: str
    unit_m: float
    lower: tuple[float, float, float]
    upper: tuple[float, float, float]
    properties: tuple[AnnotationProperty, ...]
    relations: tuple[tuple[str, str], ...]
    levels: Sequence[Level]
    sharding: bool

    def info(
        self, by_id: ShardingSpec | None, related: Sequence[ShardingSpec | None]
    ) -> AnnotationInfo:
        """Return the `info`, with the sharding of each index by ids."""
        return AnnotationInfo(
            dict.fromkeys("xyz", (self.unit_m, "m")),
            self.lower,
            self.upper,
            self.kind,
            self.properties,
            tuple(
                AnnotationIndex(folder, spec, name)
                for (name, folder), spec in zip(self.relations, related, strict=True)
            ),
            AnnotationIndex("by_id", by_id),
            tuple(self._level(number, level) for number, level in enumerate(self.levels)),
        )

    def _level(self, number: int, level: Level) -> SpatialLevel:
        sharding = cell_sharding(level.grid.shape) if self.sharding else None
        grid = level.grid
        return SpatialLevel(f"spatial{number}", grid.shape, grid.cell, level.limit, sharding)


class _Distinct:
    """The segments of a relation, as long as they are not too many, and how often any is named."""

    def __init__(self) -> None:
        self._known = np.empty(0, np.uint64)
        self.pairs = 0
        self.bytes = 0

    def add(self, segments: NDArray[np.uint64], size: int) -> None:
        self.pairs += len(segments)
        self.bytes += size
        if len(self._known) < _MOST_DISTINCT:
            known = np.sort(np.concatenate([self._known, segments]))
            is_new = np.ones(len(known), np.bool_)
            is_new[1:] = known[1:] != known[:-1]
            self._known = known[is_new]

    @property
    def count(self) -> int:
        return len(self._known) if len(self._known) < _MOST_DISTINCT else self.pairs


class SameIdError(InputError):
    """Two annotations have one id."""


def write_collection(
    collection: Collection, blocks: Blocks, store: Store, spool: Spool, memory: int
) -> AnnotationInfo:
    """Write every index, and return the `info` that describes them, which is not written.

    Parameters
    ----------
    collection : Collection
    blocks : Blocks
    store : Store
    spool : Spool
        For temporary data.
    memory : int, in bytes
        About what sorting may take.

    Raises
    ------
    SameIdError
        Two annotations have one id.
    """
    info = described(collection, blocks)
    share = memory // (2 + len(info.relationships))
    first_level = 1 + len(info.relationships)
    sorters = [Sorter(spool, share, key_bits(info, index)) for index in range(first_level + 1)]
    for block in blocks.full():
        for index, entries in entries_of(block, collection, info):
            sorters[min(index, first_level)].add(entries)
    for index, sorter in enumerate(sorters[:-1]):
        write_index(index, sorter.batches(), info, store, spool)
    groups = itertools.groupby(
        _by_level(sorters[-1].batches()), key=lambda batch: int(batch.keys[0][0])
    )
    number, of_level = next(groups)
    for place in range(len(info.spatial)):
        # By chance a level may have got nothing.
        batches = of_level if number == place else iter(())
        write_index(first_level + place, batches, info, store, spool)
        if number == place:
            number, of_level = next(groups, (-1, iter(())))
    return info


def described(collection: Collection, blocks: Blocks) -> AnnotationInfo:
    """Return the `info` of a collection, with shards that suit it."""
    draft = collection.info(None, [None] * len(collection.relations))
    return collection.info(*_choose_shardings(collection, draft, blocks))


def entries_of(
    block: Block, collection: Collection, info: AnnotationInfo
) -> Iterator[tuple[int, Entries]]:
    """Yield what goes into each index: 0 is that by id, then come relations, then levels."""
    records = block.records(info)
    by_id = info.by_id.sharding
    keys = file_order(by_id, block.ids) if by_id else np.zeros(len(block), np.uint64)
    singles = encode_annotations(records, block.relations)
    yield 0, Entries((keys, block.ids), block.ids, singles)
    drawn = chances(block.ids)
    for number, (offsets, segments) in enumerate(block.relations):
        spec = info.relationships[number].sharding
        rows = np.repeat(np.arange(len(block)), np.diff(offsets))
        keys = file_order(spec, segments) if spec else np.zeros(len(rows), np.uint64)
        entries = Entries((keys, segments, drawn[rows]), block.ids[rows], records.take(rows))
        yield 1 + number, entries
    for level, entries in _of_levels(collection, block, drawn, info):
        yield 1 + len(info.relationships) + level, entries


def key_bits(info: AnnotationInfo, index: int) -> tuple[int, ...]:
    """Return how many bits of the keys of an index are in use; see `Entries.sorted`."""
    if index == 0:
        return _bits(info.by_id.sharding)
    if index <= len(info.relationships):
        return (*_bits(info.relationships[index - 1].sharding), 64)
    return (6, max(len(morton_bits(level.grid_shape)) for level in info.spatial))


def write_index(
    index: int,
    batches: Iterator[Entries],
    info: AnnotationInfo,
    store: Files,
    spool: Spool,
    shards: range | None = None,
) -> None:
    """Write an index, or some shards of it.

    Parameters
    ----------
    index : int
        As `entries_of` counts.
    batches : iterator of Entries
        Sorted.
    info : AnnotationInfo
    store : Files
    spool : Spool
    shards : range, optional
        The shards that the entries are of; default all.

    Raises
    ------
    SameIdError
        Two annotations have one id.
    """
    place: AnnotationIndex | SpatialLevel
    names: Callable[[NDArray[np.uint64]], list[str]] = _decimal
    empty: list[str] = []
    if index == 0:
        place, parts = info.by_id, single_parts(_without_twins(batches), 1)
    elif index <= len(info.relationships):
        place, parts = info.relationships[index - 1], list_parts(batches, 2, spool)
    else:
        place = level = info.spatial[index - 1 - len(info.relationships)]
        parts, names = list_parts(batches, 2, spool), _cell_names(level.grid_shape)
        if math.prod(level.grid_shape) <= _MOST_EMPTY_CELLS:
            cells = itertools.product(*map(range, level.grid_shape))
            empty = ["_".join(map(str, cell)) for cell in cells]
    if place.sharding is not None:
        write_shards(parts, store, place.key, place.sharding, spool, shards)
    else:
        write_files(parts, store, place.key, names, spool, empty)


def _bits(spec: ShardingSpec | None) -> tuple[int, ...]:
    return (0 if spec is None else spec.minishard_bits + spec.shard_bits,)


def _choose_shardings(
    collection: Collection, draft: AnnotationInfo, blocks: Blocks
) -> tuple[ShardingSpec | None, list[ShardingSpec | None]]:
    """Choose shards by how many entries an index has, and how large they are."""
    if not collection.sharding:
        return None, [None] * len(collection.relations)
    found = [_Distinct() for _ in collection.relations]
    size = 0
    for block in blocks.full() if found else blocks.shapes():
        if block.vertex_offsets is None:
            sizes = np.full(len(block), draft.record_bytes)
        else:
            sizes = 4 + 12 * np.diff(block.vertex_offsets) + draft.property_bytes
        size += int(sizes.sum())
        for distinct, (offsets, segments) in zip(found, block.relations, strict=False):
            distinct.add(segments, int(((sizes + 8) * np.diff(offsets)).sum()))
            size += 4 * len(block) + 8 * len(segments)
    related: list[ShardingSpec | None] = [
        hashed_sharding(max(1, distinct.count), distinct.bytes) for distinct in found
    ]
    return hashed_sharding(blocks.count, size), related


def _of_levels(
    collection: Collection, block: Block, drawn: NDArray[np.uint64], info: AnnotationInfo
) -> Iterator[tuple[int, Entries]]:
    start = 0
    for number, level in enumerate(collection.levels):
        is_here = drawn >= np.uint64(start)
        if level.stop < ALL:
            is_here &= drawn < np.uint64(level.stop)
        part = block.take(np.flatnonzero(is_here))
        start = min(level.stop, ALL - 1)
        if not len(part):
            continue
        records, part_drawn = part.records(info), drawn[is_here]
        grid = level.grid
        for rows, cells in cells_met(collection.kind, part, grid):
            codes = compressed_morton_codes(grid.cells_of(cells).astype(np.uint64), grid.shape)
            keys = (np.full(len(rows), number, np.uint64), codes, part_drawn[rows])
            yield number, Entries(keys, part.ids[rows], records.take(rows))


def _without_twins(batches: Iterator[Entries]) -> Iterator[Entries]:
    last = None
    for batch in batches:
        ids = batch.ids
        twice = ids[1:][ids[1:] == ids[:-1]]
        if twice.size or ids[0] == last:
            twin = int(twice[0]) if twice.size else last
            raise SameIdError(f"the id {twin} occurs twice; give each annotation its own id")
        last = int(ids[-1])
        yield batch


def _by_level(batches: Iterator[Entries]) -> Iterator[Entries]:
    """Yield batches that are of one level each."""
    for batch in batches:
        levels = batch.keys[0]
        edges = [0, *(np.flatnonzero(levels[1:] != levels[:-1]) + 1).tolist(), len(levels)]
        for start, stop in itertools.pairwise(edges):
            yield batch.part(start, stop)


def _decimal(keys: NDArray[np.uint64]) -> list[str]:
    return [str(key) for key in keys.tolist()]


def _cell_names(shape: tuple[int, ...]) -> Callable[[NDArray[np.uint64]], list[str]]:
    x, y, z = shape

    def names(keys: NDArray[np.uint64]) -> list[str]:
        cells, _ = cells_of_morton_codes(keys, (x, y, z))
        return ["_".join(map(str, cell)) for cell in cells.tolist()]

    return names
