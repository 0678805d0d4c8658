"""What of a repair is done, so that one that was interrupted can go on.

A line of the ledger is one piece of work, a shard or some chunk files: what it read, what it
wrote, and what it changed, so that the report of a resumed repair tells of all. Pieces that could
not be mended, or had something left out, have no line: they are looked at again.

Whether what was written is whole, the journal knows. A line that a loss of power has spoilt
counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ngcore.errors import StorageError
from ngcore.repairing.changes import KINDS, Changes
from ngcore.storage.local import WORK_FOLDER
from ngcore.validating.chunk_files import NESTED_DEPTH
from ngcore.validating.files import walk_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage import LocalStore
    from ngcore.transaction.journal import Journal

LEDGER = f"{WORK_FOLDER}/ledger"


class Written(NamedTuple):
    """What a piece of work wrote: names of files, and how many voxels they hold."""

    names: list[str]
    voxels: int


@dataclass(frozen=True, slots=True)
class _Line:
    run: str
    piece: str
    names: tuple[str, ...]
    voxels: int
    counts: dict[str, int]

    @classmethod
    def parse(cls, text: bytes) -> _Line | None:
        """Return a line of the ledger; None where it is damaged."""
        try:
            run, piece, names, voxels, counts = json.loads(text)
            is_sound = (
                all(isinstance(part, str) for part in (run, piece, *names))
                and isinstance(voxels, int)
                and all(kind in KINDS and isinstance(count, int) for kind, count in counts.items())
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        return cls(run, piece, tuple(names), voxels, counts) if is_sound else None

    def to_bytes(self) -> bytes:
        """Return the line; it starts with the line break, as the one before may be cut off."""
        members = [self.run, self.piece, self.names, self.voxels, self.counts]
        return b"\n" + json.dumps(members).encode()


class Ledger:
    """The pieces of work of one repair that are done.

    Parameters
    ----------
    dest : LocalStore
        The volume that is written.
    journal : Journal
        Of its files.
    done : callable
        Told of the voxels that an earlier run has done.
    """

    def __init__(self, dest: LocalStore, journal: Journal, done: Callable[[int], None]) -> None:
        self._path = dest.path / LEDGER
        self._journal = journal
        self._done = done
        self._lock = threading.Lock()
        self._known: dict[str, _Line] = {}
        if journal.is_resumed:
            for text in (dest.get(LEDGER) or b"").split(b"\n"):
                line = _Line.parse(text)
                if line is not None and line.run == journal.run:
                    self._known[line.piece] = line

    def do(self, piece: str, changes: Changes, mend: Callable[[Changes], Written]) -> None:
        """Do a piece of work, unless an earlier run has done it.

        Parameters
        ----------
        piece : str
            What it reads: the name tells it from all others.
        changes : Changes
            Where to count what was changed, in this run or in that one.
        mend : callable
            Does it, and counts in the `Changes` that it is given.

        Raises
        ------
        StorageError
            If it could not be noted.
        """
        known = self._known.pop(piece, None)
        if known is not None and all(map(self._journal.is_written, known.names)):
            for kind, count in known.counts.items():
                changes.add(kind, count)
            self._done(known.voxels)
            return
        own = Changes(changes)
        written = mend(own)
        for name in written.names:
            self._journal.add(name)
        if own.is_clean:
            names = tuple(written.names)
            self._append(_Line(self._journal.run, piece, names, written.voxels, own.counts))
        self._journal.checkpoint_if_due()

    def _append(self, line: _Line) -> None:
        try:
            with self._lock, self._path.open("ab", buffering=0) as file:
                file.write(line.to_bytes())
        except OSError as error:
            raise StorageError(
                f"can't write {self._path}: {error.strerror}; make room, or check the disk"
            ) from error


def state_of(source: LocalStore, info: VolumeInfo, document: bytes) -> dict[str, Any]:
    """Return what tells a volume from another one, and from itself after a change.

    Looked at are names, sizes and times of the files of its scales.
    """
    total = 0
    for scale in info.scales:
        for name in walk_files(source, scale.key, depth=NESTED_DEPTH):
            where = f"{scale.key}/{name}"
            try:
                status = (source.path / where).stat()
            except OSError:
                continue  # who reads it says what is wrong
            text = f"{where}\0{status.st_size}\0{status.st_mtime_ns}"
            total += int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=16).digest())
    return {
        "path": str(source.path.resolve()),
        "info": hashlib.sha256(document).hexdigest(),
        "files": f"{total % 2**128:032x}",
    }
