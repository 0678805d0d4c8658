"""The place a volume is written to: taken, filled, and finished or cleaned up.

While a conversion runs, the hidden folder ``.ngcore`` in it holds a lock, what is being written
(``plan.json``), a journal and temporary files. It is removed at the very end, after `info` was
written: a place that has `info` is complete, and one that has only ``.ngcore`` is unfinished.

A volume that is replaced goes bit by bit. So that nothing of it stays behind, whenever that is
interrupted, its `info` is kept in ``plan.json`` from before it is removed until all of it is.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Self

from ngcore.errors import DestinationError, FormatError, InputError, StorageError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.names import VOLUME_TYPE
from ngcore.storage.base import Store
from ngcore.storage.local import WORK_FOLDER, LocalStore
from ngcore.storage.opening import writable_store
from ngcore.storage.sync import SyncError
from ngcore.transaction.journal import (
    JOURNAL,
    MESH_WORK_FOLDER,
    NOTES,
    PLAN,
    Journal,
    note_resumable,
    read_plan,
    resumable,
)
from ngcore.transaction.presence import is_there, lacking
from ngcore.transaction.work_folder import (
    lock_folder,
    refuse_in_use,
    temporary_folder,
    unlock_folder,
    working_folder,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from ngcore.storage.base import StoreLock
    from ngcore.volume.provenance import Provenance

_SIDE_FILES = ("transform.json", "provenance")
_UNFINISHED = {"volume": "conversion", "layer": "layer"}
_PATIENCE = 1.0
"""Seconds for which a change of names or meshes is waited for, which ends in a moment."""


class Destination:
    """A place that this process alone writes a volume to; a context manager.

    Left without an error, `finish` must have been called. Left with an error of the input, all
    that was written is removed. Left with any other (a full disk, Ctrl-C), what is there stays,
    without `info` and marked as unfinished.

    Parameters
    ----------
    dest : Store, path or URL
        Absent, or an empty folder; with `overwrite`, a folder with a volume.
    overwrite : bool
        Replace the volume that is there.
    resume : bool
        Go on with an unfinished conversion, if there is one.
    sources : sequence of path
        Where the source lies, which must not be harmed.
    layer_type : str
        The ``@type`` of the `info` that is written; another kind of layer is not replaced.

    Attributes
    ----------
    store : Store
        Where the volume's files go.

    Raises
    ------
    DestinationError
        If the place can't be used; the message says why and what to do.
    """

    def __init__(
        self,
        dest: Store | str | os.PathLike[str],
        *,
        overwrite: bool = False,
        resume: bool = False,
        sources: Sequence[str | os.PathLike[str]] = (),
        layer_type: str = VOLUME_TYPE,
    ) -> None:
        self.store: Store = dest if isinstance(dest, Store) else writable_store(dest)
        self._where = self.store.location
        self._overwrite = overwrite
        self._resume = resume
        self._type = layer_type
        self._what = "volume" if layer_type == VOLUME_TYPE else "layer"
        self._sources: tuple[str | os.PathLike[str], ...] = ()
        self._existed = is_there(self.store)
        self._lock: StoreLock | None = None
        self._members: dict[str, Any] | None = None
        self._info: VolumeInfo | None = None
        self._kept: bytes | None = None
        self._journal: Journal | None = None
        self._is_resumed = False
        self._is_finished = False
        self.guard(sources)
        self._check_content()

    def temporaries(
        self, tmp: str | os.PathLike[str] | None
    ) -> contextlib.AbstractContextManager[Path]:
        """Make a folder here for the run's temporary files, for the time of a `with` block.

        Hidden in the place that is written, or in `tmp`; for a bucket in `tmp`, or in the system's
        folder for such. `begin` removes those of earlier runs, so call it after that.
        """
        if isinstance(self.store, LocalStore):
            return temporary_folder(self.store.path / WORK_FOLDER, tmp)
        return working_folder(self.store, tmp)

    def guard(self, sources: Sequence[str | os.PathLike[str]]) -> None:
        """Refuse to replace what one of the sources is, lies in or holds.

        Raises
        ------
        DestinationError
            This would.
        """
        self._sources = tuple(dict.fromkeys((*self._sources, *sources)))
        if self._overwrite:
            from ngcore.transaction.places import refuse_overlap  # seldom

            refuse_overlap(self.store, sources, "--overwrite of")

    def _check_content(self) -> None:
        names = self.store.entries()
        if WORK_FOLDER in names and self.store.size(PLAN) is None:
            names.remove(WORK_FOLDER)  # of a run that ended before it wrote anything
        if self._overwrite and "info" in names and not self.is_of_its_type():
            raise DestinationError(
                f"{self._where} holds something other than {self._type}; choose another folder"
            )
        if not names or ((self._overwrite or self._resume) and names & {"info", WORK_FOLDER}):
            return
        if WORK_FOLDER in names and "info" not in names:
            if self._lock is None:
                refuse_in_use(self.store, WORK_FOLDER)
            raise DestinationError(
                f"{self._where} holds an unfinished {_UNFINISHED[self._what]}; pass --resume to "
                "continue it, or --overwrite to start again"
            )
        if "info" in names:
            raise DestinationError(
                f"{self._where} already holds a {self._what}; pass --overwrite to replace it, "
                "or choose another folder"
            )
        raise DestinationError(f"{self._where} is not empty; choose an empty or a new folder")

    def is_of_its_type(self) -> bool:
        """Whether the `info` that is there is of the kind that is written, as far as it tells."""
        try:
            kind = parse_object(self.store.get("info") or b"").get("@type", VOLUME_TYPE)
        except FormatError:
            return True  # a damaged one is reported where it is to be understood
        return str(kind).lower() == self._type

    def settle(self) -> None:
        """Remove what a run left that was killed after it had written `info`, and all before."""
        if WORK_FOLDER in self.store.entries():
            with self:
                self._is_finished = True

    def __enter__(self) -> Self:
        self._lock = lock_folder(self.store, WORK_FOLDER, patience=_PATIENCE)
        try:
            # Since it was looked at first, another process may have finished a volume here.
            self._check_content()
        except BaseException:
            self._let_go()
            raise
        return self

    def _let_go(self) -> None:
        """Unlock the folder, and remove what marks it as unfinished if it isn't."""
        is_done = self._is_finished or self.store.size(PLAN) is None
        if self._lock is not None:
            unlock_folder(self.store, WORK_FOLDER, self._lock, remove=is_done)

    def holds(
        self,
        info: VolumeInfo,
        side_files: Mapping[str, bytes],
        provenance: Provenance,
        *,
        has_changed: Callable[[int], bool],
    ) -> bool:
        """Whether the folder holds this very volume, complete, and may be left as it is.

        One of which files are gone is not complete: it is written again, and what other commands
        have added to it stays.

        Parameters
        ----------
        info : VolumeInfo
        side_files : mapping of str to bytes
            What would be written beside it.
        provenance : Provenance
            Likewise.
        has_changed : callable
            Tells whether the source was changed after a moment, in nanoseconds of the system's
            time.

        Raises
        ------
        DestinationError
            If it holds another one, or one of an earlier state of the source, and was to be
            resumed.
        """
        store = self.store
        if not self._resume or store.size("info") is None:
            return False
        from ngcore.transaction.complete import check_is_same  # seldom

        check_is_same(store, info, side_files, provenance, has_changed)
        if WORK_FOLDER not in store.entries():
            return lacking(store, info) is None
        with self:  # locked: it may be that of a run that is about to replace the volume
            if store.size("info") is None:
                return False  # one that was killed before the lock was taken had begun to
            check_is_same(store, info, side_files, provenance, has_changed)
            self._is_finished = lacking(store, info) is None
        return self._is_finished

    def begin(
        self, info: VolumeInfo | Mapping[str, Any], plan: Mapping[str, Any], *, fsync: bool
    ) -> Journal:
        """Clear away what is replaced, and mark the folder as unfinished.

        Parameters
        ----------
        info : VolumeInfo or mapping
            What is going to be written, or the members of the `info` of another kind of layer.
        plan : mapping
            Source and options, by which a resumed run knows that it is the same.
        fsync : bool
            Survive losses of power.

        Returns
        -------
        Journal
            Of the files that are complete, those of an earlier run if that is resumed.

        Raises
        ------
        DestinationError
            If an unfinished conversion there is of another source or has other options.
        """
        members = json.loads(info.to_json()) if isinstance(info, VolumeInfo) else dict(info)
        journal = self._journal = Journal(self.store, fsync=fsync)
        whole_plan = {**plan, "info": members}
        if self._resume and self.store.size("info") is not None:
            self._keep(journal, whole_plan)
        elif self._resume and journal.resume(whole_plan):
            self._is_resumed = True
            kept = (read_plan(self.store) or {}).get("keeps")
            self._kept = kept.encode() if isinstance(kept, str) else None
            self._remove_temporary_files(members)
        else:
            self._clear(journal, whole_plan, fsync=fsync)
            journal.begin(whole_plan)
        self._members = members
        self._info = info if isinstance(info, VolumeInfo) else None
        return journal

    def _keep(self, journal: Journal, plan: dict[str, Any]) -> None:
        """Begin to write this very volume again, of which files are gone; see `holds`."""
        is_volume = "scales" in plan["info"]
        info = VolumeInfo.from_json(json.dumps(plan["info"])) if is_volume else None
        kept = self.store.get("info") or b""
        found = parse_object(kept)
        is_other = any(found.get(name) != value for name, value in plan["info"].items())
        if is_other or info is None or lacking(self.store, info) is None:
            raise DestinationError(
                f"{self._where} was finished by another ngcore just now; see what it holds"
            )
        self._kept = kept
        journal.begin({**plan, "keeps": kept.decode()})
        self._is_resumed = True
        self.store.delete("info")
        journal.sync(["./"])
        self._remove_temporary_files(plan["info"])

    def _clear(self, journal: Journal, plan: Mapping[str, Any], *, fsync: bool) -> None:
        """Remove what the replaced volume, and unfinished ones, wrote; `info` goes first."""
        store = self.store
        if "info" not in store.entries() and store.size(PLAN) is None:
            return
        from ngcore.transaction.places import refuse_marked_source, refuse_overlap  # seldom
        from ngcore.transaction.removal import remove_layer, replaced_infos

        old = replaced_infos(store)
        if not old:
            return
        refuse_in_use(store, MESH_WORK_FOLDER)
        refuse_overlap(store, self._sources, "--overwrite of")
        refuse_marked_source(store, self._sources, "--overwrite of")
        journal.begin({**plan, "replaces": old})
        store.delete("info")
        if fsync:
            # A loss of power must not bring it back while the chunks are going.
            journal.sync(["./"])
        for members in old:
            remove_layer(store, members)
            self._remove_temporary_files(members)
        for name in (*_SIDE_FILES, JOURNAL, NOTES):
            store.delete(name)
        if MESH_WORK_FOLDER in store.entries():
            from ngcore.transaction.mesh_folder import remove_unfinished_meshes  # seldom

            remove_unfinished_meshes(store)
        if fsync:
            journal.sync()  # before the plan forgets what had to go

    def remove_temporary_files(self) -> None:
        """Remove what processes that are gone left half-written; nobody writes any more."""
        assert self._members is not None
        self._remove_temporary_files(self._members)

    def _remove_temporary_files(self, members: Mapping[str, Any]) -> None:
        from ngcore.transaction.removal import remove_temporary_files  # seldom

        remove_temporary_files(self.store, members)

    @resumable()
    def finish(
        self, side_files: dict[str, bytes], *, fsync: bool, document: bytes | None = None
    ) -> None:
        """Write the files beside `info`, then `info`: from here on the volume is there.

        Parameters
        ----------
        side_files : dict of str to bytes
            Names and contents.
        fsync : bool
            Make the data durable before `info`, and `info` before returning.
        document : bytes, optional
            The very content of `info`, where it is not to be composed anew.

        Raises
        ------
        StorageError
            The disk is full, or failed; or the folder, or files in it, went meanwhile.
        """
        assert self._members is not None
        assert self._journal is not None
        store = self.store
        self._check_held()
        store.delete_unfinished()  # begun by requests whose answers were lost
        if self._kept is None:
            for name, content in side_files.items():
                store.put(name, content)
        text = self._kept or document or json.dumps(self._members, indent=2).encode()
        if self._info is not None and document is None:
            if self._kept is None:
                text = self._info.to_json().encode()
            missing = lacking(store, self._info)
            if missing is not None:
                raise StorageError(
                    f"{self._where}: {missing} have disappeared since they were written; see "
                    "who moved or removed them, and continue with --resume"
                )
        if fsync:
            self._journal.sync()
            self._check_held()
            try:
                store.put_durably("info", text)
            except SyncError:
                with contextlib.suppress(StorageError):
                    store.delete("info")  # of which nobody knows whether it is on the disk
                raise
        else:
            store.put("info", text)
        self._is_finished = True

    def written(self) -> VolumeInfo:
        """Return what `info` says, when it is written."""
        assert self._info is not None
        return self._info if self._kept is None else VolumeInfo.from_json(self._kept)

    def _check_held(self) -> None:
        """Check that the folder is still the one that was locked.

        Raises
        ------
        StorageError
            It was moved or removed.
        """
        if self._lock is not None and not self._lock.is_held():
            raise StorageError(
                f"{self._where} was moved or removed while it was written; continue with --resume "
                "where it is now, or convert again"
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_ours = self._lock is None or self._lock.is_held()
        # What an earlier run did is kept where only this run's arguments may be at fault.
        is_hopeless = isinstance(error, FormatError) or (
            isinstance(error, InputError) and not self._is_resumed
        )
        if error is not None:
            note_resumable(error, self.store)
        try:
            if isinstance(error, SyncError) and self._journal is not None:
                self._journal.distrust()
            if is_hopeless and is_ours and self._members is not None:
                from ngcore.transaction.removal import remove_layer  # seldom

                remove_layer(self.store, self._members)
                for name in (*_SIDE_FILES, PLAN):
                    self.store.delete(name)
        finally:
            self._let_go()
        is_unused = is_hopeless or self._members is None
        if is_unused and not self._existed and is_ours and isinstance(self.store, LocalStore):
            with contextlib.suppress(OSError):
                self.store.path.rmdir()
