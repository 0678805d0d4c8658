"""The hidden folder in which the meshes of a volume are made, and what an interrupted run left.

It holds a lock, what is being made and the journal of what is whole
(`ngcore.transaction.journal`), blocks and labels that are done, and the folder of meshes itself.
When that is complete, a note says which name it is about to get and which meshes it replaces. Then
it gets the name, `info` says it, the old meshes go, and the hidden folder goes last. Whatever
interrupts that, the next run knows from the note whether a folder that `info` does not name is
ours.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ngcore.errors import DestinationError, FormatError, InputError, StorageError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.storage import LocalStore
from ngcore.storage.sync import SyncError, sync_path
from ngcore.transaction.changes import Transaction
from ngcore.transaction.folder_lock import empty_folder, lock_folder, unlock_folder
from ngcore.transaction.journal import (
    MESH_WORK_FOLDER,
    PLAN,
    Journal,
    note_resumable,
    read_plan,
)
from ngcore.transaction.places import check_own_folder
from ngcore.transaction.removal import remove_kind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from ngcore.storage.base import StoreLock

MESHES = "mesh"
_NOTE = "note.json"


def work_store(volume: LocalStore) -> LocalStore:
    """Return the hidden folder of a volume, which need not be there."""
    return LocalStore(volume.path / MESH_WORK_FOLDER)


def remove_leftovers(volume: LocalStore) -> None:
    """Remove what a run left that was killed while it removed its hidden folder."""
    store = work_store(volume)
    if not store.path.is_dir() or read_plan(store) is not None:
        return
    try:
        lock = lock_folder(volume, MESH_WORK_FOLDER)
    except (DestinationError, StorageError):
        return  # another run has it, or nothing can be removed there
    unlock_folder(volume, MESH_WORK_FOLDER, lock, remove=read_plan(store) is None)


class _Note(NamedTuple):
    """The name that the folder of meshes gets, and that of the meshes it replaces."""

    name: str
    old: str | None


class Workplace:
    """A context manager: the folder is locked in it.

    Left without an error, it is gone, and so it is where input is at fault. Left with any other
    error (a full disk, Ctrl-C), it stays for a run that goes on.

    Parameters
    ----------
    volume : LocalStore
        The folder of the volume.
    plan : mapping
        Source, options and info, by which a run that goes on knows that it is the same.
    overwrite : bool
        Replace meshes, also unfinished ones.
    resume : bool
        Go on with unfinished ones, if there are any.

    Raises
    ------
    DestinationError
        There are meshes, or unfinished ones, that this run may not touch.
    """

    def __init__(
        self, volume: LocalStore, plan: Mapping[str, Any], *, overwrite: bool, resume: bool
    ) -> None:
        self._volume = volume
        self._plan = plan
        self._overwrite = overwrite
        self._resume = resume
        self._is_finished = False
        self._lock: StoreLock | None = None
        self.store = work_store(volume)
        self.journal = Journal(self.store, fsync=True)
        self.check()

    @property
    def is_announced(self) -> bool:
        """Whether `info` names the meshes already: only `finish` is left to be done."""
        note = self._note()
        return (
            note is not None
            and not (self.store.path / MESHES).exists()
            and self._named() == note.name
        )

    @property
    def meshes(self) -> LocalStore:
        """The folder of meshes that `info` names."""
        return LocalStore(self._volume.path / str(self._named()))

    def check(self) -> None:
        """Refuse meshes, and unfinished ones, that this run may not touch."""
        if self._overwrite:
            self._check_own(self._named())
            return
        where = self._volume.location
        if read_plan(self.store) is not None:
            if not self._resume:
                raise DestinationError(
                    f"{where} holds unfinished meshes; pass --resume to continue them, or "
                    "--overwrite to start again"
                )
        elif not self._resume:
            self._check_free(self._named())

    def __enter__(self) -> Self:
        self._lock = lock_folder(self._volume, MESH_WORK_FOLDER)
        try:
            self.check()  # since it was looked at first, another process may have ended
            self._begin()
        except BaseException:
            self._let_go(remove=read_plan(self.store) is None)
            raise
        return self

    def _begin(self) -> None:
        """Go on with what is there, or clear it away and begin."""
        begun = read_plan(self.store)
        if self._resume and begun is not None:
            self.journal.resume(self._plan)
            self._overwrite = begun.get("overwrite") is True
            if not self.is_announced:
                self._take_back()
                self._check_free(self._named())
            return
        self._clear()
        self._check_free(self._named())
        self.journal.begin({**self._plan, "overwrite": self._overwrite})
        sync_path(self._volume.path)

    def _clear(self) -> None:
        """Remove what an unfinished run left."""
        if self.is_announced:
            self._remove_old()
        else:
            self._take_back()
        self.store.delete(PLAN)  # from here on there is nothing to go on with
        empty_folder(self._volume, MESH_WORK_FOLDER)

    def _take_back(self) -> None:
        """Take a folder of meshes back that got its name, but was not named in `info`."""
        note, meshes = self._note(), self.store.path / MESHES
        if note is None:
            return
        place = self._volume.path / note.name
        if not meshes.exists() and place.is_dir() and self._named() != note.name:
            _rename(place, meshes)
        self.store.delete(_NOTE)

    def announce(self) -> None:
        """Give the folder of meshes its name, and say it in `info`.

        Raises
        ------
        DestinationError
            The volume has got other meshes meanwhile.
        StorageError
            The disk is full, or failed.
        """
        self.journal.sync()
        old = self._named()
        self._check_free(old)
        name = self._name_folder(old)
        sync_path(self._volume.path)
        with Transaction(self._volume) as change:
            change.change_info(lambda members: {**members, "mesh": name})

    def finish(self) -> None:
        """Remove the meshes that were replaced; nothing is left to be done."""
        self._remove_old()
        self._is_finished = True

    def _name_folder(self, old: str | None) -> str:
        """Move the folder of meshes to the first name that is free."""
        for number in itertools.count(1):
            name = MESHES if number == 1 else f"{MESHES}-{number}"
            place = self._volume.path / name
            if not place.exists():
                note = json.dumps({"name": name, "old": old})
                self.store.put_durably(_NOTE, note.encode())
                try:
                    _rename(self.store.path / MESHES, place)
                except StorageError:
                    if place.exists():
                        continue  # somebody took it just now
                    raise
                return name
        raise AssertionError

    def _remove_old(self) -> None:
        note = self._note()
        if note is not None and note.old is not None:
            remove_kind(self._volume, note.old, "mesh")
            sync_path(self._volume.path)

    def _note(self) -> _Note | None:
        try:
            members = parse_object(self.store.get(_NOTE) or b"{}")
        except FormatError:
            return None
        name, old = members.get("name"), members.get("old")
        if not isinstance(name, str) or not isinstance(old, str | None):
            return None
        return _Note(name, old)

    def _named(self) -> str | None:
        document = self._volume.get("info")
        if document is None:
            raise DestinationError(
                f"{self._volume.location} has lost its info; it may be being replaced"
            )
        return VolumeInfo.from_json(document).mesh

    def _check_own(self, mesh: str | None) -> None:
        """Refuse to replace meshes in a folder where a scale lies, or names."""
        document = self._volume.get("info")
        if mesh is not None and document is not None:
            check_own_folder(parse_object(document), "mesh", mesh, self._volume)

    def _check_free(self, mesh: str | None) -> None:
        if mesh is not None and not self._overwrite:
            raise DestinationError(
                f"{self._volume.location} has meshes already, in {mesh!r}; pass --overwrite to "
                "replace them"
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_hopeless = isinstance(error, FormatError | InputError | DestinationError)
        if isinstance(error, SyncError):
            self.journal.distrust()
        note_resumable(error, self.store)
        self._let_go(remove=self._is_finished or is_hopeless)

    def _let_go(self, *, remove: bool) -> None:
        assert self._lock is not None
        try:
            if remove:
                self.store.delete(PLAN)
        finally:
            unlock_folder(self._volume, MESH_WORK_FOLDER, self._lock, remove=remove)


def _rename(folder: Path, to: Path) -> None:
    try:
        folder.rename(to)
    except OSError as error:
        raise StorageError(f"{to} can't be written: {error.strerror}") from error
