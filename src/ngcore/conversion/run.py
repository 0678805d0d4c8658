"""A conversion while it runs: from the source's planes to chunks in their files."""

import math
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ngcore._verbs import Progress
from ngcore.arrays.values import Counts
from ngcore.conversion.memory import shard_memory
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import Conversion
from ngcore.conversion.region import ChunkSink, PassRun, Run, carry_out_region
from ngcore.conversion.regions import Regions
from ngcore.sources.base import Source
from ngcore.storage import Store
from ngcore.transaction.journal import Journal
from ngcore.work.threads import ThreadPool

if TYPE_CHECKING:
    from ngcore.conversion.likeness import Likeness
    from ngcore.precomputed.chunks import Vec3


class Outcome(NamedTuple):
    """What a conversion that ran to its end tells.

    Attributes
    ----------
    counts : Counts
        What happened to the values on the way.
    digests : dict of str to str
        Of the voxels of every scale, by its key.
    likeness : Likeness or None
        Whether an image looks like labels; None where nobody asked.
    """

    counts: Counts
    digests: dict[str, str]
    likeness: "Likeness | None" = None


class Work(NamedTuple):
    """What is to be converted, and how.

    Attributes
    ----------
    conversion : Conversion
        What was decided by `prepare`.
    source : Source
        Is read to its end, and closed.
    options : ConvertOptions
    progress : callable, optional
        Called now and then with (voxels done, voxels in all).
    """

    conversion: Conversion
    source: Source
    options: ConvertOptions
    progress: Progress | None = None


def write_scales(
    work: Work,
    store: Store,
    tmp: Path,
    *,
    journal: Journal | None = None,
    trusts_files: bool = True,
) -> Outcome:
    """Write every chunk of every scale, on threads of this process.

    Parameters
    ----------
    work : Work
    store : Store
        Where the volume's files go.
    tmp : Path
        Where temporary files go: a folder of this run alone.
    journal : Journal or None
        Knows the files of an earlier run that need not be made again, and notes the new ones.
    trusts_files : bool
        Whether files of an earlier run may be left as they are.
    """
    info, plan, options = work.conversion.info, work.conversion.plan, work.options
    is_resumed = journal is not None and journal.is_resumed and trusts_files
    sparsity, sparse = work.source.sparsity(), None
    if sparsity is not None:
        from ngcore.conversion.sparse import sparse_plan  # few sources are

        sparse = sparse_plan(work.conversion, work.source, sparsity, options)
    grids = sparse or tuple(plan.regions(step) for step in plan.passes)
    total = sum(math.prod(info.scales[grid.step.first_scale].size) for grid in grids)
    counts, done, lock = Counts(), 0, threading.Lock()

    def planes_read(voxels: int, read: Counts) -> None:
        nonlocal counts, done
        with lock:
            counts = counts.plus(read)
            done += voxels
            if work.progress is not None:
                work.progress(done, total)

    sink = ChunkSink(
        info,
        range(int(plan.first_is_read), len(info.scales)),
        options,
        store,
        tmp,
        shard_memory=shard_memory(options),
        is_written=journal.is_written if journal is not None and is_resumed else None,
        written=None if journal is None else journal.add,
        looks_for_labels=work.conversion.looks_for_labels,
    )
    try:
        with ThreadPool(plan.threads) as pool:
            row_done = None if journal is None else journal.checkpoint_if_due
            run = Run(work.conversion, sink, pool, tmp / "scratch", planes_read, row_done)
            _run_passes(work, grids, tmp, run, is_sparse=sparse is not None)
        sink.finish(whole=not is_resumed)
    except BaseException:
        sink.abort()
        raise
    digests = {info.scales[index].key: str(digest) for index, digest in sink.digests.items()}
    return Outcome(counts, digests, sink.likeness)


def _run_passes(
    work: Work, grids: tuple[Regions, ...], tmp: Path, run: Run, *, is_sparse: bool
) -> None:
    plan, source = work.conversion.plan, work.source
    carry_out = carry_out_region
    if is_sparse:
        from ngcore.conversion.sparse import carry_out_sparse_region

        carry_out = carry_out_sparse_region
    spool: Path | None = None
    kept_before = None
    if source.cost.access == "unpack" or (plan.is_cut and not source.cost.can_be_cut):
        spool = tmp / "source"
        source = source.spooled(spool)
    for regions in grids:
        kept = None
        if regions.step.last_scale < len(plan.info.scales) - 1:
            from ngcore.conversion.kept import Kept  # most volumes take one pass
            from ngcore.transaction.output_file import make_folder

            make_folder(run.scratch)
            filled: set[Vec3] | None = set() if is_sparse else None
            kept = Kept(regions.blocks, tmp, plan.stream_axis, source.memory_order, filled)
        step_run = PassRun(run, regions, source, kept)
        with closing(source):
            for place in regions:
                carry_out(step_run, place)
            source.finish()
        with suppress(OSError):  # its folder goes at the end
            if spool is not None:
                spool.unlink()
        if kept_before is not None:
            kept_before.remove()
        spool, kept_before = None, kept
        if kept is not None:
            source = kept.source()
