"""The folder of a layer that is not a volume: annotations or skeletons; taken, filled, finished.

As with volumes, `info` appears last, and until then the hidden folder ``.ngcore`` holds a lock,
what is being written, a journal and temporary files. The bytes depend on source and options alone,
so a run that goes on writes only the files that are not there yet.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Self

from ngcore.errors import DestinationError, FormatError
from ngcore.precomputed.names import PROVENANCE_NAME
from ngcore.storage.base import Store
from ngcore.transaction.destination import Destination
from ngcore.volume.provenance import Provenance
from ngcore.volume.seal import EntriesDigest, Seal, file_digest, is_entry

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Buffer

    from ngcore.storage.base import StoreLock
    from ngcore.transaction.journal import Journal


class LayerStore(Store):
    """A store that leaves out what an earlier run has written, and notes what is written."""

    def __init__(
        self, store: Store, journal: Journal, digest: EntriesDigest, files: dict[str, str]
    ) -> None:
        self._store = store
        self._journal = journal
        self._digest = digest
        self._files = files
        self.location = store.location
        self.is_remote, self.is_durable = store.is_remote, store.is_durable
        self.keeps_names = store.keeps_names

    @property
    def place(self) -> Store:
        """The store itself, of the layer."""
        return self._store

    @property
    def journal(self) -> Journal:
        """What tells which files an earlier run has written."""
        return self._journal

    def add_written(self, names: Iterable[str], digest: int) -> None:
        """Take note of files that another process has written, and of the sum of their digest."""
        self._digest.add_sum(digest)
        for name in names:
            self._journal.add(name)
        self._journal.checkpoint_if_due()

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
        plain = posixpath.normpath(name)
        if is_entry(plain):
            parts = self._digest.passing(plain, parts)
        else:  # a small file beside them
            content = b"".join(parts)
            self._files[plain] = file_digest(content, plain)
            parts = (content,)
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
    sources : sequence of path
        What it is made from, which must not be harmed.

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
        sources: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        self._claim = {"@type": layer_type, "files": files}
        self._plan = plan
        self._provenance = provenance
        self._resume = resume
        self._fsync = fsync
        self._journal: Journal | None = None
        self._digest = EntriesDigest()
        self._files: dict[str, str] = {}
        self._destination = Destination(
            dest, overwrite=overwrite, resume=resume, sources=sources, layer_type=layer_type
        )

    @property
    def is_done(self) -> bool:
        """Whether `resume` finds this very layer complete."""
        store = self._destination.store
        if not self._resume or store.size("info") is None:
            return False
        if not self._is_recorded(store) or not self._destination.is_of_its_type():
            raise DestinationError(
                f"{store.location} holds a layer of another source or other options; "
                "pass --overwrite to replace it, or choose another folder"
            )
        self._destination.settle()
        return True

    def _is_recorded(self, store: Store) -> bool:
        try:
            found = Provenance.from_json(store.get(PROVENANCE_NAME) or b"")
        except FormatError:
            return False
        return found.is_same_run(Provenance.from_json(self._provenance))

    @property
    def store(self) -> LayerStore:
        """Where the files of the layer go."""
        assert self._journal is not None
        return LayerStore(self._destination.store, self._journal, self._digest, self._files)

    def temporaries(self, tmp: str | os.PathLike[str] | None) -> AbstractContextManager[Path]:
        """Make a folder here for temporary files; see `Destination.temporaries`."""
        return self._destination.temporaries(tmp)

    def __enter__(self) -> Self:
        self._destination.__enter__()
        try:
            self._journal = self._destination.begin(self._claim, self._plan, fsync=self._fsync)
        except BaseException as error:
            self._destination.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def finish(self, info: str, others: Mapping[str, bytes] | None = None) -> None:
        """Write provenance and other files, make all of it durable, and write `info`.

        The provenance seals all of it.
        """
        known = {**(others or {}), "info": info.encode()}
        seal = Seal(
            files={
                **self._files,
                **{name: file_digest(content, name) for name, content in known.items()},
            },
            meshes={".": str(self._digest)},
        )
        provenance = Provenance.from_json(self._provenance).sealed(seal).to_json()
        files = {**(others or {}), PROVENANCE_NAME: provenance}
        self._destination.finish(files, fsync=self._fsync, document=info.encode())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._destination.__exit__(kind, error, traceback)
