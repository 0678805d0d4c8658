"""A conversion as work items: one process orders them and gathers what they tell.

The volume's lock, its journal and its `info` are the coordinator's alone; see
`ngcore.conversion.work_item` for what a worker does.
"""

import logging
import math
import os
import pickle
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from ngcore.arrays.values import Counts
from ngcore.conversion.kept import Kept, KeptSource
from ngcore.conversion.likeness import Likeness
from ngcore.conversion.memory import (
    ItemMemory,
    bytes_per_process,
    memory_of_items,
    processes_here,
)
from ngcore.conversion.regions import Regions
from ngcore.conversion.run import Outcome, Work
from ngcore.conversion.sparse import is_empty_at, skips_empty
from ngcore.conversion.spread_plan import spread_plan
from ngcore.conversion.work_item import (
    Assignment,
    UnseenSourceError,
    carry_out_item,
    check_worker,
)
from ngcore.precomputed.chunks import Vec3
from ngcore.sources.base import Source
from ngcore.sources.orient import OrientedSource
from ngcore.sources.volumes.raw import RawSource
from ngcore.storage import LocalStore, Store
from ngcore.storage.local import WORK_FOLDER
from ngcore.storage.stored_path import StoredPath
from ngcore.transaction.journal import Journal
from ngcore.transaction.shared_work import ALIVE, portable, remove_shared
from ngcore.transaction.work_folder import (
    choose_temporary_folder,
    make_temporary_folder,
    working_folder,
)
from ngcore.volume.provenance import Provenance
from ngcore.volume.seal import ScaleDigest
from ngcore.work.base import Executor
from ngcore.work.opening import executor_of

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


class SpreadRun:
    """One conversion whose work items are carried out by an executor; a context manager.

    Parameters
    ----------
    work : Work
        The plan is not followed: regions hold whole shards. A source that can't be opened by each
        worker, at any place, is unpacked to a temporary file first.
    executor : Executor
        Is left open.
    dest : Store
        The volume's. What workers must share lies in a bucket too, if it is one.

    Raises
    ------
    InputError
        If an item does not fit in the memory of a worker.
    """

    def __init__(self, work: Work, executor: Executor, dest: Store) -> None:
        self._conversion, self._source, self._options, self._progress = work
        self._executor = executor
        self._dest = portable(dest)
        self._tmp: Path | StoredPath = StoredPath(dest, f"{WORK_FOLDER}/{os.urandom(8).hex()}")
        if isinstance(dest, LocalStore):
            self._tmp = choose_temporary_folder(dest.path / WORK_FOLDER, self._options.tmp)
        self._make_tmp()
        self._is_seen = True

    def _make_tmp(self) -> None:
        if isinstance(self._tmp, StoredPath):
            self._dest.put((self._tmp / ALIVE).full, b"")
        else:
            assert isinstance(self._dest, LocalStore)
            make_temporary_folder(self._tmp, self._dest.path / WORK_FOLDER)

    def _remove_tmp(self) -> None:
        if isinstance(self._tmp, StoredPath):
            remove_shared(self._tmp)
        else:
            shutil.rmtree(self._tmp, ignore_errors=True)

    def __enter__(self) -> "SpreadRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Whoever still works notices that its folder is gone, and stops.
        self._remove_tmp()
        if kind is not None:
            self._executor.stop()
            self._remove_tmp()

    def check_workers(self) -> None:
        """Check, before anything is read, that the workers that are there see all they need.

        Raises
        ------
        DestinationError, InputError
            If one does not; the message names it and the path.
        """
        source = pickle.dumps(self._source) if self._source.cost.is_shareable else None
        name = self._source.name
        try:
            self._executor.everywhere(check_worker, self._dest, self._tmp, source, name)
        except UnseenSourceError as error:
            if not self._source.cost.is_file:
                raise
            logger.warning(
                "%s is unpacked once, by this process, because not all workers can open it: %s",
                name,
                str(error).partition(";")[0],
            )
            self._is_seen = False
            self._executor.everywhere(check_worker, self._dest, self._tmp, None, name)

    def run(self, journal: Journal) -> Outcome:
        """Write every chunk of every scale.

        Parameters
        ----------
        journal : Journal
            Knows the files of an earlier run that need not be made again, and notes the new ones.
        """
        # A run that begins clears away what the one before left, this folder with it.
        self._make_tmp()
        if self._syncs:
            journal.trust_journal_only(scale.key for scale in self._conversion.info.scales)
        trust = journal.trust
        store = self._dest
        stale_scales = frozenset(
            index
            for index, scale in enumerate(self._conversion.info.scales)
            if scale.sharding is None and store.has_any(scale.key)
        )
        source = self._source
        sparsity = source.sparsity()
        is_sparse = sparsity is not None and skips_empty(self._conversion, source, sparsity)
        if not (source.cost.is_shareable and self._is_seen):
            source, is_sparse = self._shared(source), False
        info, axis = self._conversion.info, source.stream_axis
        conversion = self._conversion._replace(
            plan=self._conversion.plan._replace(stream_axis=axis),
            side_files={},
            provenance=Provenance(),
        )
        grids = spread_plan(info, conversion.plan.factors, axis)
        total = sum(math.prod(info.scales[grid.step.first_scale].size) for grid in grids)
        digests = [ScaleDigest(info, scale) for scale in info.scales]
        counts, likeness, done = Counts(), Likeness(), 0
        memory = self._memory(grids, source)
        for grid in grids:
            kept = None
            if grid.step.last_scale < len(info.scales) - 1:
                filled: set[Vec3] | None = set() if is_sparse else None
                kept = Kept(grid.blocks, self._tmp, axis, source.memory_order, filled)
            step = grid.step._replace(row_buffers=memory.row_buffers)
            work = Assignment(
                conversion,
                self._options,
                replace(grid, step=step),
                pickle.dumps(source),
                source.name,
                kept and kept._replace(filled=None),  # each item has its own
                self._dest,
                self._tmp,
                self._executor.threads_per_item,
                memory.shard_memory,
                trust,
                self._syncs,
                stale_scales,
            )
            items: Iterator[tuple[Assignment, Vec3]] = ((work, place) for place in grid)
            if is_sparse:
                items = _without_reading_nothing(work, source, kept)
            with closing(self._executor.results(carry_out_item, items)) as results:
                for result in results:
                    for scale, chunk_sum in result.digests.items():
                        digests[scale].add_sum(chunk_sum)
                    for name in result.files:
                        journal.add(name)
                    journal.checkpoint_if_due()
                    counts = counts.plus(result.counts)
                    likeness = likeness.plus(result.likeness or Likeness())
                    done += result.voxels
                    if self._progress is not None:
                        self._progress(done, total)
            source.close()
            if kept is not None:
                source = kept.source()
        by_key = {scale.key: str(sum_) for scale, sum_ in zip(info.scales, digests, strict=True)}
        return Outcome(counts, by_key, likeness)

    def _shared(self, source: Source) -> Source:
        """Unpack a source to where all workers can read it."""
        if isinstance(self._tmp, StoredPath):
            with working_folder(self._dest, self._options.tmp) as here:
                unpacked = source.spooled(here / "source")
                assert isinstance(unpacked, RawSource | OrientedSource)
                return unpacked.at(self._tmp / "source")
        return source.spooled(self._tmp / "source")

    @property
    def _syncs(self) -> bool:
        """Whether workers make their files durable: no other machine can do it for them."""
        is_here = self._executor.is_local or self._dest.is_durable
        return self._options.fsync and not is_here

    def _memory(self, grids: Sequence[Regions], source: Source) -> ItemMemory:
        executor, asked = self._executor, self._options.memory_bytes
        if executor.is_local:
            process_bytes = bytes_per_process(self._options, executor.process_count)
        else:
            process_bytes = min(asked, executor.memory_per_process or asked)
        return memory_of_items(
            grids,
            source,
            self._options,
            process_bytes=process_bytes,
            items_per_process=executor.items_per_process,
            threads=executor.threads_per_item,
        )


def _without_reading_nothing(
    work: Assignment, source: Source, kept: Kept | None
) -> Iterator[tuple[Assignment, Vec3]]:
    """Yield the items of a pass; those of which the source has nothing say so.

    What the others keep for the next pass is noted in `kept`.
    """
    grid = work.grid
    nothing = replace(work, source=b"", kept=None, is_empty=True)
    for place in grid:
        if is_empty_at(grid, place, source):
            yield nothing, place
            continue
        if kept is not None and kept.filled is not None:
            kept.filled.update(grid.blocks_of(place))
        if isinstance(source, KeptSource):
            needed = source.within(grid.levels(place)[0].needed)
            yield replace(work, source=pickle.dumps(needed)), place
        else:
            yield work, place


def open_executor(asked: object, work: Work) -> AbstractContextManager[Executor]:
    """Return what carries out the items of a conversion.

    Parameters
    ----------
    asked : str, distributed.Client or Executor
        ``local`` starts processes here, as many as fit in `--memory`; an address connects to a
        scheduler. A client and an executor stay open.
    work : Work

    Raises
    ------
    InputError
        If it is not one of these, nobody answers, or there is too little memory.
    MissingExtraError
        If Dask is not installed.
    """

    def processes() -> tuple[int, int]:
        plan = work.conversion.plan
        grids = spread_plan(plan.info, plan.factors, plan.stream_axis)
        found = processes_here(grids, work.source, work.options)
        return found.number, found.threads

    return executor_of(asked, processes, threads=work.options.workers or 1)
