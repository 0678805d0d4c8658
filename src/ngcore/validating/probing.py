"""Finds the files of a volume on a web server, which lists none: by asking for every name.

Only what clients ask for is asked for: chunks by their flat names, whatever lies behind them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.storage.base import max_stored_size
from ngcore.validating.shard_file import ShardFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ngcore.precomputed.chunks import ChunkGrid, Vec3
    from ngcore.precomputed.shard_grid import ShardGrid
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage import ReadableStore
    from ngcore.validating.findings import Findings
    from ngcore.validating.scale import Context, ScaleCheck

_BATCH = 8
_FIRST = 64
"""So many files, spread over a large scale, are looked for first."""
_LARGE, _LEAST_OF_FIRST = 1 << 24, 2
"""Scales with more files are given up where fewer of the first ones are there: `info` lies."""
_MOST_IN_VAIN = 1 << 12
"""So many shards are asked for before a scale without any is given up."""
_AT_ONCE = 16


def probe_chunks(context: Context, checks: list[ScaleCheck]) -> None:
    """Ask for every chunk of a scale, and check those that are there."""
    for check in checks:
        _probe(context, check, _spread(check.grid))
        if check.grid.count > _LARGE and check.presence.found < _LEAST_OF_FIRST:
            continue  # check_absent says how little is there
        _probe(context, check, check.grid.cells())
    if not any(check.presence.found for check in checks):
        _hint(context, checks[0])


def _probe(context: Context, check: ScaleCheck, cells: Iterable[Vec3]) -> None:
    cells = (cell for cell in cells if not check.presence.has(cell))
    while batch := list(islice(cells, _BATCH * context.work.grain)):
        context.work.check(check, _probe_batch, batch)
    context.work.drain()


def _probe_batch(check: ScaleCheck, cells: list[Vec3]) -> None:
    store, most = check.context.store, max_stored_size(check.max_encoded_size)
    for cell in cells:
        where = f"{check.scale.key}/{check.grid.name(cell)}"
        try:
            if check.context.quick or not check.is_read:
                if store.size(where) is not None:
                    check.presence.add(cell)
                check.context.done(check.voxels(cell))
                continue
            with check.room(0):
                data = store.get_whole(where, most)
                if data is None:
                    check.context.done(check.voxels(cell))
                    continue
                check.presence.add(cell)
                if gzip.is_gzip(data) and check.decodes(cell, data) is False:
                    raise FormatError("is gzip, but the server sends no Content-Encoding: gzip")
                check.add(cell, where, data)
        except FormatError as error:
            check.presence.add(cell)
            check.fault(where, error)


def _hint(context: Context, check: ScaleCheck) -> None:
    """Say where chunks lie that clients do not find."""
    cell = (0, 0, 0)
    for name in (check.grid.name(cell), check.grid.nested_name(cell)):
        for suffix in ("", ".gz"):
            where = f"{check.scale.key}/{name}{suffix}"
            if context.store.size(where) is not None:
                context.findings.error(
                    "server",
                    where,
                    f"lies there, but clients ask for {check.grid.name(cell)}: set the server up "
                    "as ngcore server-config says, or run ngcore repair --flat --no-gzip",
                )
                return


def probe_shards(
    store: ReadableStore,
    folder: str,
    spec: ShardingSpec,
    grid: ShardGrid | None,
    findings: Findings,
) -> Iterator[ShardFile]:
    """Yield the shard files that are there, of a grid or of all numbers that there may be."""
    numbers = iter(grid if grid is not None else range(1 << spec.shard_bits))
    found = asked = 0
    with ThreadPoolExecutor(_AT_ONCE, "ngcore-probe") as pool:
        while batch := list(islice(numbers, _FIRST)):
            names = [f"{folder}/{spec.file_name(number)}" for number in batch]
            for number, name, size in zip(batch, names, pool.map(store.size, names), strict=True):
                if size is not None:
                    found += 1
                    yield ShardFile(store, name, number, spec, findings, size)
            asked += len(batch)
            if not found and asked >= _MOST_IN_VAIN:
                return


def _spread(grid: ChunkGrid) -> Iterator[Vec3]:
    """Yield cells spread over a large grid; none of a small one, of which all are asked for."""
    if grid.count <= _LARGE:
        return
    width, height, _ = grid.shape
    for number in range(0, grid.count, grid.count // _FIRST):
        yield number % width, number // width % height, number // (width * height)
