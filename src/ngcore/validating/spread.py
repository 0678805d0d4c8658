"""Parts of a scale that are checked by other processes, such as the workers of a Dask scheduler.

A worker reads a shard, or some chunk files, and tells what it found; it shares nothing with others
but the volume, of which it reads `info` first: one that can't see it must not report that all is
absent.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ngcore.errors import InputError, NgcoreError, StorageError
from ngcore.transaction.shared_work import portable, this_process
from ngcore.validating.findings import Findings
from ngcore.validating.presence import Presence
from ngcore.validating.scale import Context, ScaleCheck
from ngcore.validating.work import AtOnce, Work, WorkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.precomputed.chunks import ChunkGrid, Vec3
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.storage import ReadableStore
    from ngcore.work.base import Executor
    from ngcore.work.threads import ThreadPool

_MOST_QUEUED = 1 << 12


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all parts have in common; picklable. `document` is the content of `info`."""

    store: ReadableStore
    document: bytes
    info: VolumeInfo
    quick: bool


class Part(NamedTuple):
    """A part of a scale, and what checks it."""

    assignment: Assignment
    scale_index: int
    scale: ScaleInfo
    function: Callable[[ScaleCheck, Any], None]
    part: Any


@dataclass(frozen=True, slots=True)
class Found:
    """What a worker tells of a part.

    Attributes
    ----------
    number : int
        Of the check, in the order of parts.
    findings : Findings
    cells : list of (x, y, z)
        The chunks that are there.
    digest : int
        The sum over those that were decoded.
    voxels : int
        How many were checked.
    is_damaged : bool
    """

    number: int
    findings: Findings
    cells: list[Vec3]
    digest: int
    voxels: int
    is_damaged: bool


class _Cells(Presence):
    """The chunks of one part."""

    def __init__(self, grid: ChunkGrid) -> None:
        self._grid = grid
        self.is_exact = True
        self.cells: dict[Vec3, None] = {}

    def add(self, cell: Vec3) -> bool:
        is_new = cell not in self.cells
        self.cells[cell] = None
        return is_new

    def has(self, cell: Vec3) -> bool:
        return cell in self.cells


class SpreadWork(Work[ScaleCheck]):
    """Gives parts of scales to an executor, and all other tasks to threads.

    Parameters
    ----------
    pool : ThreadPool
    executor : Executor
    assignment : Assignment

    Raises
    ------
    InputError
        A worker can't read the volume; the message names it.
    """

    grain = 16

    def __init__(self, pool: ThreadPool, executor: Executor, assignment: Assignment) -> None:
        super().__init__(pool)
        self._executor = executor
        self._assignment = replace(assignment, store=portable_reader(assignment.store))
        self._queue: list[tuple[ScaleCheck, Part]] = []
        executor.everywhere(check_worker, self._assignment)

    def check(
        self, check: ScaleCheck, function: Callable[[ScaleCheck, Any], None], part: Any
    ) -> None:
        """Queue the check of a part, and have all done once there are many."""
        item = Part(self._assignment, check.index, check.scale, function, part)
        self._queue.append((check, item))
        if len(self._queue) >= _MOST_QUEUED:
            self._carry_out()

    def drain(self) -> None:
        """Return when every part is checked and every task has run."""
        self._carry_out()
        super().drain()

    def _carry_out(self) -> None:
        queue, self._queue = self._queue, []
        items = [(number, part) for number, (_, part) in enumerate(queue)]
        try:
            with closing(self._executor.results(check_part, items)) as results:
                for found in results:
                    _add(queue[found.number][0], found)
        except BaseException as error:
            self._executor.stop()
            if isinstance(error, StorageError):
                raise WorkError(str(error)) from error
            raise


def _add(check: ScaleCheck, found: Found) -> None:
    check.context.findings.merge(found.findings)
    for cell in found.cells:
        check.presence.add(cell)
    check.digest.add_sum(found.digest)
    check.is_damaged |= found.is_damaged
    check.context.done(found.voxels)


def portable_reader(store: ReadableStore) -> ReadableStore:
    """Return a store that means the same in other processes."""
    from ngcore.storage import Store

    return portable(store) if isinstance(store, Store) else store


def check_worker(assignment: Assignment) -> None:
    """Raise InputError where this process can't read the volume."""
    try:
        _check_access(assignment)
    except StorageError as error:
        raise InputError(str(error)) from error


def _check_access(assignment: Assignment) -> None:
    store = assignment.store
    what = "can't read its info, or reads another one"
    try:
        if store.get("info") == assignment.document:
            return
    except NgcoreError as error:
        what = str(error)
    raise StorageError(
        f"the worker on {this_process()} can't check {store.location}: {what}; volumes must lie "
        "where all workers may read them"
    )


def check_part(item: tuple[int, Part]) -> Found:
    """Check a part of a scale.

    Raises
    ------
    StorageError
        This process can't read the volume.
    """
    number, part = item
    assignment = part.assignment
    _check_access(assignment)
    voxels = 0

    def done(count: int) -> None:
        nonlocal voxels
        voxels += count

    context = Context(
        store=assignment.store,
        info=assignment.info,
        findings=Findings(),  # what is to be said of the scale is said where it is put together
        work=AtOnce(),
        quick=assignment.quick,
        done=done,
    )
    check = ScaleCheck(context, part.scale_index, part.scale)
    check.context = replace(context, findings=(findings := Findings()))
    check.presence = cells = _Cells(check.grid)
    part.function(check, part.part)
    return Found(
        number, findings, list(cells.cells), check.digest.chunk_sum, voxels, check.is_damaged
    )
