"""Checks a scale of which every chunk is a file."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from ngcore.codecs.content import BY_ENDING, lacks_library
from ngcore.errors import FormatError, StorageError
from ngcore.storage import LocalStore
from ngcore.storage.base import max_stored_size
from ngcore.storage.listing import walk_files
from ngcore.validating.files import names_of_others
from ngcore.validating.probing import probe_chunks
from ngcore.validating.scale import ScaleCheck

if TYPE_CHECKING:
    from ngcore.precomputed.chunks import Vec3
    from ngcore.validating.scale import Context

_BATCH = 16
NESTED_DEPTH = 2
CHUNK_LIKE = re.compile(r"-?[0-9]+--?[0-9]+[_/]-?[0-9]+--?[0-9]+[_/]-?[0-9]+--?[0-9]+")
FOREIGN_COMPRESSIONS = (".br", ".zst", ".zstd", ".xz", ".bz2", ".lzma")


def check_chunk_files(context: Context, index: int) -> list[ScaleCheck]:
    """Check every file in the folder of a scale.

    Returns
    -------
    list of ScaleCheck
        One for each chunk size, once every file was looked at.
    """
    scale = context.info.scales[index]
    checks = [
        ScaleCheck(context, index, replace(scale, chunk_sizes=(size,)))
        for size in scale.chunk_sizes
    ]
    if not isinstance(context.store, LocalStore):
        probe_chunks(context, checks)
        return checks
    batches: dict[ScaleCheck, list[tuple[Vec3, str]]] = {check: [] for check in checks}
    unread: Counter[str] = Counter()
    skip = names_of_others(context.info, scale.key)
    for name in walk_files(context.store, scale.key, depth=NESTED_DEPTH, skip=skip):
        for check, cell, where in _chunks_of_file(context, checks, name, unread):
            batches[check].append((cell, where))
            if len(batches[check]) >= _BATCH * context.work.grain:
                context.work.check(check, _check_batch, batches[check])
                batches[check] = []
    for check, batch in batches.items():
        context.work.check(check, _check_batch, batch)
    context.work.drain()
    for foreign, count in sorted(unread.items()):
        _tell_of_unread(context, scale.key, foreign, count)
    return checks


def _tell_of_unread(context: Context, key: str, foreign: str, count: int) -> None:
    library = lacks_library(foreign)
    way_out = f"pip install {library}" if library else "check them with what wrote them"
    context.findings.warning(
        "unchecked", key, f"{count} chunk files end in {foreign}, which can't be read; {way_out}"
    )


def _chunks_of_file(
    context: Context, checks: list[ScaleCheck], name: str, unread: Counter[str]
) -> list[tuple[ScaleCheck, Vec3, str]]:
    """Return the chunk that a file is; several, if it is one on the grid of more chunk sizes."""
    where = f"{context.info.scales[checks[0].index].key}/{name}"
    plain = name.removesuffix(".gz")
    foreign = next((end for end in FOREIGN_COMPRESSIONS if plain.endswith(end)), "")
    plain = plain.removesuffix(foreign)
    cells = [(check, cell) for check in checks if (cell := check.grid.cell_of_name(plain))]
    for check, cell in cells:
        if not check.presence.add(cell):
            context.findings.error(
                "duplicate", where, "there is another file for this chunk: which one is right?"
            )
    is_known = foreign in BY_ENDING and name.endswith(foreign) and not lacks_library(foreign)
    if cells and (is_known or not foreign):
        return [(check, cell, where) for check, cell in cells]
    if cells:
        unread[foreign] += 1
        checks[0].is_damaged = checks[0].has_unread = True  # its digest is of a part
    elif CHUNK_LIKE.fullmatch(plain):
        context.findings.error("misnamed", where, "is not the name of a chunk of this scale")
    else:
        context.findings.warning("stray", where, "is not a chunk")
    return []


def _check_batch(check: ScaleCheck, batch: list[tuple[Vec3, str]]) -> None:
    for cell, where in batch:
        try:
            size = check.context.store.size(where)
            if size is None:
                raise FormatError("is not a file that can be read")
            if check.context.quick or not check.is_read:
                _check_size(check, cell, where, size)
                check.context.done(check.voxels(cell))
            else:
                with check.room(size):
                    check.add(cell, where, _read(check, where))
        except (FormatError, StorageError) as error:
            check.fault(where, error)


def _check_size(check: ScaleCheck, cell: Vec3, where: str, size: int) -> None:
    """Check what can be seen without reading a chunk."""
    if size == 0:
        raise FormatError("is empty")
    expected = check.raw_size(cell)
    if expected is not None and not _ending(where) and size != expected:
        raise FormatError(f"expected a raw chunk of {expected} bytes, but the file has {size}")
    if size > max_stored_size(check.max_encoded_size):
        raise FormatError(f"has {size} bytes, but at most {check.max_encoded_size} are expected")


def _read(check: ScaleCheck, where: str) -> bytes:
    most = max_stored_size(check.max_encoded_size)
    data = check.context.store.get(where, 0, most + 1)
    if data is None:
        raise FormatError("is not a file that can be read")
    if len(data) > most:
        raise FormatError(f"larger than the {check.max_encoded_size} bytes expected")
    ending = _ending(where)
    return BY_ENDING[ending](data, max_size=check.max_encoded_size) if ending else data


def _ending(name: str) -> str:
    return next((ending for ending in BY_ENDING if name.endswith(ending)), "")
