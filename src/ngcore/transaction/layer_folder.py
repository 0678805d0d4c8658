"""The folder of a layer that is no volume: annotations or skeletons; taken, filled, finished.

As with volumes, `info` appears last, and until then the hidden folder ``.ngcore`` holds a lock,
what is being written, a journal and temporary files. The bytes depend on source and options alone,
so a run that goes on writes only the files that are not there yet.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Self

from ngcore.errors import DestinationError, FormatError, InputError
from ngcore.precomputed.json_members import parse_object
from ngcore.storage.base import Store
from ngcore.storage.local import WORK_FOLDER, LocalStore
from ngcore.storage.opening import writable_store
from ngcore.transaction.folder_lock import lock_folder, unlock_folder
from ngcore.transaction.journal import PLAN, Journal, read_plan
from ngcore.transaction.temporary import temporary_folder, working_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Buffer

    from ngcore.storage.base import StoreLock

_PROVENANCE = "provenance"


class LayerStore(Store):
    """A store that leaves out what an earlier run has written, and notes what is written."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self.location = store.location
        self.is_remote, self.is_durable = store.is_remote, store.is_durable
        self.keeps_names = store.keeps_names

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return the bytes under a name; see `Store.get`."""
        return self._store.get(name, start, stop)

    def size(self, name: str) -> int | None:
        """Return a size; see `Store.size`."""
        return self._store.size(name)

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield names; see `Store.list`."""
        return self._store.list(prefix)

    def entries(self, folder: str = "") -> set[str]:
        """Return what lies in a folder; see `Store.entries`."""
        return self._store.entries(folder)

    def delete(self, name: str) -> None:
        """Remove a name; see `Store.delete`."""
        self._store.delete(name)

    def delete_folder(self, folder: str) -> None:
        """Remove a folder; see `Store.delete_folder`."""
        self._store.delete_folder(folder)

    def create(self, name: str, data: Buffer) -> bool:
        """Write what is not there yet; see `Store.create`."""
        return self._store.create(name, data)

    def lock(self, name: str) -> StoreLock | None:
        """Take a lock; see `Store.lock`."""
        return self._store.lock(name)

    def is_locked(self, name: str) -> bool:
        """Whether another process has a lock; see `Store.is_locked`."""
        return self._store.is_locked(name)

    def put_parts(self, name: str, parts: Iterable[Buffer]) -> None:
        """Write a file; see `Store.put`."""
        if self._journal.is_written(name):
            for _ in parts:
                pass  # they may come from a temporary file, whose room is given back
            return
        self._store.put_parts(name, parts)
        self._journal.add(name)
        self._journal.checkpoint_if_due()


class LayerFolder:
    """A folder that this process alone writes a layer to; a context manager.

    Left without an error, `finish` must have been called. Left with an error of the input, all
    that was written is removed. Left with any other, what is there stays for `resume`.

    Parameters
    ----------
    dest : path
        Absent, or an empty folder; with `overwrite`, a folder with such a layer.
    layer_type : str
        The ``@type`` of its `info`.
    files : str
        A regular expression of the names, in the folder, that such a layer has beside `info`.
    plan : mapping
        ``source`` and ``options``, by which a run that goes on knows that it is the same.
    provenance : bytes
        The file that tells of them.
    overwrite, resume, fsync : bool

    Raises
    ------
    DestinationError
        The folder can't be used; the message says why and what to do.
    """

    def __init__(
        self,
        dest: str | os.PathLike[str],
        *,
        layer_type: str,
        files: str,
        plan: Mapping[str, Any],
        provenance: bytes,
        overwrite: bool = False,
        resume: bool = False,
        fsync: bool = True,
    ) -> None:
        self._plain = writable_store(dest)
        self._where = self._plain.location
        self._type = layer_type
        self._files = re.compile(files)
        self._plan = {"info": {}, **plan}
        self._provenance = provenance
        self._overwrite = overwrite
        self._resume = resume
        self._fsync = fsync
        self._journal = Journal(self._plain, fsync=fsync)
        self._lock: StoreLock | None = None
        self._existed = not isinstance(self._plain, LocalStore) or self._plain.path.exists()
        self._is_finished = False
        self._check()

    @property
    def is_done(self) -> bool:
        """Whether `resume` finds this very layer complete."""
        if not self._resume or self._plain.size("info") is None:
            return False
        if self._plain.get(_PROVENANCE) != self._provenance or not self._is_such_a_layer():
            raise DestinationError(
                f"{self._where} holds a layer of another source or other options; "
                "pass --overwrite to replace it, or choose another folder"
            )
        return True

    @property
    def store(self) -> LayerStore:
        """Where the files of the layer go."""
        return LayerStore(self._plain, self._journal)

    @contextlib.contextmanager
    def temporaries(self, tmp: str | os.PathLike[str] | None) -> Iterator[Path]:
        """Make a folder here for temporary files, for the time of a `with` block.

        Hidden in the folder of the layer, or in `tmp`; for a bucket in `tmp`, or in the system's
        folder for such.
        """
        if isinstance(self._plain, LocalStore):
            with temporary_folder(self._plain.path / WORK_FOLDER, tmp) as folder:
                yield folder
        else:
            with working_folder(self._plain, tmp) as folder:
                yield folder

    def _is_such_a_layer(self) -> bool:
        try:
            members = parse_object(self._plain.get("info") or b"")
        except FormatError:
            return False
        return members.get("@type") == self._type

    def _check(self) -> None:
        if (
            isinstance(self._plain, LocalStore)
            and self._plain.path.exists()
            and not self._plain.path.is_dir()
        ):
            raise DestinationError(
                f"{self._where} is a file; choose a folder that is empty or not there yet"
            )
        names = self._plain.entries()
        is_unfinished = read_plan(self._plain) is not None
        if not names - {WORK_FOLDER} and not is_unfinished:
            return
        if "info" in names:
            if self._resume:
                return
            if not self._overwrite:
                raise DestinationError(
                    f"{self._where} holds a layer already; pass --overwrite to replace it, "
                    "or choose another folder"
                )
            if not self._is_such_a_layer():
                raise DestinationError(
                    f"{self._where} holds something else than {self._type}; choose another folder"
                )
            return
        if not is_unfinished:
            raise DestinationError(f"{self._where} is not empty; choose an empty or a new folder")
        if not (self._resume or self._overwrite):
            raise DestinationError(
                f"{self._where} holds an unfinished layer; pass --resume to continue it, or "
                "--overwrite to start again"
            )

    def __enter__(self) -> Self:
        self._lock = lock_folder(self._plain, WORK_FOLDER)
        try:
            self._check()
            if not (self._resume and self._journal.resume(self._plan)):
                self._plain.delete_unfinished()
                begun = {**self._plan, "replaces": []}
                self._journal.begin(begun)  # what is there goes, and is known to be on its way
                self._plain.delete("info")
                self._remove_files()
                self._journal.begin(self._plan)
        except BaseException:
            self._let_go(remove=read_plan(self._plain) is None)
            raise
        return self

    def _remove_files(self) -> None:
        for name in self._plain.entries() - {WORK_FOLDER}:
            if self._files.fullmatch(name) or name in (_PROVENANCE, "info"):
                if self._plain.size(name) is not None:
                    self._plain.delete(name)
                else:
                    self._plain.delete_folder(name)

    def finish(self, info: str, others: Mapping[str, bytes] | None = None) -> None:
        """Write provenance and other files, make all of it durable, and write `info`."""
        self._plain.delete_unfinished()
        for name, content in {**(others or {}), _PROVENANCE: self._provenance}.items():
            self._plain.put(name, content)
        if self._fsync:
            self._plain.sync()
            self._plain.put_durably("info", info.encode())
        else:
            self._plain.put("info", info.encode())
        self._is_finished = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_hopeless = isinstance(error, FormatError | InputError)
        if is_hopeless:
            self._plain.delete(PLAN)
            self._remove_files()
        self._let_go(remove=self._is_finished or is_hopeless)
        if is_hopeless and not self._existed and isinstance(self._plain, LocalStore):
            with contextlib.suppress(OSError):
                self._plain.path.rmdir()

    def _let_go(self, *, remove: bool) -> None:
        assert self._lock is not None
        unlock_folder(self._plain, WORK_FOLDER, self._lock, remove=remove)
