"""The folder of a layer that is no volume: annotations or skeletons; taken, filled, finished.

As with volumes, `info` appears last, and until then the hidden folder ``.ngcore`` holds a lock,
what is being written, a journal and temporary files. The bytes depend on source and options alone,
so a run that goes on writes only the files that are not there yet.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ngcore.errors import DestinationError, FormatError, InputError
from ngcore.precomputed.json_members import parse_object
from ngcore.storage.local import WORK_FOLDER, LocalStore
from ngcore.transaction.folder_lock import lock_folder, unlock_folder
from ngcore.transaction.journal import PLAN, Journal, read_plan
from ngcore.transaction.output_file import refuse_url

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Buffer

    from ngcore.storage.base import StoreLock

_PROVENANCE = "provenance"


class LayerStore(LocalStore):
    """A store that leaves out what an earlier run has written, and notes what is written."""

    def __init__(self, path: str | os.PathLike[str], journal: Journal) -> None:
        super().__init__(path)
        self._journal = journal

    def put_parts(self, name: str, parts: Iterable[Buffer]) -> None:
        """Write a file; see `Store.put`."""
        if self._journal.is_written(name):
            for _ in parts:
                pass  # they may come from a temporary file, whose room is given back
            return
        super().put_parts(name, parts)
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
        self.path = Path(dest)
        refuse_url(self.path)
        self._type = layer_type
        self._files = re.compile(files)
        self._plan = {"info": {}, **plan}
        self._provenance = provenance
        self._overwrite = overwrite
        self._resume = resume
        self._fsync = fsync
        self._plain = LocalStore(self.path)
        self._journal = Journal(self._plain, fsync=fsync)
        self._lock: StoreLock | None = None
        self._existed = self.path.exists()
        self._is_finished = False
        self._check()

    @property
    def is_done(self) -> bool:
        """Whether `resume` finds this very layer complete."""
        if not self._resume or not (self.path / "info").is_file():
            return False
        if self._plain.get(_PROVENANCE) != self._provenance or not self._is_such_a_layer():
            raise DestinationError(
                f"{self.path} holds a layer of another source or other options; "
                "pass --overwrite to replace it, or choose another folder"
            )
        return True

    @property
    def store(self) -> LayerStore:
        """Where the files of the layer go."""
        return LayerStore(self.path, self._journal)

    @property
    def work_folder(self) -> Path:
        """A hidden folder for temporary files."""
        return self.path / WORK_FOLDER

    def _is_such_a_layer(self) -> bool:
        try:
            members = parse_object(self._plain.get("info") or b"")
        except FormatError:
            return False
        return members.get("@type") == self._type

    def _check(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise DestinationError(
                f"{self.path} is a file; choose a folder that is empty or not there yet"
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
                    f"{self.path} holds a layer already; pass --overwrite to replace it, "
                    "or choose another folder"
                )
            if not self._is_such_a_layer():
                raise DestinationError(
                    f"{self.path} holds something else than {self._type}; choose another folder"
                )
            return
        if not is_unfinished:
            raise DestinationError(f"{self.path} is not empty; choose an empty or a new folder")
        if not (self._resume or self._overwrite):
            raise DestinationError(
                f"{self.path} holds an unfinished layer; pass --resume to continue it, or "
                "--overwrite to start again"
            )

    def __enter__(self) -> Self:
        self._lock = lock_folder(self._plain, WORK_FOLDER)
        try:
            self._check()
            if not (self._resume and self._journal.resume(self._plan)):
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
        if is_hopeless and not self._existed:
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def _let_go(self, *, remove: bool) -> None:
        assert self._lock is not None
        unlock_folder(self._plain, WORK_FOLDER, self._lock, remove=remove)
