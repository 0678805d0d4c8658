"""Mends a scale of which every chunk is a file: names, compression, padding, second copies."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.repairing.files import copy_file, read_file, source_of
from ngcore.repairing.pieces import Written
from ngcore.repairing.stored import mend_stored
from ngcore.storage.base import max_stored_size
from ngcore.storage.listing import walk_files
from ngcore.validating.chunk_files import CHUNK_LIKE, FOREIGN_COMPRESSIONS, NESTED_DEPTH
from ngcore.validating.scale import ScaleCheck

if TYPE_CHECKING:
    from ngcore.precomputed.chunks import ChunkGrid, Vec3
    from ngcore.repairing.changes import Changes
    from ngcore.repairing.pieces import Pieces
    from ngcore.storage import Store
    from ngcore.validating.scale import Context

_BATCH = 16
_INTERVALS = re.compile(r"(-?[0-9]{1,20})-(-?[0-9]{1,20})(?:[_/]|$)")


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How chunk files are to lie in the volume that is written; None is as they lie now."""

    flat: bool = False
    plain: bool = False


@dataclass(frozen=True, slots=True)
class _File:
    """A chunk file: its name in the scale's folder, and the chunk that it is."""

    check: ScaleCheck
    cell: Vec3
    name: str
    is_misnamed: bool
    is_second: bool

    @property
    def where(self) -> str:
        return f"{self.check.scale.key}/{self.name}"

    @property
    def is_gzipped(self) -> bool:
        return self.name.endswith(".gz")


def mend_chunk_files(
    context: Context,
    index: int,
    dest: Store,
    options: FileOptions,
    changes: Changes,
    done: Pieces,
) -> None:
    """Copy every chunk of a scale to `dest`, repaired where that is needed."""
    scale = context.info.scales[index]
    checks = [
        ScaleCheck(context, index, replace(scale, chunk_sizes=(size,)))
        for size in scale.chunk_sizes
    ]
    batch: list[_File] = []

    def submit() -> None:
        # What a batch holds goes by the order that the system has the files in.
        names = hashlib.blake2b(os.fsencode("\0".join(file.name for file in batch)))
        piece = f"{batch[0].where} {names.hexdigest()[:32]}"
        repair = partial(_repair_batch, batch, dest, options)
        context.work.submit(partial(done.do, piece, changes, repair))

    for name in walk_files(source_of(context), scale.key, depth=NESTED_DEPTH):
        file = _file(context, checks, name, dest, changes)
        if file is not None:
            batch.append(file)
        if len(batch) == _BATCH:
            submit()
            batch = []
    if batch:
        submit()
    context.work.drain()


def _file(
    context: Context, checks: list[ScaleCheck], name: str, dest: Store, changes: Changes
) -> _File | None:
    """Return the chunk that a file is; None where it is none, or needs no look at all."""
    plain = name.removesuffix(".gz")
    foreign = next((end for end in FOREIGN_COMPRESSIONS if plain.endswith(end)), "")
    plain = plain.removesuffix(foreign)
    for check in checks:
        cell = check.grid.cell_of_name(plain)
        is_misnamed = cell is None
        if cell is None:
            cell = _cell_of_padded_name(check.grid, plain)
        if cell is None:
            continue
        if foreign:
            copy_file(source_of(context), dest, f"{check.scale.key}/{name}")
            return None
        is_first = check.presence.add(cell)
        return _File(check, cell, name, is_misnamed, not is_first)
    where = f"{checks[0].scale.key}/{name}"
    if CHUNK_LIKE.fullmatch(plain):
        changes.fail(where, "is not the name of a chunk of this scale, so it is left out")
    else:
        changes.leave_out()
    return None


def _cell_of_padded_name(grid: ChunkGrid, name: str) -> Vec3 | None:
    """Return the chunk whose name was not clipped to the volume, as it should be."""
    if not CHUNK_LIKE.fullmatch(name):
        return None
    sides = zip(_INTERVALS.findall(name), grid.voxel_offset, grid.chunk_size, strict=False)
    cell = []
    for (start, stop), origin, side in sides:
        place, rest = divmod(int(start) - origin, side)
        if rest or int(stop) - int(start) != side:
            return None
        cell.append(place)
    x, y, z = cell
    return (x, y, z) if (x, y, z) in grid else None


def _repair_batch(
    files: list[_File], dest: Store, options: FileOptions, changes: Changes
) -> Written:
    names: list[str] = []
    voxels = 0
    for file in files:
        try:
            names += _repair(file, dest, options, changes)
        except FormatError as error:
            changes.fail(file.where, error)
            if not file.is_second:
                _copy(file, dest, changes)
        voxels += file.check.voxels(file.cell)
        file.check.context.done(file.check.voxels(file.cell))
    return Written(names, voxels)


def _copy(file: _File, dest: Store, changes: Changes) -> None:
    """Copy a damaged file as it is: what it holds may still be of use."""
    try:
        copy_file(source_of(file.check.context), dest, file.where)
    except FormatError as error:
        changes.fail(file.where, f"{error}, so it is left out")


def _repair(file: _File, dest: Store, options: FileOptions, changes: Changes) -> list[str]:
    """Write a chunk as it should be; return the names of what was written."""
    check = file.check
    most = max_stored_size(check.max_encoded_size)
    size = check.context.store.size(file.where)
    if size is None or size > most:
        raise FormatError(f"is not a file of at most {most} bytes")
    with check.room(size):
        data = read_file(check.context.store, file.where, most)
        stored = mend_stored(check, file.cell, data, is_gzip_due=file.is_gzipped)
        data, kinds = stored
        is_gzipped = file.is_gzipped
        if is_gzipped and "not compressed" in kinds:
            # The name is wrong, not what the file holds.
            data, kinds, is_gzipped = gzip_free(check, data), ("renamed",), False
        elif is_gzipped and options.plain:
            data, kinds, is_gzipped = gzip_free(check, data), (*kinds, "plain"), False
        if file.is_second:
            _compare(file, data, is_gzipped=is_gzipped, changes=changes)
            return []
        grid = check.grid
        is_nested = "/" in file.name and not options.flat
        chunk = grid.nested_name(file.cell) if is_nested else grid.name(file.cell)
        name = f"{check.scale.key}/{chunk}{'.gz' if is_gzipped else ''}"
        dest.put(name, data)
    for kind in kinds:
        changes.add(kind)
    changes.add("flat", int(options.flat and "/" in file.name))
    changes.add("renamed", int(file.is_misnamed))
    return [name]


def gzip_free(check: ScaleCheck, data: bytes) -> bytes:
    """Return what valid gzip decompresses to."""
    return gzip.decompress(data, max_size=check.max_encoded_size)


def _compare(file: _File, data: bytes, *, is_gzipped: bool, changes: Changes) -> None:
    """Leave a second file of a chunk out, if it holds what every other one does."""
    check, most = file.check, max_stored_size(file.check.max_encoded_size)
    mine = gzip_free(check, data) if is_gzipped else data
    for form in (check.grid.name(file.cell), check.grid.nested_name(file.cell)):
        for suffix in ("", ".gz"):
            other = check.context.store.get_whole(f"{check.scale.key}/{form}{suffix}", most)
            if other is None or form + suffix == file.name:
                continue
            stored = mend_stored(check, file.cell, other, is_gzip_due=bool(suffix))
            theirs = gzip_free(check, stored.data) if suffix else stored.data
            if theirs != mine:
                raise FormatError(f"holds another chunk than {form}{suffix}: which one is right?")
    changes.add("duplicate")
