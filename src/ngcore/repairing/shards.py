"""Mends the shards of a scale: their names, their indexes, and how their chunks are compressed.

A valid shard is copied byte by byte. One that is not is laid down anew: chunks that are valid keep
their bytes, the others wait in a temporary file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.chunks import cells_of_morton_codes
from ngcore.precomputed.shard_index import layout_shard
from ngcore.precomputed.sharding import ShardGrid
from ngcore.repairing.files import copy_file, pieces, source_of
from ngcore.repairing.pieces import Written
from ngcore.repairing.shard_entries import Entry, read_entries
from ngcore.repairing.stored import mend_stored
from ngcore.storage.base import max_stored_size
from ngcore.storage.listing import walk_files
from ngcore.storage.spool import Spool
from ngcore.validating.findings import Findings
from ngcore.validating.scale import ScaleCheck
from ngcore.validating.shard_file import ShardFile
from ngcore.validating.shards import MOST_HASHED_CELLS, SHARD_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.repairing.changes import Changes
    from ngcore.repairing.files import Listed
    from ngcore.repairing.pieces import Pieces
    from ngcore.storage import Store
    from ngcore.storage.spool import Place
    from ngcore.validating.scale import Context


@dataclass(frozen=True, slots=True)
class _Shard:
    """A shard file of the source."""

    check: ScaleCheck
    spec: ShardingSpec
    number: int
    name: str

    @property
    def store(self) -> Listed:
        return source_of(self.check.context)

    @property
    def new_name(self) -> str:
        return f"{self.check.scale.key}/{self.spec.file_name(self.number)}"


def mend_shards(
    context: Context,
    index: int,
    dest: Store,
    tmp: Path,
    changes: Changes,
    done: Pieces,
) -> None:
    """Copy every shard of a scale to `dest`, repaired where that is needed."""
    scale = context.info.scales[index]
    spec = scale.sharding
    assert spec is not None
    check = ScaleCheck(context, index, scale)
    grid = ShardGrid(spec, check.grid.shape)
    is_countable = spec.hash == "identity" or check.grid.count <= MOST_HASHED_CELLS
    for name in walk_files(source_of(context), scale.key):
        where = f"{scale.key}/{name}"
        if not SHARD_NAME.fullmatch(name):
            changes.leave_out()
            continue
        number = int(name.removesuffix(".shard"), 16)
        right_name = f"{scale.key}/{spec.file_name(number)}"
        if number >> spec.shard_bits or (is_countable and not grid.chunk_count(number)):
            changes.fail(where, "no chunk of this scale belongs to it, so it is left out")
            continue
        if right_name != where:
            if context.store.size(right_name) is not None:
                changes.fail(where, f"{right_name} is there too, so it is left out")
                continue
            changes.add("renamed")
        shard = _Shard(check, spec, number, where)
        repair = partial(_repair, shard, dest, tmp)
        context.work.submit(partial(done.do, where, changes, repair))
    context.work.drain()


def _repair(shard: _Shard, dest: Store, tmp: Path, changes: Changes) -> Written:
    try:
        entries = _sound_entries(shard)
        is_sound = entries is not None
        if entries is None:
            entries = read_entries(shard.store, shard.name, shard.number, shard.spec, changes)
        voxels = _repair_entries(shard, entries, dest, tmp, changes, is_sound=is_sound)
    except FormatError as error:
        changes.fail(shard.name, f"{error}; it is left out")
        return Written([], 0)
    return Written([shard.new_name], voxels)


def _sound_entries(shard: _Shard) -> list[Entry] | None:
    """Return what a shard lists; None where its indexes break a rule."""
    size = shard.store.size(shard.name)
    if size is None:
        raise FormatError("is not a file that can be read")
    file = ShardFile(shard.store, shard.name, shard.number, shard.spec, Findings(), size)
    entries = []
    for index in file.minishards():
        if file.is_damaged:
            return None
        rows = np.column_stack([index.ids, index.starts, index.stops]).tolist()
        entries += [Entry(*row) for row in rows]
    return None if file.is_damaged else entries


def _repair_entries(
    shard: _Shard,
    entries: list[Entry],
    dest: Store,
    tmp: Path,
    changes: Changes,
    *,
    is_sound: bool,
) -> int:
    """Write a shard with all of its chunks, as it was if it needs no change; return its voxels."""
    spool = Spool(tmp)
    repaired: dict[int, Place] = {}
    kept: dict[int, Entry] = {}
    voxels = 0
    try:
        cells, exist = _cells(shard, entries)
        for entry, cell, exists in zip(entries, cells, exist, strict=True):
            where = f"{shard.name}: byte {entry.start}, chunk id {entry.chunk_id}"
            if not exists:
                changes.fail(where, "is not a chunk of the volume; left out")
                is_sound = False
                continue
            kept[entry.chunk_id] = entry
            data = _repaired_data(shard, entry, cell, where, changes)
            if data is not None:
                repaired[entry.chunk_id] = spool.put(data)
            voxels += shard.check.voxels(cell)
            shard.check.context.done(shard.check.voxels(cell))
        if is_sound and not repaired:
            copy_file(shard.store, dest, shard.name, shard.new_name)
        else:
            _lay_down(shard, kept, repaired, spool, dest)
    finally:
        spool.close()
    return voxels


def _cells(shard: _Shard, entries: list[Entry]) -> tuple[list[tuple[int, int, int]], list[bool]]:
    ids = np.array([entry.chunk_id for entry in entries], np.uint64)
    cells, exist = cells_of_morton_codes(ids, shard.check.grid.shape)
    return [(x, y, z) for x, y, z in cells.tolist()], exist.tolist()


def _repaired_data(
    shard: _Shard, entry: Entry, cell: tuple[int, int, int], where: str, changes: Changes
) -> bytes | None:
    """Return a chunk as it should be stored; None where it stays as it is."""
    check = shard.check
    size = entry.stop - entry.start
    if not check.is_read:
        return None
    if size > max_stored_size(check.max_encoded_size):
        changes.fail(where, f"{size} bytes, but at most {check.max_encoded_size} are expected")
        return None
    with check.room(size):
        data = b"".join(pieces(shard.store, shard.name, entry.start, entry.stop))
        try:
            is_gzip_due = shard.spec.data_encoding == "gzip"
            stored = mend_stored(check, cell, data, is_gzip_due=is_gzip_due)
        except FormatError as error:
            changes.fail(where, error)
            return None
    for kind in stored.kinds:
        changes.add(kind)
    return stored.data if stored.kinds else None


def _lay_down(
    shard: _Shard,
    kept: Mapping[int, Entry],
    repaired: Mapping[int, Place],
    spool: Spool,
    dest: Store,
) -> None:
    sizes = {
        chunk_id: repaired[chunk_id][0] if chunk_id in repaired else entry.stop - entry.start
        for chunk_id, entry in kept.items()
    }
    layout = layout_shard(shard.spec, sizes)

    def parts() -> Iterator[bytes]:
        yield layout.header
        for chunk_id in layout.ids:
            if chunk_id in repaired:
                yield spool.get(repaired[chunk_id])
            else:
                entry = kept[chunk_id]
                yield from pieces(shard.store, shard.name, entry.start, entry.stop)
        yield layout.trailer

    dest.put_parts(shard.new_name, parts())
