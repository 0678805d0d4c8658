"""A conversion while it runs: from the source's planes to chunks in their files."""

import math
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from ngcore.arrays.values import Counts
from ngcore.conversion.kept import Kept, KeptSource
from ngcore.conversion.likeness import Likeness
from ngcore.conversion.memory import shard_memory
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import Conversion
from ngcore.conversion.region import carry_out_region
from ngcore.conversion.sink import ChunkSink
from ngcore.sources.base import Source
from ngcore.storage import Store
from ngcore.transaction.journal import Journal
from ngcore.transaction.output_file import make_folder
from ngcore.transaction.temporary import temporary_folder
from ngcore.work.threads import ThreadPool

Progress = Callable[[int, int], None]


class Outcome(NamedTuple):
    """What a conversion that ran to its end tells.

    Attributes
    ----------
    counts : Counts
        What happened to the values on the way.
    digests : dict of str to str
        Of the voxels of every scale, by its key.
    likeness : Likeness
        Whether an image that nobody said is one looks like labels.
    """

    counts: Counts
    digests: dict[str, str]
    likeness: Likeness = Likeness()


class Run:
    """The state of one conversion while it runs: passes, counts and progress.

    Parameters
    ----------
    conversion : Conversion
        What to do.
    source : Source
        Is read to its end, and closed.
    options : ConvertOptions
        How to do it.
    store : Store
        Where the volume's files go.
    work_folder : Path
        Where temporary files go, unless the options name another folder.
    progress : callable or None
        Called now and then with (voxels done, voxels in all).
    journal : Journal or None
        Knows the files of an earlier run that need not be made again, and notes the new ones.
    first_is_written : bool
        Whether the source is the volume's own finest scale, so that only the coarser ones are
        written.
    trusts_files : bool
        Whether files of an earlier run may be left as they are.
    """

    def __init__(
        self,
        conversion: Conversion,
        source: Source,
        options: ConvertOptions,
        store: Store,
        work_folder: Path,
        progress: Progress | None,
        *,
        journal: Journal | None = None,
        first_is_written: bool = False,
        trusts_files: bool = True,
    ) -> None:
        self._conversion = conversion
        self._plan = conversion.plan
        self._info = conversion.info
        self._source = source
        self._options = options
        self._tmp = work_folder
        self._store = store
        self._journal = journal
        self._progress = progress
        self._counts = Counts()
        self._lock = threading.Lock()
        self._voxels_done = 0
        self._voxels_total = sum(
            math.prod(self._info.scales[step.first_scale].size) for step in self._plan.passes
        )
        self._first_is_written = first_is_written
        self._trusts_files = trusts_files

    def run(self) -> Outcome:
        """Write every chunk of every scale."""
        journal = self._journal
        is_resumed = journal is not None and journal.is_resumed and self._trusts_files
        with temporary_folder(self._tmp, self._options.tmp) as self._tmp:
            sink = ChunkSink(
                self._info,
                range(int(self._first_is_written), len(self._info.scales)),
                self._options,
                self._store,
                self._tmp,
                shard_memory=shard_memory(self._options),
                is_written=journal.is_written if journal is not None and is_resumed else None,
                written=None if journal is None else journal.add,
            )
            try:
                with ThreadPool(self._plan.threads) as pool:
                    self._run_passes(pool, sink)
                sink.finish(whole=not is_resumed)
            except BaseException:
                sink.abort()
                raise
        digests = {
            self._info.scales[index].key: str(digest) for index, digest in sink.digests.items()
        }
        return Outcome(self._counts, digests, sink.likeness)

    def _run_passes(self, pool: ThreadPool, sink: ChunkSink) -> None:
        source, spool, kept_before = self._source, None, None
        scratch = self._tmp / "scratch"
        make_folder(scratch)
        can_be_cut = not (source.is_sequential or source.reads_whole_planes)
        if source.needs_spool or (self._plan.is_cut and not can_be_cut):
            spool = self._tmp / "source"
            source = source.spooled(spool)
        for step in self._plan.passes:
            kept, regions = None, self._plan.regions(step)
            if step.last_scale < len(self._info.scales) - 1:
                kept = Kept(regions, self._tmp, self._plan.stream_axis, source.memory_order)
            with closing(source):
                for place in regions:
                    carry_out_region(
                        self._conversion,
                        regions,
                        place,
                        source,
                        sink,
                        pool,
                        kept=kept,
                        scratch=scratch,
                        first_is_written=step.first_scale > 0 or self._first_is_written,
                        planes_read=self._planes_read,
                        row_done=self._row_done,
                    )
                source.finish()
            with suppress(OSError):  # its folder goes at the end
                if spool is not None:
                    spool.unlink()
            if kept_before is not None:
                kept_before.remove()
            spool, kept_before = None, kept
            if kept is not None:
                source = KeptSource(kept)

    def _row_done(self) -> None:
        if self._journal is not None:
            self._journal.checkpoint_if_due()

    def _planes_read(self, voxels: int, counts: Counts) -> None:
        with self._lock:
            self._counts += counts
            self._voxels_done += voxels
            if self._progress is not None:
                self._progress(self._voxels_done, self._voxels_total)
