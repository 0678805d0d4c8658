"""Makes the meshes of a volume in steps: blocks of voxels, some labels at a time, shards.

Each step is an item (`work_item.py`) for processes here, or for the workers of a Dask scheduler.
The journal says which steps an earlier run has done.
"""

from __future__ import annotations

import math
import os
from array import array
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.meshing.files import choose_sharding
from ngcore.meshing.pieces import merged
from ngcore.meshing.work_item import (
    BlockItem,
    Job,
    LabelItem,
    Made,
    ShardItem,
    check_worker,
    find_block,
    make_labels,
    write_shard,
)
from ngcore.precomputed.mesh_multilod import empty_manifest
from ngcore.precomputed.names import EMPTY_MANIFEST_NAME
from ngcore.transaction.journal import MESH_WORK_FOLDER
from ngcore.transaction.shared_work import portable, shared_folder
from ngcore.volume.seal import EntriesDigest
from ngcore.work.opening import executor_of
from ngcore.work.processes import WorkerProcesses

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ngcore._verbs import Progress
    from ngcore.arrays.triangles import Surface
    from ngcore.meshing.blocks import LabelSurfaces
    from ngcore.meshing.pieces import Pieces
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.transaction.mesh_folder import MeshFolder
    from ngcore.work.base import Executor

_STEP_LABELS = 128
_STEP_BYTES = 8 << 20
_FEWEST_STEPS = 64
"""What an interruption loses is at most a step for each worker: so many labels, or so large
surfaces, and less where there are few in all."""


class Crew(NamedTuple):
    """Who does the work, and what all items have in common."""

    executor: Executor
    job: Job


@contextmanager
def crew_of(dask: object | None, workers: int | None, work: MeshFolder) -> Iterator[Crew]:
    """Give who does the work: processes here, or the workers of a Dask scheduler.

    Raises
    ------
    DestinationError, MissingExtraError
        A worker can't reach the volume, or lacks a library.
    """
    job = Job(portable(work.volume), os.urandom(8))
    if dask is None:
        with WorkerProcesses(workers) as processes:
            yield Crew(processes, job)
        return
    count = workers or os.cpu_count() or 1
    with (
        executor_of(dask, lambda: (count, 1)) as executor,
        shared_folder(job.store, MESH_WORK_FOLDER, executor) as shared,
    ):
        executor.everywhere(check_worker)
        syncs = not (executor.is_local or job.store.is_durable)
        if syncs:
            hidden = (f"{MESH_WORK_FOLDER}/{name}" for name in ("blocks", "labels"))
            work.journal.trust_journal_only((*hidden, work.folder))
        yield Crew(executor, replace(job, shared=shared, syncs=syncs))


class Meshes:
    """The meshes of a run, as they come."""

    def __init__(self, work: MeshFolder, *, sharding: bool) -> None:
        self._work = work
        self._is_sharded = sharding
        self._waiting: list[Pieces] = []
        self.labels = array("Q")
        self.digest = EntriesDigest()

    def make(self, crew: Crew, given: Mapping[int, Surface], resolution: Sequence[float]) -> None:
        """Make a mesh of each surface that was given."""
        items = (
            self._item(crew.job, [(label, surface)], resolution)
            for label, surface in given.items()
        )
        for _ in self._carried_out(crew, make_labels, items):
            pass

    def make_found(
        self,
        crew: Crew,
        surfaces: LabelSurfaces,
        resolution: Sequence[float],
        progress: Progress | None,
    ) -> None:
        """Make a mesh of each label's surface, some labels at a time."""
        labels, sizes = surfaces.labels, surfaces.sizes
        order = np.lexsort((labels, ~sizes))  # those with the largest surfaces first
        total, done = int(sizes.sum()), 0
        steps = list(_steps(sizes[order], min(_STEP_BYTES, total // _FEWEST_STEPS)))
        items = (
            self._item(
                crew.job,
                [(int(labels[index]), surfaces.places(index)) for index in order[step].tolist()],
                resolution,
            )
            for step in steps
        )
        bytes_of = {int(labels[order[step][0]]): int(sizes[order[step]].sum()) for step in steps}
        for first in self._carried_out(crew, make_labels, items):
            done += bytes_of[first]
            if progress is not None:
                progress(done, total)

    def _item(self, job: Job, sources: list[tuple[int, Any]], resolution: Any) -> LabelItem:
        file, folder = None, ""
        if self._is_sharded:
            names = [file := f"{MESH_WORK_FOLDER}/labels/{sources[0][0]}"]
        else:
            folder = self._work.folder
            names = [f"{folder}/{label}{end}" for label, _ in sources for end in ("", ".index")]
        trusted = frozenset(filter(self._work.journal.trusts, names))
        return LabelItem(job, file, folder, trusted, sources, resolution)

    def finish(self, crew: Crew) -> ShardingSpec | None:
        """Write the shards, if meshes go into any, and return how they are laid out.

        Files of their own get one more, for web servers: the manifest of a segment without a mesh.
        """
        folder, trusts = self._work.folder, self._work.journal.trusts
        if not self._is_sharded:
            self._work.volume.put(f"{folder}/{EMPTY_MANIFEST_NAME}", empty_manifest())
            return None
        waiting = merged(self._waiting)
        self._waiting.clear()
        spec = choose_sharding(len(waiting.labels), int(waiting.sizes.sum()))
        shards, _ = spec.locate_many(waiting.labels)

        def items() -> Iterator[ShardItem]:
            for shard in range(1 << spec.shard_bits):
                name = f"{folder}/{spec.file_name(shard)}"
                yield ShardItem(
                    crew.job, name, trusts(name), spec, waiting.chosen(shards == shard)
                )

        for _ in self._carried_out(crew, write_shard, items()):
            pass
        return spec

    def _carried_out(
        self, crew: Crew, function: Callable[[Any], Made], items: Iterable[Any]
    ) -> Iterator[int]:
        """Take note of what items make; yield the first label of each."""
        journal = self._work.journal
        with closing(crew.executor.results(function, items)) as results:
            for made in results:
                for name in made.files:
                    journal.add(name)
                journal.checkpoint_if_due()
                if made.waiting is not None:
                    self._waiting.append(made.waiting)
                self.labels.extend(made.labels)
                self.digest.add_sum(made.digest)
                yield made.first


def find_surfaces(
    work: MeshFolder,
    surfaces: LabelSurfaces,
    crew: Crew,
    scale: int,
    wanted: Collection[int] | None,
    *,
    progress: Progress | None,
) -> None:
    """Find the surfaces of all labels, block by block."""
    total = math.prod(surfaces.blocks.size)
    chosen = None if wanted is None else frozenset(wanted)
    done = 0

    def items() -> Iterator[BlockItem]:
        for cell in surfaces.cells():
            file = f"{MESH_WORK_FOLDER}/blocks/{'_'.join(map(str, cell))}"
            is_trusted, box = work.journal.trusts(file), surfaces.box(cell)
            yield BlockItem(crew.job, cell, file, is_trusted, scale, box, chosen)

    with closing(crew.executor.results(find_block, items())) as results:
        for cell, pieces in results:
            surfaces.add(cell, pieces)
            work.journal.add(*pieces.files)
            work.journal.checkpoint_if_due()
            done += math.prod(surfaces.blocks.bounds(cell).shape)
            if progress is not None:
                progress(done, total)
    if progress is not None and done < total:  # blocks of nothing are skipped
        progress(total, total)


def _steps(sizes: NDArray[np.uint64], most: int) -> Iterator[slice]:
    """Yield some labels at a time, the same in every run, whoever does the work."""
    start = bytes_in_step = 0
    for index, size in enumerate(map(int, sizes)):
        bytes_in_step += size
        if index + 1 - start == _STEP_LABELS or bytes_in_step >= most:
            yield slice(start, index + 1)
            start, bytes_in_step = index + 1, 0
    if start < len(sizes):
        yield slice(start, len(sizes))
