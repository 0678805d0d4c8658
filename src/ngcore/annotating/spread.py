"""The indexes of a collection, written by other processes, such as workers of a Dask scheduler.

The process that orders the work puts annotations, some thousands at a time, where all workers see
them: into a hidden folder of the place that is written. One pass of items makes entries of them,
in as many parts as there are shards or fewer; the next takes each part of an index from all files,
sorts it, and writes its shards. An item may be done twice: its files are the same.
"""

from __future__ import annotations

import io
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.annotating.blocks import Block
from ngcore.annotating.sorting import Entries, Sorter, joined, packed, unpacked
from ngcore.annotating.write import described, entries_of, key_bits, write_index
from ngcore.errors import StorageError
from ngcore.storage.local import WORK_FOLDER
from ngcore.storage.spool import Spool
from ngcore.transaction.journal import Trust, trusted_files
from ngcore.transaction.shared_work import (
    Wanted,
    check_is_wanted,
    make_durable,
    portable,
    shared_folder,
)
from ngcore.volume.seal import EntriesDigest
from ngcore.work.threads import map_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

    from ngcore.annotating.blocks import Blocks
    from ngcore.annotating.write import Collection
    from ngcore.precomputed.annotations import AnnotationIndex, AnnotationInfo, SpatialLevel
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage.base import Store
    from ngcore.storage.stored_path import StoredPath
    from ngcore.transaction.layer_folder import LayerStore
    from ngcore.work.base import Executor

_MOST_FILES = 256
_MOST_PARTS = 256
"""Of an index; every part is asked for in every file."""
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all items have in common; picklable.

    Attributes
    ----------
    collection : Collection
    info : AnnotationInfo
    store : Store
        The layer's.
    shared : StoredPath
        Where temporary files lie that all see; it is there while the run is.
    parts : tuple of int
        Of each index, in how many parts its entries go.
    memory : int, in bytes
        About what sorting may take.
    trust : Trust
        Which files of an earlier run need not be written again.
    syncs : bool
        Make each file durable before it is reported.
    """

    collection: Collection
    info: AnnotationInfo
    store: Store
    shared: StoredPath
    parts: tuple[int, ...]
    memory: int
    trust: Trust
    syncs: bool


class Section(NamedTuple):
    """Where entries of a part of an index lie."""

    number: int
    part: int
    file: str
    start: int
    stop: int


@dataclass
class Written:
    """The files that an item has written, and the sum of their digest."""

    names: list[str] = field(default_factory=list)
    digest: int = 0


def write_spread(
    collection: Collection, blocks: Blocks, layer: LayerStore, executor: Executor, memory: int
) -> AnnotationInfo:
    """Do as `write_collection`, with the work done by an executor.

    Raises
    ------
    SameIdError
        Two annotations have one id.
    DestinationError, StorageError
        A worker can't reach what is shared, or fails.
    """
    info = described(collection, blocks)
    store = portable(layer.place)
    syncs = not (executor.is_local or store.is_durable)
    indexes, blocks_count = _indexes(info), sum(1 for _ in blocks.shapes())
    if executor.memory_per_process is not None:
        memory = min(memory, executor.memory_per_process // 3)
    if syncs:
        layer.journal.trust_journal_only(index.key for index in indexes)
    with shared_folder(store, WORK_FOLDER, executor) as shared:
        group = max(1, -(-blocks_count // _MOST_FILES))
        most = min(_MOST_PARTS, max(1, blocks_count))
        parts = tuple(
            1 if index.sharding is None else min(most, 1 << index.sharding.shard_bits)
            for index in indexes
        )
        work = Assignment(
            *(collection, info, store, shared, parts, memory // max(1, executor.process_count)),
            *(layer.journal.trust, syncs),
        )
        sections: dict[tuple[int, int], list[Section]] = {
            (index, part): [] for index, count in enumerate(parts) for part in range(count)
        }
        files = ((work, files) for files in _shared_blocks(blocks, shared, group))
        with closing(executor.results(sort_blocks, files)) as results:
            for found in results:
                for section in found:
                    sections[section.number, section.part].append(section)
        items = ((work, index, part, sorted(found)) for (index, part), found in sections.items())
        with closing(executor.results(write_part, items)) as written:
            for done in written:
                layer.add_written(done.names, done.digest)
    return info


def _indexes(info: AnnotationInfo) -> list[AnnotationIndex | SpatialLevel]:
    """Return all indexes, as `entries_of` counts them."""
    return [info.by_id, *info.relationships, *info.spatial]


def _shared_blocks(blocks: Blocks, shared: StoredPath, group: int) -> Iterator[list[str]]:
    """Put blocks where workers see them; yield the names of some at a time."""
    names: list[str] = []
    for number, block in enumerate(blocks.full()):
        names.append(f"block-{number}")
        shared.store.put((shared / names[-1]).full, _block_bytes(block))
        if len(names) == group:
            yield names
            names = []
    if names:
        yield names


def _block_bytes(block: Block) -> bytes:
    arrays: dict[str, Any] = {"ids": block.ids, "geometry": block.geometry}
    if block.vertex_offsets is not None:
        arrays["vertices"] = block.vertex_offsets
    arrays |= {f"property {name}": values for name, values in block.properties.items()}
    for number, (offsets, segments) in enumerate(block.relations):
        arrays |= {f"offsets {number}": offsets, f"segments {number}": segments}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _block(data: bytes) -> Block:
    with np.load(io.BytesIO(data)) as arrays:
        count = sum(name.startswith("offsets ") for name in arrays)
        return Block(
            arrays["ids"],
            arrays["geometry"],
            arrays.get("vertices"),
            {
                name.removeprefix("property "): arrays[name]
                for name in arrays
                if name.startswith("property ")
            },
            tuple((arrays[f"offsets {n}"], arrays[f"segments {n}"]) for n in range(count)),
        )


def sort_blocks(item: tuple[Assignment, list[str]]) -> list[Section]:
    """Put the entries of some blocks into a file, part by part; return where they lie."""
    work, names = item
    check_is_wanted(work.shared)
    file = f"entries-{names[0]}"
    gathered: dict[tuple[int, int], list[Entries]] = {}
    for name in names:
        for index, entries in entries_of(_block(_get(work, name)), work.collection, work.info):
            for part, some in _parted(work, index, entries):
                gathered.setdefault((index, part), []).append(some)
    sections, pieces, end = [], [], 0
    for (index, part), found in gathered.items():
        pieces.append(packed(joined(found)))
        sections.append(Section(index, part, file, end, end + len(pieces[-1])))
        end += len(pieces[-1])
    check_is_wanted(work.shared)
    work.store.put((work.shared / file).full, *pieces)
    return sections


def _parted(work: Assignment, index: int, entries: Entries) -> Iterator[tuple[int, Entries]]:
    """Yield the entries of each part of an index, which are those of some shards."""
    if not len(entries.ids):
        return
    count = work.parts[index]
    if count == 1:
        yield 0, entries
        return
    spec = _sharding(work, index)
    assert spec is not None
    if index <= len(work.info.relationships):
        shards = entries.keys[0] >> np.uint64(spec.minishard_bits)  # as `file_order` has them
    else:
        shards, _ = spec.locate_many(entries.keys[1])
    parts = shards.astype(np.int64) * count >> spec.shard_bits
    order = np.argsort(parts, kind="stable")
    edges = np.flatnonzero(np.diff(parts[order])) + 1
    for rows in np.split(order, edges):
        yield int(parts[rows[0]]), entries.take(rows)


def _sharding(work: Assignment, index: int) -> ShardingSpec | None:
    return _indexes(work.info)[index].sharding


def write_part(item: tuple[Assignment, int, int, list[Section]]) -> Written:
    """Merge a part of an index, and write the files of it.

    Raises
    ------
    SameIdError
        Two annotations have one id.
    """
    work, index, part, sections = item
    check_is_wanted(work.shared)
    spool = Spool(None)
    written = Written()
    shards = None
    spec = _sharding(work, index)
    if spec is not None:
        count, bits = work.parts[index], spec.shard_bits
        shards = range(-(-(part << bits) // count), -(-((part + 1) << bits) // count))
    try:
        bits_of_keys = key_bits(work.info, index)
        sorter = Sorter(spool, work.memory, bits_of_keys)
        for data in map_ahead(lambda section: _get(work, *section[2:]), sections, _AT_ONCE):
            sorter.add(unpacked(data, len(bits_of_keys) + 1))
        store = _Recorder(work, written)
        write_index(index, sorter.batches(), work.info, store, spool, shards)
    finally:
        spool.close()
    if work.syncs:
        make_durable(work.store, written.names)
    return written


def _get(work: Assignment, name: str, start: int = 0, stop: int | None = None) -> bytes:
    data = work.store.get((work.shared / name).full, start, stop)
    if data is None:
        raise StorageError(
            f"{work.shared / name} was removed while it was in use; the run may be over"
        )
    return data


class _Recorder:
    """What writes files unless they are there, and notes them with their digest."""

    def __init__(self, work: Assignment, written: Written) -> None:
        self._store = work.store
        self._written = written
        self._digest = EntriesDigest()
        self._is_whole: Callable[[str], bool] | None = trusted_files(
            work.store, work.trust, str(work.shared)
        )
        self._shared = work.shared
        self._wanted = Wanted(work.shared)

    def put(self, name: str, *parts: Buffer) -> None:
        self.put_parts(name, parts)

    def put_parts(self, name: str, parts: Iterable[Buffer]) -> None:
        if not self._wanted():
            check_is_wanted(self._shared)
        digested = self._digest.passing(name, parts)
        if self._is_whole is not None and self._is_whole(name):
            for _ in digested:
                pass
        else:
            self._store.put_parts(name, digested)
        self._written.names.append(name)
        self._written.digest = self._digest.sum
