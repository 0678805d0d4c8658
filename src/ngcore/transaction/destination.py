"""The folder a volume is written to: taken, filled, and finished or cleaned up.

While a conversion runs, the hidden folder ``.ngcore`` in it holds a lock, what is being written
(``plan.json``), a journal and temporary files. It is removed at the very end, after `info` was
written: a folder that has `info` is complete, and one that has only ``.ngcore`` is unfinished.

A volume that is replaced goes bit by bit. So that nothing of it stays behind, whenever that is
interrupted, its `info` is kept in ``plan.json`` from before it is removed until all of it is.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING, Any, Self

from ngcore.errors import DestinationError, FormatError, InputError
from ngcore.precomputed.info import VolumeInfo
from ngcore.storage.local import WORK_FOLDER, LocalStore
from ngcore.storage.sync import sync_folder, sync_path
from ngcore.transaction.complete import check_is_same
from ngcore.transaction.folder_lock import lock_folder, refuse_in_use, unlock_folder
from ngcore.transaction.journal import JOURNAL, MESH_WORK_FOLDER, PLAN, Journal, read_plan
from ngcore.transaction.output_file import refuse_url
from ngcore.transaction.removal import (
    remove_named_folders,
    remove_temporary_files,
    remove_volume_files,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from ngcore.storage.base import StoreLock

_SIDE_FILES = ("transform.json", "provenance")


class Destination:
    """A folder that this process alone writes a volume to; a context manager.

    Left without an error, `finish` must have been called. Left with an error of the input, all
    that was written is removed. Left with any other (a full disk, Ctrl-C), what is there stays,
    without `info` and marked as unfinished.

    Parameters
    ----------
    path : Path
        Absent, or an empty folder; with `overwrite`, a folder with a volume.
    overwrite : bool
        Replace the volume that is there.
    resume : bool
        Go on with an unfinished conversion, if there is one.
    source_path : Path or None
        Where the source lies, which must not be harmed.
    with_folders : bool
        Meshes, skeletons and properties are part of what is written, so they go where chunks do
        when a volume is replaced.

    Raises
    ------
    DestinationError
        If the folder can't be used; the message says why and what to do.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        source_path: Path | None = None,
        with_folders: bool = False,
    ) -> None:
        self.path = path
        self._with_folders = with_folders
        self._overwrite = overwrite
        self._resume = resume
        refuse_url(path)
        try:
            self._existed = path.exists()
        except (OSError, ValueError) as error:  # a name that is too long, or has a NUL in it
            reason = getattr(error, "strerror", None) or error
            raise DestinationError(
                f"{str(path)!r} can't be a folder: {reason}; choose another name"
            ) from error
        self._lock: StoreLock | None = None
        self._info: VolumeInfo | None = None
        self._is_resumed = False
        self._is_finished = False
        if overwrite and source_path is not None:
            refuse_overlap(path, source_path, "--overwrite of")
        self._check_content()

    @property
    def store(self) -> LocalStore:
        """Where the volume's files go."""
        return LocalStore(self.path)

    @property
    def work_folder(self) -> Path:
        """A hidden folder for temporary files, on the same file system as the volume."""
        return self.path / WORK_FOLDER

    def _check_content(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise DestinationError(
                f"{self.path} is a file; choose a folder that is empty or not there yet"
            )
        try:
            names = {entry.name for entry in self.path.iterdir()}
        except OSError as error:
            raise DestinationError(
                f"{self.path} can't be read: {error.strerror}; check its access rights"
            ) from error
        if WORK_FOLDER in names and not (self.path / PLAN).exists():
            names.remove(WORK_FOLDER)  # of a run that ended before it wrote anything
        if not names or ((self._overwrite or self._resume) and names & {"info", WORK_FOLDER}):
            return
        if WORK_FOLDER in names and "info" not in names:
            if self._lock is None:
                refuse_in_use(self.store, WORK_FOLDER)
            raise DestinationError(
                f"{self.path} holds an unfinished conversion; pass --resume to continue it, or "
                "--overwrite to start again"
            )
        if "info" in names:
            raise DestinationError(
                f"{self.path} holds a volume already; pass --overwrite to replace it, "
                "or choose another folder"
            )
        raise DestinationError(f"{self.path} is not empty; choose an empty or a new folder")

    def __enter__(self) -> Self:
        self._lock = lock_folder(self.store, WORK_FOLDER)
        try:
            # Since it was looked at first, another process may have finished a volume here.
            self._check_content()
        except BaseException:
            self._let_go()
            raise
        return self

    def _let_go(self) -> None:
        """Unlock the folder, and remove what marks it as unfinished if it isn't."""
        is_done = self._is_finished or not (self.path / PLAN).exists()
        if self._lock is not None:
            unlock_folder(self.store, WORK_FOLDER, self._lock, remove=is_done)

    def holds(
        self, info: VolumeInfo, side_files: Mapping[str, bytes], *, source_changed: int
    ) -> bool:
        """Whether the folder holds this very volume, complete, and may be left as it is.

        Parameters
        ----------
        info : VolumeInfo
        side_files : mapping of str to bytes
            What would be written beside it.
        source_changed : int, in nanoseconds
            When the source was changed last, as the system counts time; 0 if that is not known.

        Raises
        ------
        DestinationError
            If it holds another one, or one of an earlier state of the source, and was to be
            resumed.
        """
        if not self._resume or not (self.path / "info").is_file():
            return False
        check_is_same(self.path, info, side_files, source_changed)
        if self.work_folder.is_dir():
            with self:  # locked: it may be that of a run that is about to replace the volume
                if not (self.path / "info").is_file():
                    return False  # one that was killed before the lock was taken had begun to
                check_is_same(self.path, info, side_files, source_changed)
                self._is_finished = True
        return True

    def begin(self, info: VolumeInfo, plan: Mapping[str, Any], *, fsync: bool) -> Journal:
        """Clear away what is replaced, and mark the folder as unfinished.

        Parameters
        ----------
        info : VolumeInfo
            What is going to be written.
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
        store = self.store
        journal = Journal(store, fsync=fsync)
        whole_plan = {**plan, "info": json.loads(info.to_json())}
        if self._with_folders:
            whole_plan["with_folders"] = True
        if self._resume and self._goes_on(journal, whole_plan):
            self._is_resumed = True
            remove_temporary_files(self.path, info)
        else:
            self._clear(journal, whole_plan, fsync=fsync)
            journal.begin(whole_plan)
        self._info = info
        return journal

    def _goes_on(self, journal: Journal, plan: Mapping[str, Any]) -> bool:
        """Whether there is an unfinished conversion, the same as this one."""
        if (self.path / "info").exists():
            raise DestinationError(
                f"{self.path} was finished by another ngcore just now; see what it holds"
            )
        return journal.resume(plan)

    def _clear(self, journal: Journal, plan: Mapping[str, Any], *, fsync: bool) -> None:
        """Remove what the replaced volume, and unfinished ones, wrote; `info` goes first."""
        store = self.store
        old = self._old_infos(store)
        if not old:
            return
        meshes = self.path / MESH_WORK_FOLDER
        refuse_in_use(store, MESH_WORK_FOLDER)
        with_folders = self._with_folders or (read_plan(store) or {}).get("with_folders", False)
        if with_folders:
            plan = {**plan, "with_folders": True}  # if this run is killed, the next one must know
        journal.begin({**plan, "replaces": [json.loads(info.to_json()) for info in old]})
        store.delete("info")
        if fsync:
            # A loss of power must not bring it back while the chunks are going.
            sync_path(self.path)
        for info in old:
            remove_volume_files(self.path, info)
            remove_temporary_files(self.path, info)
            if with_folders:
                remove_named_folders(self.path, info)
        for name in (*_SIDE_FILES, JOURNAL):
            store.delete(name)
        shutil.rmtree(meshes, ignore_errors=True)  # unfinished ones, of what is gone
        if fsync:
            sync_folder(self.path)  # before the plan forgets what had to go

    def _old_infos(self, store: LocalStore) -> list[VolumeInfo]:
        """Return the infos of all that is replaced: a volume, and those left unfinished."""
        texts = [("info", store.get("info"))]
        unfinished = read_plan(store)
        if unfinished is not None:
            documents = [unfinished["info"], *unfinished.get("replaces", [])]
            texts += [(PLAN, json.dumps(document).encode()) for document in documents]
        old = []
        for name, text in texts:
            if text is None:
                continue
            try:
                info = VolumeInfo.from_json(text)
            except FormatError as error:
                raise DestinationError(
                    f"{self.path / name} is damaged, so --overwrite can't tell what to remove "
                    f"({error}); remove the folder by hand"
                ) from error
            if info not in old:
                old.append(info)
        return old

    def remove_temporary_files(self) -> None:
        """Remove what processes that are gone left half-written; nobody writes any more."""
        assert self._info is not None
        remove_temporary_files(self.path, self._info)

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
        """
        assert self._info is not None
        store = self.store
        for name, content in side_files.items():
            store.put(name, content)
        text = document or self._info.to_json().encode()
        if fsync:
            sync_folder(self.path)
            store.put_durably("info", text)
        else:
            store.put("info", text)
        self._is_finished = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What an earlier run did is kept where only this run's arguments may be at fault.
        is_hopeless = isinstance(error, FormatError) or (
            isinstance(error, InputError) and not self._is_resumed
        )
        try:
            if is_hopeless and self._info is not None:
                remove_volume_files(self.path, self._info)
                if self._with_folders:
                    remove_named_folders(self.path, self._info)
                for name in (*_SIDE_FILES, PLAN):
                    self.store.delete(name)
        finally:
            self._let_go()
        if not self._existed and (is_hopeless or self._info is None):
            with contextlib.suppress(OSError):
                self.path.rmdir()


def refuse_overlap(dest: Path, source: Path, what: str) -> None:
    """Refuse a destination that is the source, lies in it or holds it.

    Raises
    ------
    DestinationError
        It does; `what` starts the message.
    """
    dest, source = dest.resolve(), source.resolve()
    if dest == source or source in dest.parents or dest in source.parents:
        raise DestinationError(
            f"{what} {dest} would touch the source {source}; choose another folder"
        )
