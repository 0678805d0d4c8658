"""Whether a volume is what it says it is: every file is looked at, and nothing is believed.

Memory is bounded by chunks in the hands of the threads and a bit per chunk of a scale, whatever
the size of the volume, and whatever a damaged or hostile file claims.
"""

from __future__ import annotations

import math
import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ngcore._verbs import told
from ngcore.errors import InputError, NgcoreError
from ngcore.precomputed.layer_kinds import kind_name, layer_kind
from ngcore.precomputed.names import (
    ANNOTATIONS_TYPE,
    LEGACY_MESH_TYPE,
    MULTILOD_MESH_TYPE,
    SEGMENT_PROPERTIES_TYPE,
    SKELETONS_TYPE,
)
from ngcore.precomputed.sharding import ShardGrid
from ngcore.storage import LocalStore, is_http, open_store
from ngcore.validating.absent import check_absent
from ngcore.validating.annotations import check_annotations
from ngcore.validating.chunk_files import check_chunk_files
from ngcore.validating.findings import Finding, Findings, Report
from ngcore.validating.info import check_geometry, check_info, read_members
from ngcore.validating.meshes import check_meshes
from ngcore.validating.properties import check_properties
from ngcore.validating.pyramid import check_pyramid
from ngcore.validating.scale import Basis, Context, ScaleCheck
from ngcore.validating.sealed import (
    by_whom,
    check_files,
    check_layer,
    check_members,
    check_meshes_seal,
    check_record,
    interrupted,
)
from ngcore.validating.shards import MOST_HASHED_CELLS, check_shards
from ngcore.validating.side_files import check_strays, check_transform, read_provenance
from ngcore.validating.skeletons import check_skeletons
from ngcore.validating.work import Work, WorkError
from ngcore.volume.read import Volume
from ngcore.volume.seal import Seal, sealed_members
from ngcore.work.threads import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage import ReadableStore
    from ngcore.volume.provenance import Provenance

__all__ = ["Finding", "Report", "validate"]


def validate(
    path: str | os.PathLike[str],
    *,
    quick: bool = False,
    workers: int | None = None,
    dask: object | None = None,
    progress: bool | Callable[[int, int], None] | None = None,
) -> Report:
    """Check a volume: its info, every chunk of every scale, meshes and properties.

    Parameters
    ----------
    path : str or path
        The folder that holds `info`, or its URL. A web server lists no files, so there all names
        are asked for that clients would ask for.
    quick : bool
        Look at names, sizes and indexes only: no chunk is decoded, no digest compared.
    workers : int, optional
        Threads; default all cores.
    dask : str or distributed.Client, optional
        The address of a Dask scheduler whose workers check the chunks of the volume, or its
        client; ``local`` starts processes here. They must reach `path`. What is not a chunk is
        checked here.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in all).

    Returns
    -------
    Report
        What was found, in the same order at every run. `Report.is_sound` tells if all is well.

    Raises
    ------
    InputNotFoundError
        There is no such folder, or no `info` in it.
    InputError
        The path holds something other than a volume, or an unfinished conversion.

    Examples
    --------
    >>> from ngcore.validating.validate import validate
    >>> report = validate("brain")  # doctest: +SKIP
    >>> [str(finding) for finding in report.findings]  # doctest: +SKIP
    ['8_8_8/0-64_0-64_0-64: a raw chunk of (64, 64, 64, 1) uint8 voxels has 262144 bytes, got 7']
    """
    report, _ = inspect(path, quick=quick, workers=workers, dask=dask, progress=told(progress))
    return report


def inspect(
    path: str | os.PathLike[str],
    *,
    quick: bool = False,
    workers: int | None = None,
    dask: object | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Report, Seal]:
    """Check a volume, as `validate` does; return also the seal of what is there.

    Scales and meshes that can't be read as a whole are not in it, nor are small files.
    """
    text = os.fspath(path)
    if workers is not None and workers < 1:
        raise InputError(f"workers must be 1 or more, got {workers}")
    store = open_store(path)
    store.lost_chunks = "ignore"
    findings = Findings()
    members = read_members(store, findings)
    if members is None:
        check_transform(store, findings)
        return findings.report(text, chunks=0, digests=()), Seal()
    with ThreadPool(workers or os.cpu_count() or 1) as pool:
        work: Work[ScaleCheck] = Work(pool)
        kind = layer_kind(members)
        if kind is not None:
            basis = Basis(
                store=store,
                findings=findings,
                work=work,
                quick=quick,
                provenance=read_provenance(store, findings),
            )
            return _check_other_kind(basis, kind, kind_name(members) or kind, text), Seal()
        info = check_info(members, findings)
        check_transform(store, findings)
        if info is None:
            return findings.report(text, chunks=0, digests=()), Seal()
        context = Context(
            store=store,
            info=info,
            findings=findings,
            work=work,
            quick=quick,
            done=Meter(info, progress).add,
            provenance=read_provenance(store, findings),
        )
        with _spread(dask, context, pool, workers) as context:
            checks, meshes = _check_volume(context)
    digests = tuple(check.scale.key for check in checks if check.is_verified)
    chunks = sum(check.presence.found for check in checks)
    whole = [check for check in checks if check.can_decode and not (check.is_damaged or quick)]
    seal = Seal(
        scales={check.scale.key: str(check.digest) for check in whole},
        meshes=meshes,
        info=sealed_members(info.members()),
    )
    return findings.report(text, chunks=chunks, digests=digests), seal


@contextmanager
def _spread(
    dask: object | None, context: Context, pool: ThreadPool, workers: int | None
) -> Iterator[Context]:
    """Give a context whose parts of scales are checked where `dask` says."""
    if dask is None:
        yield context
        return
    from ngcore.validating.spread import Assignment, SpreadWork
    from ngcore.work.opening import executor_of

    document = context.store.get("info") or b""
    count = workers or os.cpu_count() or 1
    with executor_of(dask, lambda: (count, 1)) as executor:
        assignment = Assignment(context.store, document, context.info, context.quick)
        yield replace(context, work=SpreadWork(pool, executor, assignment))


def _check_other_kind(basis: Basis, kind: str, name: str, text: str) -> Report:
    """Check a folder that holds no volume, but a layer of another kind."""
    count = 0
    if kind == ANNOTATIONS_TYPE:
        count = check_annotations(basis, ".")
    elif kind == SKELETONS_TYPE:
        count = check_skeletons(basis, ".")
    elif kind in (LEGACY_MESH_TYPE, MULTILOD_MESH_TYPE):
        check_meshes(basis, ".")
    elif kind == SEGMENT_PROPERTIES_TYPE:
        check_properties(basis, ".")
    else:
        raise InputError(
            f"{text} is a folder of {name}, which ngcore can't check; pass the folder of a volume"
        )
    check_layer(basis)
    return basis.findings.report(text, chunks=count, digests=(), what=name)


def _check_volume(context: Context) -> tuple[list[ScaleCheck], dict[str, str]]:
    """Check all of a volume; return the checks of its scales, and digests of meshes by folder."""
    store, info, findings = context.store, context.info, context.findings
    check_record(context.provenance, findings)
    check_members(context, sealed_members(info.members()))
    if isinstance(store, LocalStore):
        check_strays(store, info, findings)
    if context.is_ours:
        check_geometry(info, findings)
    if is_http(store.location):
        _check_server(context)
    checks = _check_scales(context)
    meshes = _check_folders(context)
    check_meshes_seal(context, meshes)
    check_files(context)
    return checks, meshes


def _check_scales(context: Context) -> list[ScaleCheck]:
    """Check the chunks of every scale, then each scale against its digest and its neighbours."""
    provenance = context.provenance
    firsts: list[ScaleCheck] = []
    everything: list[ScaleCheck] = []
    for index, scale in enumerate(context.info.scales):
        try:
            check_scale = check_chunk_files if scale.sharding is None else check_shards
            checks = check_scale(context, index)
        except WorkError:
            raise
        except NgcoreError as error:
            context.findings.error("scale", scale.key, error)
            return everything
        firsts.append(checks[0])
        everything += checks
    for check in firsts:
        check.has_digest = check.scale.key in provenance.seal.scales
        if not context.quick:
            _compare_digest(context, check, provenance)
    volume = Volume(context.store, context.info)
    check_absent(context, volume, everything)
    if not context.quick:
        check_pyramid(context, volume, firsts)
    return everything


def _compare_digest(context: Context, check: ScaleCheck, provenance: Provenance) -> None:
    """Compare the voxels of a scale with what `provenance` says, if it does.

    Where chunks can't be read the digests must differ, and what is wrong was reported already.
    """
    expected = provenance.seal.scales.get(check.scale.key)
    if expected is None:
        if provenance.seal.scales:
            context.findings.warning(
                "digest", check.scale.key, "provenance has digests, but none for this scale"
            )
        return
    if not check.can_decode or check.is_damaged:
        return
    if str(check.digest) == expected:
        check.is_verified = True
    elif provenance.changing:
        message = f"some voxels are old, some new: {interrupted(provenance.changing)}"
        context.findings.error("interrupted", check.scale.key, message)
    else:
        context.findings.error(
            "digest",
            check.scale.key,
            f"voxels differ from what was written: the digest of all chunks is {check.digest}, "
            f"but provenance says {expected}; {by_whom(provenance)}",
        )


def _check_server(context: Context) -> None:
    from ngcore.validating.server import check_ranges, check_server

    check_server(context)
    for scale in context.info.scales:
        if scale.sharding is None or (
            scale.sharding.hash != "identity" and scale.grid.count > MOST_HASHED_CELLS
        ):
            continue
        for number in ShardGrid(scale.sharding, scale.grid.shape):
            name = f"{scale.key}/{scale.sharding.file_name(number)}"
            if context.store.size(name):
                check_ranges(context, name)
            return


def _lacks_folder(store: ReadableStore, folder: str) -> bool:
    return isinstance(store, LocalStore) and not (store.path / folder).is_dir()


def _check_folders(context: Context) -> dict[str, str]:
    """Check meshes, skeletons and properties; return digests of meshes, by folder."""
    info, found = context.info, {}

    def meshes(folder: str) -> None:
        digest = check_meshes(context, folder, properties=info.segment_properties)
        if digest is not None:
            found[folder] = digest

    for kind, member, folder, check in (
        ("mesh", "mesh", info.mesh, meshes),
        (
            "properties",
            "segment_properties",
            info.segment_properties,
            partial(check_properties, context),
        ),
        (
            "skeletons",
            "skeletons",
            info.skeletons,
            partial(check_skeletons, context, properties=info.segment_properties),
        ),
    ):
        if folder is None:
            continue
        try:
            if _lacks_folder(context.store, folder):
                context.findings.error(kind, f"info: {member}", f"there is no folder {folder!r}")
            else:
                check(folder)
        except NgcoreError as error:
            context.findings.error(kind, folder, error)
    return found


class Meter:
    """Tells of progress, from several threads."""

    def __init__(
        self,
        info: VolumeInfo,
        progress: Callable[[int, int], None] | None,
        *,
        rounds: int = 1,
    ) -> None:
        self._progress = progress
        self._voxels = _voxels(info)
        self._rounds = rounds
        self._done = 0
        self._lock = threading.Lock()

    def add(self, voxels: int) -> None:
        """Tell of more voxels of the first round."""
        if self._progress is not None:
            with self._lock:
                self._done = min(self._done + voxels, self._voxels)
                self._progress(self._done, self._rounds * self._voxels)

    def second(self, done: int, total: int) -> None:
        """Tell of the second round, in which so many voxels are done of `total`."""
        if self._progress is not None:
            self._progress(self._voxels + done, self._voxels + total)


def _voxels(info: VolumeInfo) -> int:
    scales: Sequence[int] = [
        math.prod(scale.size) * len(scale.chunk_sizes) for scale in info.scales
    ]
    return sum(scales)
