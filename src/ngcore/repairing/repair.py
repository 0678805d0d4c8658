"""Rewrites a volume that the current Neuroglancer can't load.

Each kind of fault that has one right repair is a module of `ngcore.repairing`. What is
valid is copied byte by byte; voxels never change. What is written is validated, so that the report
says whether anything is left.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ngcore._verbs import told
from ngcore.codecs import gzip
from ngcore.errors import DestinationError, FormatError, InputError, InputNotFoundError
from ngcore.precomputed.names import TRANSFORM_NAME
from ngcore.repairing.changes import KINDS, NEXT, Changes
from ngcore.repairing.chunk_files import FileOptions, mend_chunk_files
from ngcore.repairing.coarse_scales import remake_coarse_scales
from ngcore.repairing.files import copy_file, listed
from ngcore.repairing.info import mend_info
from ngcore.repairing.meshes import mend_mesh_info
from ngcore.repairing.pieces import Pieces, state_of
from ngcore.repairing.properties import mend_properties
from ngcore.repairing.shards import mend_shards
from ngcore.storage import LocalStore, Store, open_store, writable_store
from ngcore.storage.completeness import refuse_unfinished
from ngcore.storage.listing import walk_files
from ngcore.storage.local import WORK_FOLDER
from ngcore.transaction.changes import Transaction
from ngcore.transaction.destination import Destination
from ngcore.transaction.journal import PLAN, read_plan, resumable
from ngcore.transaction.places import refuse_overlap
from ngcore.transaction.removal import remove_named_folders
from ngcore.transaction.work_folder import refuse_in_use
from ngcore.validating.files import SIDE_FILES, read_limited
from ngcore.validating.findings import Findings
from ngcore.validating.scale import Context
from ngcore.validating.validate import Meter, inspect, validate
from ngcore.validating.work import Work
from ngcore.volume.seal import file_digest
from ngcore.work.threads import ThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.repairing.files import Listed
    from ngcore.validating.findings import Finding, Report

_MAX_INFO = 4 << 20
_MAX_PROPERTIES = 16 << 20
_MAX_GZIPPED = 64 << 20
_FOLDERS = ("mesh", "skeletons", "segment_properties")
_FOLDER_DEPTH = 2


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What `repair` did.

    Attributes
    ----------
    source, dest : str
    changes : dict of str to int
        How often each kind of change was made; the kinds are those of `KINDS`.
    left_out : int
        Files that belong to nothing that `info` names.
    failures : tuple of Finding
        What could not be repaired, the first ones; `failure_count` says how many there are.
    failure_count : int
    validation : Report
        Of the volume that was written.
    """

    source: str
    dest: str
    changes: dict[str, int]
    left_out: int
    failures: tuple[Finding, ...]
    failure_count: int
    validation: Report

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What to do about what is left."""
        kinds = {finding.kind for finding in self.validation.findings if _is_error(finding)}
        kinds |= {finding.kind for finding in self.failures}
        return tuple(dict.fromkeys(NEXT[kind] for kind in NEXT if kind in kinds))

    @property
    def is_sound(self) -> bool:
        """Whether the volume that was written has no fault that is known."""
        return self.failure_count == 0 and self.validation.is_sound

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "source": self.source,
            "dest": self.dest,
            "valid": self.is_sound,
            "changes": [
                {"kind": kind, "what": KINDS[kind], "count": count}
                for kind, count in self.changes.items()
            ],
            "left_out": self.left_out,
            "not_fixed": [
                {"where": finding.where, "message": finding.message} for finding in self.failures
            ],
            "not_fixed_count": self.failure_count,
            "next": list(self.next_steps),
            "validation": self.validation.to_json(),
        }


def _is_error(finding: Finding) -> bool:
    return finding.severity == "error"


def repair(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    flat: bool = False,
    gzip: bool = True,
    accept_changes: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    fsync: bool = True,
    workers: int | None = None,
    progress: bool | Callable[[int, int], None] | None = None,
) -> RepairReport:
    """Write a volume again, with all repaired that has one right repair.

    Parameters
    ----------
    source : path or URL
        The folder of a volume, here or in a bucket, or the zip file that `pack` wrote. It is only
        read.
    dest : path or URL
        A folder that is empty or not there yet.
    flat : bool
        Lay chunk files flat, for hosts that can't rewrite URLs.
    gzip : bool
        False: decompress chunk and mesh files, for hosts that can't send Content-Encoding.
    accept_changes : bool
        Seal what was written as it is: what others changed in the volume was intended. Without,
        `provenance` is copied, and `validate` goes on telling what has changed.
    overwrite : bool
        Replace the volume in `dest`.
    resume : bool
        Go on with a repair that was interrupted; start one where there is none.
    fsync : bool
        Survive losses of power.
    workers : int, optional
        Threads; default all cores.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in all); each is looked at twice.

    Returns
    -------
    RepairReport

    Raises
    ------
    InputNotFoundError
        There is no volume.
    FormatError, InputError
        Its `info` is beyond repair, or it can't be copied to one folder.
    DestinationError
        `dest` holds something already, can't be written, is in use, or touches `source`.
    StorageError
        If reading or writing fails midway. `dest` then has no `info`.

    Examples
    --------
    >>> from ngcore.repairing.repair import repair
    >>> repair("brain", "repaired").changes  # doctest: +SKIP
    {'zlib': 320, 'phantom': 12}
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers must be 1 or more, got {workers}")
    tell = told(progress)
    changes = Changes()
    store = listed(open_store(source))
    document = _read_info(store)
    info, content = mend_info(document, f"{store.location}/info", changes)
    _check_places(info)
    target = writable_store(dest)
    destination = _destination(target, source, overwrite=overwrite, resume=resume)
    gzip = gzip and not target.keeps_names  # a bucket gives files out as they lie
    options = FileOptions(flat=flat, plain=not gzip)
    plan = {
        "source": state_of(store, info, document),
        "options": {"task": "repair", "flat": flat, "gzip": gzip},
    }
    meter = Meter(info, tell, rounds=2)
    with destination:
        if resume:
            _take_up(destination, plan)
        journal = destination.begin(info, plan, fsync=fsync)
        with resumable(), destination.temporaries(None) as tmp:
            # Written anew: nobody noted what is whole.
            remove_named_folders(target, json.loads(info.to_json()))
            pieces = Pieces(journal, meter.add)
            _copy(store, info, target, tmp, options, changes, workers, meter, pieces)
            destination.finish({}, fsync=fsync, document=content)
    report = validate(dest, workers=workers, progress=meter.second)
    if remake_coarse_scales(target, info, report, changes, workers):
        report = validate(dest, workers=workers)
    if accept_changes:
        _seal(dest, workers)
        report = validate(dest, workers=workers)
    failures, count = changes.failures
    return RepairReport(
        store.location, os.fspath(dest), changes.counts, changes.left_out, failures, count, report
    )


def _seal(dest: str | os.PathLike[str], workers: int | None) -> None:
    """Seal a volume as it is, in the place of what was sealed before."""
    _, found = inspect(dest, workers=workers)
    with Transaction(dest) as change:
        known = change.sealing.seal
        names = {*known.files, TRANSFORM_NAME}
        contents = {name: read_limited(change.store, name, _MAX_GZIPPED) for name in names}
        files = {
            name: file_digest(content, name)
            for name, content in contents.items()
            if content is not None
        }
        change.record("repair", {"accept_changes": True})
        change.sealing.replace(found._replace(files=files))


def _destination(
    dest: Store, source: str | os.PathLike[str], *, overwrite: bool, resume: bool
) -> Destination:
    refuse_overlap(dest, [source], "repair to")
    is_unfinished = dest.size(PLAN) is not None and dest.size("info") is None
    if is_unfinished and not (overwrite or resume):
        refuse_in_use(dest, WORK_FOLDER)
        raise DestinationError(
            f"{dest.location} holds something unfinished; pass --resume to continue a repair, "
            "--overwrite to start again, or choose another folder"
        )
    if resume and overwrite:
        raise InputError("--resume and --overwrite contradict each other; pass one of them")
    return Destination(dest, overwrite=overwrite, resume=resume, sources=[source])


def _take_up(destination: Destination, plan: Mapping[str, Any]) -> None:
    """Remove the `info` of a volume that this very repair was to replace, or could not leave.

    Raises
    ------
    DestinationError
        There is another volume.
    """
    if destination.store.size("info") is None:
        return
    recorded = read_plan(destination.store)
    if recorded is None or any(recorded[part] != plan[part] for part in plan):
        raise DestinationError(
            f"{destination.store.location} already holds a volume, so there is nothing to resume; "
            "run `ngcore validate` on it, or pass --overwrite to replace it"
        )
    destination.store.delete("info")


def _read_info(store: Listed) -> bytes:
    try:
        document = read_limited(store, "info", _MAX_INFO)
    except FormatError as error:
        raise FormatError(f"{store.location}/info: {error}; fix that by hand first") from error
    if document is None:
        refuse_unfinished(store)
        is_folder = not isinstance(store, LocalStore) or store.path.is_dir()
        what = "has no info file" if is_folder else "is not a folder"
        raise InputNotFoundError(
            f"not a precomputed volume: {store.location} {what}; pass the folder of a volume"
        )
    return document


def _check_places(info: VolumeInfo) -> None:
    """Refuse volumes that are spread over other folders, or share one."""
    seen: dict[str, str] = {}
    places = {f"scales[{index}].key": scale.key for index, scale in enumerate(info.scales)}
    places |= {name: getattr(info, name) for name in _FOLDERS if getattr(info, name) is not None}
    for path, place in places.items():
        parts = PurePosixPath(place).parts
        if ".." in parts or place in (".", "") or "\\" in place:
            raise InputError(
                f"info: {path}: {place!r} lies outside of the volume's folder; move it into "
                "that folder, and change info to match"
            )
        first = seen.setdefault("/".join(parts), path)
        if first != path:
            raise InputError(f"info: {path}: {place!r} is {first} too; give each its own folder")


def _copy(
    store: Listed,
    info: VolumeInfo,
    dest: Store,
    tmp: Path,
    options: FileOptions,
    changes: Changes,
    workers: int | None,
    meter: Meter,
    pieces: Pieces,
) -> None:
    with ThreadPool(workers or os.cpu_count() or 1) as pool:
        context = Context(
            store=store, info=info, findings=Findings(), work=Work(pool), done=meter.add
        )
        for index, scale in enumerate(info.scales):
            if scale.sharding is None:
                mend_chunk_files(context, index, dest, options, changes, pieces)
            else:
                mend_shards(context, index, dest, tmp, changes, pieces)
    _copy_folders(store, info, dest, options, changes)
    _copy_side_files(store, info, dest, changes)


def _copy_folders(
    store: Listed, info: VolumeInfo, dest: Store, options: FileOptions, changes: Changes
) -> None:
    for kind in _FOLDERS:
        folder = getattr(info, kind)
        if folder is None:
            continue
        names = set(walk_files(store, folder, depth=_FOLDER_DEPTH))
        for name in sorted(names):
            if PurePosixPath(name).name.startswith("."):
                changes.leave_out()
            elif kind != "segment_properties" or name.removesuffix(".gz") != "info":
                _copy_small_file(store, dest, f"{folder}/{name}", options, changes)
        if kind == "mesh":
            mend_mesh_info(dest, folder, names, changes)
        if kind == "segment_properties":
            _copy_properties(store, dest, folder, changes)


def _copy_small_file(
    store: Listed, dest: Store, name: str, options: FileOptions, changes: Changes
) -> None:
    try:
        if not (options.plain and name.endswith(".gz")):
            copy_file(store, dest, name)
            return
        data = store.get(name, 0, _MAX_GZIPPED) or b""
        dest.put(name.removesuffix(".gz"), gzip.decompress(data, max_size=_MAX_GZIPPED))
        changes.add("plain")
    except FormatError as error:
        changes.fail(name, f"{error}; left out")


def _copy_properties(store: Listed, dest: Store, folder: str, changes: Changes) -> None:
    name = f"{folder}/info"
    try:
        document = read_limited(store, name, _MAX_PROPERTIES)
        if document is None:
            return  # validate says so
        try:
            document = mend_properties(document, changes)
        except FormatError as error:
            changes.fail(name, error)
        dest.put(name, document)
    except FormatError as error:
        changes.fail(name, f"{error}; left out")


def _copy_side_files(store: Listed, info: VolumeInfo, dest: Store, changes: Changes) -> None:
    folders = [scale.key for scale in info.scales]
    folders += [getattr(info, name) for name in _FOLDERS if getattr(info, name) is not None]
    known = {PurePosixPath(folder).parts[0] for folder in folders}
    for name in sorted(_entries(store)):
        if name.removesuffix(".gz") in SIDE_FILES:
            if name.removesuffix(".gz") != "info":
                try:
                    copy_file(store, dest, name)
                except FormatError as error:
                    changes.fail(name, f"{error}; left out")
        elif name not in known:
            changes.leave_out()


def _entries(store: Listed) -> set[str]:
    """Return what lies beside `info`."""
    if isinstance(store, Store):
        return store.entries()
    return {name.split("/", 1)[0] for name in store.list()}
