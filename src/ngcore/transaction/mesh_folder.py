"""The folder of meshes that one run adds to a volume, and what an interrupted run left.

A hidden folder holds a lock, what is being made, the journal of what is whole
(`ngcore.transaction.journal`), and blocks and labels that are done. The meshes themselves go
straight into the folder that `info` will name; before the first of them is written, the plan says
which one that is. When all is made, `info` names it, those that it replaces go, and the hidden
folder goes last. Whatever interrupts that, the next run knows from the plan whether a folder that
`info` does not name is ours.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from ngcore.errors import DestinationError, FormatError, InputError, StorageError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.storage.local import LocalStore
from ngcore.storage.sync import SyncError
from ngcore.transaction.changes import Transaction
from ngcore.transaction.journal import (
    MESH_JOURNAL_FOLDER,
    MESH_WORK_FOLDER,
    Journal,
    note_resumable,
    read_plan,
)
from ngcore.transaction.places import check_own_folder
from ngcore.transaction.removal import remove_kind
from ngcore.transaction.stale import remove_stale
from ngcore.transaction.work_folder import empty_folder, lock_folder, unlock_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from ngcore.storage.base import Store, StoreLock

_MESHES = "mesh"
_PLAN = f"{MESH_JOURNAL_FOLDER}/plan.json"


def unfinished_meshes(volume: Store) -> dict[str, Any] | None:
    """Return the plan of a run that has not ended; None where there is none."""
    return read_plan(volume, MESH_JOURNAL_FOLDER)


def remove_leftovers(volume: Store) -> None:
    """Remove what a run left that was killed while it removed its hidden folder."""
    if MESH_WORK_FOLDER not in volume.entries() or unfinished_meshes(volume) is not None:
        return
    try:
        lock = lock_folder(volume, MESH_WORK_FOLDER)
    except (DestinationError, StorageError):
        return  # another run has it, or nothing can be removed there
    unlock_folder(volume, MESH_WORK_FOLDER, lock, remove=unfinished_meshes(volume) is None)


def remove_unfinished_meshes(volume: Store) -> None:
    """Remove what an unfinished run made, of a volume that is being replaced; nobody runs one."""
    folder = (unfinished_meshes(volume) or {}).get("folder")
    if isinstance(folder, str):
        remove_kind(volume, folder, "mesh")
    volume.delete_folder(MESH_WORK_FOLDER)


class MeshFolder:
    """A context manager: nobody else makes meshes for the volume in it.

    Left without an error, the hidden folder is gone, and so are it and the meshes where input is
    at fault. Left with any other error (a full disk, Ctrl-C), all stays for a run that goes on.

    Parameters
    ----------
    volume : Store
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
        self, volume: Store, plan: Mapping[str, Any], *, overwrite: bool, resume: bool
    ) -> None:
        self.volume = volume
        self._plan = plan
        self._overwrite = overwrite
        self._resume = resume
        self._is_finished = False
        self._folder: str | None = None
        self._lock: StoreLock | None = None
        self.journal = Journal(volume, fsync=True, folder=MESH_JOURNAL_FOLDER)
        self.check()

    @property
    def is_named(self) -> bool:
        """Whether `info` names the meshes already: only `finish` is left to be done."""
        folder = self._planned("folder")
        return folder is not None and self._named() == folder

    @property
    def folder(self) -> str:
        """The folder for the meshes: the first name that is free, the same from then on."""
        if self._folder is None:
            self._folder = self._planned("folder") or self._choose_folder()
        return self._folder

    def _choose_folder(self) -> str:
        with Transaction(self.volume):  # nobody else takes it meanwhile
            taken = self.volume.entries()
            names = (f"{_MESHES}-{number}" for number in itertools.count(2))
            name = next(name for name in itertools.chain([_MESHES], names) if name not in taken)
            self.journal.amend({"folder": name})
        return name

    def check(self) -> None:
        """Refuse meshes, and unfinished ones, that this run may not touch."""
        if self._overwrite:
            self._check_own(self._named())
            return
        where = self.volume.location
        if unfinished_meshes(self.volume) is not None:
            if not self._resume:
                raise DestinationError(
                    f"{where} holds unfinished meshes; pass --resume to continue them, or "
                    "--overwrite to start again"
                )
        elif not self._resume:
            self._check_free(self._named())

    def __enter__(self) -> Self:
        self._lock = lock_folder(self.volume, MESH_WORK_FOLDER)
        try:
            self.check()  # since it was looked at first, another process may have ended
            self._begin()
        except BaseException:
            self._let_go(remove=unfinished_meshes(self.volume) is None)
            raise
        return self

    def _begin(self) -> None:
        """Go on with what is there, or clear it away and begin."""
        begun = unfinished_meshes(self.volume)
        if self._resume and begun is not None:
            self.journal.resume(self._plan)
            self._overwrite = begun.get("overwrite") is True
            self._remove_half_written()
            if not self.is_named:
                self._check_free(self._named())
            return
        self._clear()
        self._check_free(self._named())
        self.journal.begin({**self._plan, "overwrite": self._overwrite})

    def _remove_half_written(self) -> None:
        for folder in (MESH_WORK_FOLDER, self._planned("folder")):
            if folder is not None and isinstance(self.volume, LocalStore):
                remove_stale(self.volume.path / folder, is_locked=True, below=True)
            elif folder is not None:
                self.volume.delete_unfinished(folder)

    def _clear(self) -> None:
        """Remove what an unfinished run left."""
        if self.is_named:
            self._remove_old()
        else:
            self._remove_unnamed()
        self.volume.delete(_PLAN)  # from here on there is nothing to go on with
        empty_folder(self.volume, MESH_WORK_FOLDER)

    def _remove_unnamed(self) -> None:
        folder = self._planned("folder")
        if folder is not None and folder != self._named():
            self._remove_half_written()
            remove_kind(self.volume, folder, "mesh")

    @contextmanager
    def named(self) -> Iterator[Transaction]:
        """Let `info` name the folder, with whatever the block changes, in one transaction.

        Raises
        ------
        DestinationError
            The volume has got other meshes meanwhile.
        StorageError
            The disk is full, or failed.
        """
        folder, store = self.folder, self.volume
        if not store.is_durable:
            self.journal.sync([*store.list(f"{folder}/"), f"{folder}/"])
        if self._lock is not None and not self._lock.is_held():
            raise StorageError(
                f"{store.location} was moved or removed while meshes were made; continue with "
                "--resume where it is now"
            )
        with Transaction(store) as change:
            if not self.is_named:
                old = self._named()
                self._check_free(old)
                self.journal.amend({"old": old})
            yield change
            change.change_info(lambda members: {**members, "mesh": folder})

    def finish(self) -> None:
        """Remove the meshes that were replaced; nothing is left to be done."""
        self._remove_old()
        self._is_finished = True

    def _remove_old(self) -> None:
        old = self._planned("old")
        if old is not None:
            remove_kind(self.volume, old, "mesh")
            self.volume.sync(["./"])

    def _planned(self, member: str) -> str | None:
        found = (unfinished_meshes(self.volume) or {}).get(member)
        return found if isinstance(found, str) else None

    def _named(self) -> str | None:
        document = self.volume.get("info")
        if document is None:
            raise DestinationError(
                f"{self.volume.location} has lost its info; it may be being replaced"
            )
        return VolumeInfo.from_json(document).mesh

    def _check_own(self, mesh: str | None) -> None:
        """Refuse to replace meshes in a folder where a scale lies, or names."""
        document = self.volume.get("info")
        if mesh is not None and document is not None:
            check_own_folder(parse_object(document), "mesh", mesh, self.volume)

    def _check_free(self, mesh: str | None) -> None:
        if mesh is not None and not self._overwrite:
            raise DestinationError(
                f"{self.volume.location} already has meshes, in {mesh!r}; pass --overwrite to "
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
        if error is not None:
            note_resumable(error, self.volume, MESH_JOURNAL_FOLDER)
        try:
            if is_hopeless:
                self._remove_unnamed()
        finally:
            self._let_go(remove=self._is_finished or is_hopeless)

    def _let_go(self, *, remove: bool) -> None:
        assert self._lock is not None
        try:
            if remove:
                self.volume.delete(_PLAN)
        finally:
            unlock_folder(self.volume, MESH_WORK_FOLDER, self._lock, remove=remove)
