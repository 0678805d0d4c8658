"""What a worker does with one work item, in whatever process and on whatever machine.

A worker shares nothing with others but files. It works in a folder of its own, and everything it
leaves appears under its name when it is whole; so an item may be done twice, even at once, where a
worker was taken for lost.
"""

import pickle
import shutil
import tempfile
import threading
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ngcore.arrays.values import Counts
from ngcore.conversion.kept import Kept
from ngcore.conversion.likeness import Likeness
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import Conversion
from ngcore.conversion.region import ChunkSink, PassRun, Run, carry_out_region
from ngcore.conversion.regions import Regions
from ngcore.conversion.sparse import pass_over
from ngcore.errors import FormatError, InputError, InputNotFoundError, StorageError
from ngcore.precomputed.chunks import Vec3
from ngcore.sources.base import Source
from ngcore.storage import Store
from ngcore.storage.stored_path import StoredPath
from ngcore.transaction.journal import Trust, trusted_files
from ngcore.transaction.shared_work import (
    Wanted,
    check_access,
    check_is_wanted,
    make_durable,
    this_process,
)
from ngcore.work.threads import ThreadPool


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all items of a pass have in common; picklable.

    Attributes
    ----------
    conversion : Conversion
    options : ConvertOptions
    grid : Regions
        The items of the pass.
    source : bytes
        The pickled source: where it can't be opened, the worker says so in its own words.
    source_name : str
    kept : Kept or None
        Where the last scale is kept, if a pass follows.
    dest : Store
        The volume's.
    tmp : Path or StoredPath
        A folder for temporary files that all workers see, absolute. It is there for as long as
        anybody wants this work.
    threads : int
        How many threads an item uses.
    shard_memory : int, in bytes
        How much of encoded chunks may wait in memory.
    trust : Trust
        Which files of an earlier run need not be made again.
    syncs : bool
        Make each file durable before it is reported.
    stale_scales : frozenset of int
        Those whose folders held files before the run. What other items write there is not stale.
    is_empty : bool
        The source has nothing of the item: it becomes empty shards, unread.
    """

    conversion: Conversion
    options: ConvertOptions
    grid: Regions
    source: bytes
    source_name: str
    kept: Kept | None
    dest: Store
    tmp: Path | StoredPath
    threads: int
    shard_memory: int
    trust: Trust
    syncs: bool
    stale_scales: frozenset[int]
    is_empty: bool = False


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What an item tells when it is done; its files say the rest.

    Attributes
    ----------
    voxels : int
        Its share of the voxels of the pass.
    counts : Counts
        What happened to the values of its own voxels.
    digests : dict of int to int
        By the index of the scale, the sum over its chunks.
    files : tuple of str
        The names of the files it wrote.
    likeness : Likeness or None
        What it saw of the finest scale.
    """

    voxels: int
    counts: Counts
    digests: dict[int, int]
    files: tuple[str, ...]
    likeness: Likeness | None


class UnseenSourceError(InputError):
    """A process can't open the source."""


def check_worker(
    dest: Store, tmp: Path | StoredPath, source: bytes | None, source_name: str
) -> None:
    """Check that this process can take part: it sees the files, and may write.

    Raises
    ------
    DestinationError, InputError
        If not; the message names the machine and the path.
    """
    check_access(dest, tmp)
    if source is None:
        return
    try:
        _open_source(source, source_name).close()
    except StorageError as error:
        raise UnseenSourceError(str(error)) from error


def carry_out_item(given: tuple[Assignment, Vec3]) -> ItemResult:
    """Make every file of one item.

    Raises
    ------
    InputError, FormatError
        If the source turns out to be bad.
    StorageError
        If reading or writing fails, or nobody wants the work any more.
    """
    work, place = given
    check_is_wanted(work.tmp)
    try:
        here = work.tmp if isinstance(work.tmp, Path) else None
        scratch = Path(tempfile.mkdtemp(prefix="item-", dir=here))
    except OSError as error:
        raise StorageError(f"can't create a folder in {work.tmp}: {error.strerror}") from error
    try:
        return _carry_out(work, place, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _carry_out(work: Assignment, place: Vec3, scratch: Path) -> ItemResult:
    grid = work.grid
    counts, lock = Counts(), threading.Lock()
    files: list[str] = []
    is_whole = trusted_files(work.dest, work.trust, str(work.tmp))
    known: dict[str, bool] = {}
    sink = ChunkSink(
        work.conversion.info,
        range(grid.step.first_scale + grid.first_is_read, grid.step.last_scale + 1),
        work.options,
        work.dest,
        scratch,
        shard_memory=work.shard_memory,
        # Asked once for each file: another attempt at this very item may write it meanwhile.
        is_written=is_whole and (lambda name: known.setdefault(name, is_whole(name))),
        written=files.append,
        stale_scales=work.stale_scales,
        looks_for_labels=work.conversion.looks_for_labels,
    )

    def planes_read(_voxels: int, read: Counts) -> None:
        nonlocal counts
        with lock:
            counts = counts.plus(read)

    still_wanted = Wanted(work.tmp)

    def row_done() -> None:
        if not scratch.is_dir() or not still_wanted():
            raise StorageError(f"{work.dest.location}: the conversion was ended elsewhere")

    try:
        with ThreadPool(work.threads) as pool:
            run = Run(work.conversion, sink, pool, scratch, planes_read, row_done)
            if work.is_empty:
                pass_over(run, grid, place)
            else:
                with closing(_open_source(work.source, work.source_name)) as source:
                    blocks = PassRun(run, grid.blocks, source, work.kept)
                    for block in grid.blocks_of(place):
                        carry_out_region(blocks, block)
                    source.finish()
        sink.finish(whole=False)
    finally:
        sink.abort()
    if work.syncs:
        make_durable(work.dest, files)
    digests = {scale: digest.chunk_sum for scale, digest in sink.digests.items()}
    return ItemResult(grid.voxels(place), counts, digests, tuple(files), sink.likeness)


def _open_source(pickled: bytes, name: str) -> Source:
    try:
        source: Source = pickle.loads(pickled)
    except (InputNotFoundError, InputError, FormatError) as error:
        raise StorageError(
            f"the worker on {this_process()} can't open {name}: "
            f"{error}; sources must lie on a file system that all workers share"
        ) from error
    return source
