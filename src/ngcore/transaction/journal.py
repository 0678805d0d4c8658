"""What of a conversion is safely on disk, so that an interrupted one can go on.

Files appear under their final names only when they are complete, so after a crash of the program
alone every file that is there can be trusted. A loss of power is another matter: then only what
was synced before a checkpoint of the journal is. Which of the two it was tells the system's boot
id.

A line of the journal is the run that wrote it and the name of a file: where a loss of power
brings back the journal of an older run, nothing in it is believed.

Where the system fails to put data on the disk, it says so once, and may then take the lost pages
for written: nothing that a run of this boot wrote is believed any more. In a bucket what was put
is safe, so all that is there can be trusted, and no journal is kept.

Beside the journal lie notes: what a piece of work that wrote some files has found out, which the
next run needs to know when it leaves the piece out.
"""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ngcore.errors import DestinationError, StorageError
from ngcore.storage.local import WORK_FOLDER
from ngcore.storage.opening import writable_store
from ngcore.storage.sync import SyncError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from ngcore.storage.base import Store
    from ngcore.transaction.notes import Note

MESH_WORK_FOLDER = ".ngcore-mesh"
"""That of a run that makes meshes for a volume which is there."""
MESH_JOURNAL_FOLDER = f"{MESH_WORK_FOLDER}/{WORK_FOLDER}"
_PLAN, _JOURNAL, _NOTES = "plan.json", "journal", "notes"
PLAN, JOURNAL, NOTES = (f"{WORK_FOLDER}/{name}" for name in (_PLAN, _JOURNAL, _NOTES))

_SECONDS_BETWEEN_CHECKPOINTS = 30


Trust = Literal["nothing", "journal", "everything"]
"""Which files of an earlier run are whole: those that the journal names, or all that are there."""


class Journal:
    """The files of one conversion that are complete.

    Parameters
    ----------
    store : Store
        The volume.
    fsync : bool
        Keep a journal for losses of power; else only crashes of the program are survived.
    folder : str
        The hidden folder that holds it.
    """

    def __init__(self, store: Store, *, fsync: bool, folder: str = WORK_FOLDER) -> None:
        self._store = store
        self._folder = folder
        self._plan_name, self._journal_name, self._notes_name = (
            f"{folder}/{name}" for name in (_PLAN, _JOURNAL, _NOTES)
        )
        self._fsync = fsync and not store.is_durable
        self._notes: dict[str, Note] | None = None
        self._lock = threading.Lock()
        self._new: list[str] = []
        self._last_checkpoint = time.monotonic()
        self._trusted: frozenset[str] | None = frozenset()
        self._run = ""

    @property
    def is_resumed(self) -> bool:
        """Whether an earlier run may have left complete files."""
        return self._trusted is None or bool(self._trusted)

    @property
    def run(self) -> str:
        """What tells this conversion, resumed ones included, from others in the same folder."""
        return self._run

    @property
    def trust(self) -> Trust:
        """Which files of an earlier run are whole."""
        if self._trusted is None:
            return "everything"
        return "journal" if self._trusted else "nothing"

    def trust_journal_only(self, folders: Iterable[str]) -> None:
        """Name what is whole now; from here on, files without a name count for nothing.

        For work on other machines: whether they lost power, this one can't tell, nor whether a
        worker that is gone had synced what it left.

        Parameters
        ----------
        folders : iterable of str
            Where the files of this run lie.
        """
        recorded = read_plan(self._store, self._folder)
        if recorded is None:
            return
        if self._trusted is None:
            names = [name for folder in folders for name in self._store.walk(folder)]
            self.sync()
            self._append(names)
            self._trusted = frozenset(names)
        self._put_plan({**recorded, "boot": None})

    def sync(self, names: Collection[str] | None = None) -> None:
        """Make what was written durable, by default all of it.

        Raises
        ------
        SyncError
            Data may be lost: whatever this boot wrote, the next run makes again.
        """
        try:
            self._store.sync(names)
        except SyncError:
            self.distrust()
            raise

    def distrust(self) -> None:
        """Let the next run believe nothing of what was written up to now."""
        recorded = read_plan(self._store, self._folder)
        if recorded is None:
            return
        plan = {**recorded, "boot": None, "run": os.urandom(8).hex()}
        try:
            # Not durably: the disk fails, and another boot believes the journal alone.
            self._store.put(self._plan_name, json.dumps(plan, indent=1).encode())
        except StorageError:
            with suppress(StorageError):
                self._store.delete(self._journal_name)
                self._store.delete(self._plan_name)

    def begin(self, plan: Mapping[str, Any]) -> None:
        """Record what is going to be written, before anything is.

        A plan with a list of infos as ``replaces`` is one for which the folder is still being
        cleared: nothing of its own is there.
        """
        self._run = os.urandom(8).hex()
        self._put_plan({**plan, "boot": _boot_id(), "run": self._run})

    def amend(self, members: Mapping[str, Any]) -> None:
        """Record more of what is going to be written, before it is."""
        self._put_plan({**(read_plan(self._store, self._folder) or {}), **members})

    def _put_plan(self, plan: Mapping[str, Any]) -> None:
        document = json.dumps(plan, indent=1).encode()
        if self._fsync:
            self._store.put_durably(self._plan_name, document)
            self._store.sync([f"{self._folder}/", "./"])  # no chunk may outlive the plan
        else:
            self._store.put(self._plan_name, document)

    def resume(self, plan: Mapping[str, Any]) -> bool:
        """Go on with what an earlier run recorded; False if there is none.

        Raises
        ------
        DestinationError
            If that run had another source or other options; the message names the difference.
        """
        recorded = read_plan(self._store, self._folder)
        if recorded is None:
            return False
        for part in ("source", "options", "info"):
            before, now = recorded[part], plan[part]
            # One option may be the default of another.
            differences = [
                f"{name} was {before.get(name)}, but is now {now.get(name)}"
                for name in sorted(before.keys() | now.keys())
                if before.get(name) != now.get(name)
            ]
            if differences:
                # Of `info`, a member may be as long as all scales.
                told = differences[:1] if part == "info" else differences
                raise DestinationError(
                    f"{self._store.location} was begun with another {part}: {', '.join(told)}; "
                    "resume with the same source and options, or pass --overwrite to start again"
                )
        if "replaces" in recorded:
            return False
        self._run = str(recorded.get("run", ""))
        # The recorded boot id stays that of the first run: files from before a loss of power must
        # never be trusted for the sake of those written after it.
        boot = _boot_id()
        if self._store.is_durable or (boot is not None and recorded.get("boot") == boot):
            self._trusted = None
        else:
            self._trusted = _read_journal(self._store, self._run, self._folder)
        return True

    def is_written(self, name: str) -> bool:
        """Whether a file is there, complete, from an earlier run."""
        return _is_whole(self._store, self._trusted, name)

    def trusts(self, name: str) -> bool:
        """Whether a file is complete if it is there, which is not looked for."""
        return self._trusted is None or name in self._trusted

    def add(self, name: str) -> None:
        """Take note of a file that is complete now."""
        if self._fsync:
            with self._lock:
                self._new.append(name)

    def checkpoint_if_due(self) -> None:
        """Now and then, sync what was written and make a durable note of it."""
        if not self._fsync or time.monotonic() < (
            self._last_checkpoint + _SECONDS_BETWEEN_CHECKPOINTS
        ):
            return
        with self._lock:
            names, self._new = self._new, []
        # Only what is on the disk may be said to be there.
        self.sync(names)
        self._append(names)
        self._last_checkpoint = time.monotonic()

    def note(self, piece: str, names: Sequence[str], found: Mapping[str, int]) -> None:
        """Take note of a piece of work that is done.

        A note that a loss of power has spoilt counts for nothing, as do those whose files are not
        all whole.

        Parameters
        ----------
        piece : str
            Its name tells it from all others.
        names : sequence of str
            Of the files that it wrote.
        found : mapping of str to int
            What is to be known of it if it is left out.
        """
        for name in names:
            self.add(name)
        from ngcore.transaction.notes import Note

        line = Note(self._run, piece, tuple(names), dict(found)).to_bytes()
        with self._lock:
            self._store.append(self._notes_name, line)

    def recall(self, piece: str) -> dict[str, int] | None:
        """Return what an earlier run found in a piece of work; None where it is to be done."""
        with self._lock:
            if self._notes is None:
                from ngcore.transaction.notes import read_notes

                text = self._store.get(self._notes_name) or b""
                self._notes = read_notes(text, self._run) if self.is_resumed else {}
            note = self._notes.pop(piece, None)
        return note.found if note is not None and all(map(self.is_written, note.names)) else None

    def _append(self, names: Iterable[str]) -> None:
        lines = "".join(f"{self._run} {name}\n" for name in names)
        self._store.append_durably(self._journal_name, lines.encode())


RESUMABLE = "--resume continues"


def note_resumable(error: BaseException, store: Store, folder: str = WORK_FOLDER) -> None:
    """Note on an interruption that there is something which a later run can go on with."""
    if isinstance(error, KeyboardInterrupt) and read_plan(store, folder) is not None:
        error.add_note(RESUMABLE)


@contextmanager
def resumable() -> Iterator[None]:
    """Say of a failure of I/O that the run can be continued."""
    try:
        yield
    except StorageError as error:
        if "--resume" in str(error):
            raise
        raise type(error)(f"{error}; fix that and continue with --resume") from error


def trusted_files(store: Store, trust: Trust, run: str) -> Callable[[str], bool] | None:
    """Return what tells whether a file of an earlier run is whole; None where none is.

    For workers, which have no `Journal`: they read what it wrote, once in every run.

    Parameters
    ----------
    store : Store
        Of the volume.
    trust : Trust
    run : str
        Tells this run from others in the same process.
    """
    if trust == "nothing":
        return None
    known = _journal_of_run(store.location, run) if trust == "journal" else None
    return partial(_is_whole, store, known)


@lru_cache(maxsize=1)
def _journal_of_run(location: str, _run: str) -> frozenset[str]:
    store = writable_store(location)
    plan = read_plan(store) or {}
    return _read_journal(store, str(plan.get("run", "")))


def _read_journal(store: Store, run: str, folder: str = WORK_FOLDER) -> frozenset[str]:
    text = (store.get(f"{folder}/{_JOURNAL}") or b"").decode(errors="replace")
    # A last line without an end was cut off.
    names = [line.partition(" ") for line in text.split("\n")[:-1]]
    return frozenset(name for written_by, _, name in names if written_by == run)


def _is_whole(store: Store, trusted: frozenset[str] | None, name: str) -> bool:
    if trusted is not None and name not in trusted:
        return False
    return store.size(name) is not None


def read_plan(store: Store, folder: str = WORK_FOLDER) -> dict[str, Any] | None:
    """Return what an unfinished run recorded, or None where nothing sensible is there."""
    text = store.get(f"{folder}/{_PLAN}")
    if text is None:
        return None
    try:
        plan = json.loads(text)
    except ValueError:
        return None
    is_plan = isinstance(plan, dict) and all(
        isinstance(plan.get(part), dict) for part in ("source", "options", "info")
    )
    return plan if is_plan else None


def _boot_id() -> str | None:
    """Return what is the same until the system starts again, where it says that."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
