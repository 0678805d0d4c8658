"""Finds the files of a volume on a web server, which lists none: by asking for every name.

Only what clients ask for is asked for: chunks by their flat names, whatever lies behind them.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.storage.base import Store, max_stored_size
from ngcore.validating.shard_file import ShardFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ngcore.precomputed.chunks import ChunkGrid, Vec3
    from ngcore.precomputed.sharding import ShardGrid, ShardingSpec
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


class _Form(NamedTuple):
    """How chunks are named: as clients ask for them, or in folders or with an ending."""

    is_nested: bool
    ending: str

    def name(self, grid: ChunkGrid, cell: Vec3) -> str:
        return f"{grid.nested_name(cell) if self.is_nested else grid.name(cell)}{self.ending}"


_ENDINGS = ("", ".gz")
_FLAT = _Form(is_nested=False, ending="")


def probe_chunks(context: Context, checks: list[ScaleCheck]) -> None:
    """Ask for every chunk of a scale, and check those that are there."""
    _probe_all(context, checks, _FLAT)
    if not any(check.presence.found for check in checks):
        form = _other_form(context, checks[0])
        if form is not None:  # what lies where clients don't look may be right all the same
            _probe_all(context, checks, form)


def _probe_all(context: Context, checks: list[ScaleCheck], form: _Form) -> None:
    for check in checks:
        _probe(context, check, _spread(check.grid), form)
        if check.grid.count > _LARGE and check.presence.found < _LEAST_OF_FIRST:
            continue  # check_absent says how little is there
        _probe(context, check, check.grid.cells(), form)


def _probe(context: Context, check: ScaleCheck, cells: Iterable[Vec3], form: _Form) -> None:
    cells = (cell for cell in cells if not check.presence.has(cell))
    while batch := list(islice(cells, _BATCH * context.work.grain)):
        context.work.check(check, _probe_batch, (form, batch))
    context.work.drain()


def _probe_batch(check: ScaleCheck, part: tuple[_Form, list[Vec3]]) -> None:
    form, cells = part
    store, most = check.context.store, max_stored_size(check.max_encoded_size)
    for cell in cells:
        where = f"{check.scale.key}/{form.name(check.grid, cell)}"
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
                if form.ending:
                    data = gzip.decompress(data, max_size=check.max_encoded_size)
                elif gzip.is_gzip(data) and check.decodes(cell, data) is False:
                    raise FormatError("is gzip, but the server sends no Content-Encoding: gzip")
                check.add(cell, where, data)
        except FormatError as error:
            check.presence.add(cell)
            check.fault(where, error)


def _other_form(context: Context, check: ScaleCheck) -> _Form | None:
    """Say where chunks lie that clients do not find; return in which form."""
    cell = (0, 0, 0)
    repair = "run ngcore repair --flat --no-gzip"
    if not isinstance(context.store, Store):  # a bucket gives names out as they are
        repair = f"set the server up as ngcore server-config says, or {repair}"
    for form in (_Form(is_nested, ending) for is_nested in (False, True) for ending in _ENDINGS):
        where = f"{check.scale.key}/{form.name(check.grid, cell)}"
        if context.store.size(where) is not None:
            context.findings.error(
                "server",
                where,
                "is stored under this name, but clients ask for "
                f"{check.grid.name(cell)}: {repair}",
            )
            return form
    return None


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
