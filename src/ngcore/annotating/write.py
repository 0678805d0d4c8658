"""Every index of a collection of annotations: by id, by related segment, by place."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ngcore.annotating.blocks import chances
from ngcore.annotating.cells import cells_met
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
from ngcore.precomputed.annotation_records import encode_annotations
from ngcore.precomputed.annotations import AnnotationIndex, AnnotationInfo, SpatialLevel
from ngcore.precomputed.morton import cells_of_morton_codes, compressed_morton_codes, morton_bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ngcore.annotating.blocks import Block, Blocks
    from ngcore.annotating.levels import Level
    from ngcore.precomputed.annotations import AnnotationProperty
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
    draft = collection.info(None, [None] * len(collection.relations))
    by_id, related = _choose_shardings(collection, draft, blocks)
    info = collection.info(by_id, related)
    share = memory // (2 + len(related))
    ids = Sorter(spool, share, _bits(by_id))
    relations = [Sorter(spool, share, (*_bits(spec), 64)) for spec in related]
    code_bits = max(len(morton_bits(level.grid.shape)) for level in collection.levels)
    spatial = Sorter(spool, share, (6, code_bits))
    for block in blocks.full():
        records = block.records(info)
        keys = file_order(by_id, block.ids) if by_id else np.zeros(len(block), np.uint64)
        singles = encode_annotations(records, block.relations)
        ids.add(Entries((keys, block.ids), block.ids, singles))
        drawn = chances(block.ids)
        for sorter, spec, (offsets, segments) in zip(
            relations, related, block.relations, strict=True
        ):
            rows = np.repeat(np.arange(len(block)), np.diff(offsets))
            keys = file_order(spec, segments) if spec else np.zeros(len(rows), np.uint64)
            sorter.add(Entries((keys, segments, drawn[rows]), block.ids[rows], records.take(rows)))
        _add_to_levels(spatial, collection, block, drawn, info)
    _write_by_id(ids, info, store, spool)
    for sorter, relation in zip(relations, info.relationships, strict=True):
        parts = list_parts(sorter.batches(), 2, spool)
        if relation.sharding is not None:
            write_shards(parts, store, relation.key, relation.sharding, spool)
        else:
            write_files(parts, store, relation.key, _decimal, spool)
    _write_levels(spatial, info, store, spool)
    return info


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


def _add_to_levels(
    sorter: Sorter,
    collection: Collection,
    block: Block,
    drawn: NDArray[np.uint64],
    info: AnnotationInfo,
) -> None:
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
            sorter.add(Entries(keys, part.ids[rows], records.take(rows)))


def _write_by_id(sorter: Sorter, info: AnnotationInfo, store: Store, spool: Spool) -> None:
    parts = single_parts(_without_twins(sorter.batches()), 1)
    if info.by_id.sharding is not None:
        write_shards(parts, store, info.by_id.key, info.by_id.sharding, spool)
    else:
        write_files(parts, store, info.by_id.key, _decimal, spool)


def _without_twins(batches: Iterator[Entries]) -> Iterator[Entries]:
    last = None
    for batch in batches:
        ids = batch.ids
        twice = ids[1:][ids[1:] == ids[:-1]]
        if twice.size or ids[0] == last:
            twin = int(twice[0]) if twice.size else last
            raise SameIdError(f"the id {twin} occurs twice; give each annotation one of its own")
        last = int(ids[-1])
        yield batch


def _write_levels(sorter: Sorter, info: AnnotationInfo, store: Store, spool: Spool) -> None:
    batches = _by_level(sorter.batches())
    groups = itertools.groupby(batches, key=lambda batch: int(batch.keys[0][0]))
    number, of_level = next(groups)
    for place, level in enumerate(info.spatial):
        # By chance a level may have got nothing.
        parts = list_parts(of_level if number == place else (), 2, spool)
        if level.sharding is not None:
            write_shards(parts, store, level.key, level.sharding, spool)
        else:
            cells = itertools.product(*map(range, level.grid_shape))
            is_small = math.prod(level.grid_shape) <= _MOST_EMPTY_CELLS
            empty = ["_".join(map(str, cell)) for cell in cells] if is_small else []
            write_files(parts, store, level.key, _cell_names(level.grid_shape), spool, empty)
        if number == place:
            number, of_level = next(groups, (-1, iter(())))


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
