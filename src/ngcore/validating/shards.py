"""Checks a scale whose chunks are packed into shards."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from ngcore.codecs import gzip
from ngcore.errors import FormatError, StorageError
from ngcore.precomputed.chunks import cells_of_morton_codes
from ngcore.precomputed.sharding import ShardGrid
from ngcore.storage import LocalStore
from ngcore.storage.base import max_stored_size
from ngcore.storage.listing import walk_files
from ngcore.validating.files import names_of_others
from ngcore.validating.findings import LISTED
from ngcore.validating.probing import probe_shards
from ngcore.validating.scale import ScaleCheck
from ngcore.validating.shard_file import ShardFile

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.shard_index import MinishardIndex
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage import ReadableStore
    from ngcore.validating.findings import Findings
    from ngcore.validating.scale import Context

SHARD_NAME = re.compile(r"[0-9a-fA-F]{1,16}\.shard")
_BESIDE = re.compile(
    r"info(\.gz)?|provenance|segment_properties|.*\.(spatial|frags|labels)(\.gz|\.br)?"
)
"""What lies in folders of meshes and skeletons: Igneous has a spatial index there, and what it
merges."""
_BATCH_BYTES = 2 << 20
_BATCH_CHUNKS = 64
_LISTED_AT_ONCE = 4096
_GZIP_START = 18
"""Bytes of the smallest gzip file: header and trailer."""
MOST_HASHED_CELLS = 1 << 24
"""Grids with more cells are not visited cell by cell, as hashed shards would need."""
_MOST_SHARDS_NAMED = 1 << 16


@dataclass(frozen=True, slots=True)
class _Entry:
    """A chunk that an index lists."""

    cell: Vec3
    start: int
    stop: int


def check_shards(context: Context, index: int) -> list[ScaleCheck]:
    """Check every shard in the folder of a scale.

    Returns
    -------
    list of ScaleCheck
        Of one item, once every shard was looked at.
    """
    scale = context.info.scales[index]
    assert scale.sharding is not None
    check = ScaleCheck(context, index, scale)
    grid = ShardGrid(scale.sharding, check.grid.shape)
    is_countable = scale.sharding.hash == "identity" or check.grid.count <= MOST_HASHED_CELLS
    found: set[int] = set()
    for shard in find_shards(
        context.store,
        scale.key,
        scale.sharding,
        context.findings,
        grid if is_countable else None,
        skip=names_of_others(context.info, scale.key),
    ):
        if is_countable and grid.chunk_count(shard.number) == 0:
            context.findings.error("misnamed", shard.name, "no chunk of this scale belongs to it")
            continue
        found.add(shard.number)
        if context.work.grain > 1:  # its index is read where its chunks are
            part = (shard.name, shard.number, shard.size)
            context.work.check(check, _check_shard_of_name, part)
        else:
            _check_shard(check, shard)
    context.work.drain()
    check.found_files = len(found)
    if is_countable:
        check.missing_files = grid.count - len(found)
        absent = (number for number in islice(grid, _MOST_SHARDS_NAMED) if number not in found)
        check.missing_names = [
            f"{scale.key}/{scale.sharding.file_name(number)}"
            for number in islice(absent, min(LISTED, check.missing_files))
        ]
    return [check]


def find_shards(
    store: ReadableStore,
    folder: str,
    spec: ShardingSpec,
    findings: Findings,
    grid: ShardGrid | None = None,
    *,
    skip: Collection[str] = (),
) -> Iterator[ShardFile]:
    """Yield the shard files of a folder, and report other files in it but those of `skip`.

    On a web server the names that the format gives them are tried, those of `grid` if that is
    given.
    """
    if not isinstance(store, LocalStore):
        yield from probe_shards(store, folder, spec, grid, findings)
        return
    for name in walk_files(store, folder, skip=skip):
        where = f"{folder}/{name}"
        if _BESIDE.fullmatch(name):
            continue
        if not SHARD_NAME.fullmatch(name):
            findings.warning("stray", where, "is not a shard")
            continue
        number = int(name.removesuffix(".shard"), 16)
        if number >> spec.shard_bits or spec.file_name(number) != name:
            findings.error(
                "misnamed", where, (f"is not the name of a shard of {spec.shard_bits} bits")
            )
            continue
        size = store.size(where)
        if size is None:
            findings.error("shard", where, "is not a file that can be read")
            continue
        yield ShardFile(store, where, number, spec, findings, size)


def _check_shard_of_name(check: ScaleCheck, part: tuple[str, int, int]) -> None:
    name, number, size = part
    assert check.scale.sharding is not None
    store, findings = check.context.store, check.context.findings
    _check_shard(check, ShardFile(store, name, number, check.scale.sharding, findings, size))


def _check_shard(check: ScaleCheck, shard: ShardFile) -> None:
    is_read = check.is_read and not check.context.quick
    check_batch = _check_batch if is_read else _check_first
    for index in shard.minishards():
        for batch in _batches(_entries(check, shard, index)):
            check.context.work.submit(partial(check_batch, check, shard, batch))
    check.is_damaged |= shard.is_damaged


def _entries(check: ScaleCheck, shard: ShardFile, index: MinishardIndex) -> Iterator[_Entry]:
    """Yield the chunks of a minishard that have a place on the grid."""
    for first in range(0, len(index), _LISTED_AT_ONCE):
        part = slice(first, first + _LISTED_AT_ONCE)
        ids, starts, stops = index.ids[part], index.starts[part], index.stops[part]
        cells, exist = cells_of_morton_codes(ids, check.grid.shape)
        for entry in np.flatnonzero(~exist).tolist():
            check.fault(
                f"{shard.name}: byte {starts[entry]}",
                f"chunk id {ids[entry]} is not a chunk of a grid of {check.grid.shape}",
            )
        places = np.column_stack([cells, starts, stops])[exist]
        for x, y, z, start, stop in places.tolist():
            check.presence.add((x, y, z))
            yield _Entry((x, y, z), start, stop)


def _batches(entries: Iterable[_Entry]) -> Iterator[list[_Entry]]:
    """Yield runs of chunks that lie next to each other, each short enough to be read at once."""
    batch: list[_Entry] = []
    for entry in entries:
        if batch and (
            entry.start != batch[-1].stop
            or entry.stop - batch[0].start > _BATCH_BYTES
            or len(batch) == _BATCH_CHUNKS
        ):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch


def _check_batch(check: ScaleCheck, shard: ShardFile, batch: list[_Entry]) -> None:
    """Read chunks that lie next to each other, and check each."""
    most = max_stored_size(check.max_encoded_size)
    start, stop = batch[0].start, batch[-1].stop
    if len(batch) == 1 and stop - start > most:
        check.fault(
            _place(check, shard, batch[0]),
            f"{stop - start} bytes, but at most {check.max_encoded_size} are expected",
        )
        return
    try:
        with check.room(stop - start):
            data = memoryview(shard.read(start, stop))
            for entry in batch:
                _check_entry(check, shard, entry, data[entry.start - start : entry.stop - start])
    except (FormatError, StorageError) as error:
        for entry in batch:
            check.fault(_place(check, shard, entry), error)


def _check_entry(check: ScaleCheck, shard: ShardFile, entry: _Entry, data: memoryview) -> None:
    where = _place(check, shard, entry)
    try:
        if shard.spec.data_encoding == "gzip":
            encoded = gzip.decompress(data, max_size=check.max_encoded_size)
        else:
            encoded = bytes(data)
        check.add(entry.cell, where, encoded)
    except FormatError as error:
        check.fault(where, error)


def _check_first(check: ScaleCheck, shard: ShardFile, entries: list[_Entry]) -> None:
    """Check what can be seen without decoding: sizes, and that gzip is gzip."""
    for entry in entries:
        expected = check.raw_size(entry.cell)
        size = entry.stop - entry.start
        if shard.spec.data_encoding == "raw" and expected is not None and size != expected:
            check.fault(
                _place(check, shard, entry),
                f"expected a raw chunk of {expected} bytes, but {size} are listed",
            )
        check.context.done(check.voxels(entry.cell))
    if shard.spec.data_encoding == "gzip":
        for entry in entries[:1]:
            try:
                start = shard.read(entry.start, min(entry.stop, entry.start + _GZIP_START))
                gzip.check_start(start)
            except (FormatError, StorageError) as error:
                check.fault(_place(check, shard, entry), error)


def _place(check: ScaleCheck, shard: ShardFile, entry: _Entry) -> str:
    return f"{shard.name}: byte {entry.start}, chunk {check.grid.name(entry.cell)}"
