"""A change of a volume that is there: read, changed and written under its lock, and durable.

`info` is changed last, once all that it is about to name is safely on the disk. What is written is
sealed in `provenance` (`ngcore.transaction.sealing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ngcore.errors import FormatError, InputNotFoundError
from ngcore.precomputed.json_members import dump, parse_object
from ngcore.storage.base import Store
from ngcore.storage.local import WORK_FOLDER, LocalStore
from ngcore.storage.opening import writable_store
from ngcore.transaction.sealing import Sealing
from ngcore.transaction.stale import remove_stale
from ngcore.transaction.work_folder import lock_folder, unlock_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Buffer

    from ngcore.storage.base import StoreLock

PATIENCE = 60.0
"""Seconds for which a change waits for another one, as `make -j` starts them together."""

_MOST_SYNCED = 64
"""So many new files are synced one by one: links of meshes may be a hundred thousand."""

Members = dict[str, Any]


class Transaction:
    """A change of what lies in one place, which nobody else changes meanwhile; a context manager.

    Wait for other changes; refuse a place where something long, such as a conversion, is at work.
    What was put and deleted is durable when the block ends without an error. Long work goes
    before the block: others wait for its end.

    Parameters
    ----------
    dest : Store, str or path
        The volume, or another layer that has an `info`.

    Raises
    ------
    DestinationError
        It is in use, or can't be written.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "info").write_text('{"type": "segmentation"}')
    >>> with Transaction(folder) as change:
    ...     change.put("names/info", b"{}")
    ...     _ = change.change_info(lambda info: {**info, "segment_properties": "names"})
    >>> json.loads((folder / "info").read_text())
    {'type': 'segmentation', 'segment_properties': 'names'}
    """

    def __init__(self, dest: Store | str | os.PathLike[str]) -> None:
        self.store: Store = dest if isinstance(dest, Store) else writable_store(dest)
        self._lock: StoreLock | None = None
        self._unsynced: set[str] = set()
        self._cleaned: set[str] = set()
        self._put_count = 0
        self._sealing: Sealing | None = None

    def __enter__(self) -> Self:
        self._lock = lock_folder(self.store, WORK_FOLDER, patience=PATIENCE)
        self._clean("")
        return self

    @property
    def location(self) -> str:
        """Where this is, for messages."""
        return self.store.location

    @property
    def sealing(self) -> Sealing:
        """What keeps `provenance` true; see there for what is not a single file."""
        if self._sealing is None:
            self._sealing = Sealing(self.store)
        return self._sealing

    def record(
        self,
        command: str,
        parameters: Mapping[str, object],
        *,
        sources: Sequence[str] | None = None,
    ) -> None:
        """Name the command that makes the change, for `provenance`; see `Sealing.record`."""
        self.sealing.record(command, parameters, sources=sources)

    def get(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none."""
        return self.store.get(name)

    def put(self, name: str, *parts: Buffer) -> None:
        """Write a file: whoever reads, and a loss of power, finds the old one or the new one.

        Of very many new files, those after the first are only durable, all together, by the time
        that `info` is changed next, or the block ends.
        """
        self._clean(name.rpartition("/")[0])
        content = b"".join(parts)
        self.sealing.put(name, content)
        if self._put_count < _MOST_SYNCED or self.store.size(name) is not None:
            self.store.put_durably(name, content)
            self._unsynced.add(f"{name.rpartition('/')[0] or '.'}/")  # it may be a new one
        else:
            self.store.put(name, content)
            self._unsynced.add(name)
        self._put_count += 1

    def _clean(self, folder: str) -> None:
        """Remove what killed processes left half-written where this one is going to write."""
        if isinstance(self.store, LocalStore) and folder not in self._cleaned:
            self._cleaned.add(folder)
            remove_stale(self.store.path / folder, is_locked=True)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.store.size(name) is not None:
            self.sealing.delete(name)
            self.store.delete(name)
            self._unsynced.discard(name)
            self._unsynced.add(f"{name.rpartition('/')[0] or '.'}/")

    def read_info(self) -> Members:
        """Return the members of `info`.

        Raises
        ------
        InputNotFoundError
            There is none.
        FormatError
            It is not JSON.
        """
        document = self.store.get("info")
        where = self.store.location
        if document is None:
            raise InputNotFoundError(f"{where} holds no info; pass the folder of a volume")
        try:
            return parse_object(document)
        except FormatError as error:
            raise FormatError(f"{where}/info: {error}") from error

    def change_info(self, change: Callable[[Members], Members]) -> Members:
        """Read `info`, change it, and write it if it is another one then.

        Parameters
        ----------
        change : callable
            Takes the members, and returns what they shall be. Members that it does not know, it
            must keep: others wrote them. It may be called with none.

        Returns
        -------
        dict
            What is there now.
        """
        members = self.read_info()
        changed = change(dict(members))
        if changed != members:
            self.sealing.change_info(members, changed)
            self.sync()
            self.store.put_durably("info", dump(changed).encode())
        else:
            # A run that was interrupted may have written them, and not that it had.
            meant = change({})
            self.sealing.change_info({}, {k: v for k, v in meant.items() if k in members})
        return changed

    def sync(self) -> None:
        """Make durable what was put and deleted up to now."""
        names, self._unsynced = self._unsynced, set()
        self.store.sync(names)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._lock is not None
        try:
            if kind is None:
                self.sync()
                if self._sealing is not None:
                    self._sealing.finish()
                    self._unsynced.add("./")  # `provenance` may be a new file
                    self.sync()
        finally:
            unlock_folder(self.store, WORK_FOLDER, self._lock, remove=False)
