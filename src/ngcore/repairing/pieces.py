"""The pieces of work of a repair, a shard or some chunk files each, which are done once.

The journal notes what each has changed, so that the report of a resumed repair tells of all.
Pieces that could not be repaired, or had something left out, have no note and are looked at again.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from ngcore.repairing.changes import KINDS, Changes
from ngcore.sources.identity import chunk_files, chunks_identity
from ngcore.storage import LocalStore, Store
from ngcore.storage.listing import walk_files
from ngcore.validating.chunk_files import NESTED_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.repairing.files import Listed
    from ngcore.transaction.journal import Journal

_VOXELS = "voxels"


class Written(NamedTuple):
    """What a piece of work wrote: names of files, and how many voxels they hold."""

    names: list[str]
    voxels: int


class Pieces:
    """The pieces of work of one repair.

    Parameters
    ----------
    journal : Journal
        Of the volume that is written.
    done : callable
        Told of the voxels that an earlier run has done.
    """

    def __init__(self, journal: Journal, done: Callable[[int], None]) -> None:
        self._journal = journal
        self._done = done

    def do(self, piece: str, changes: Changes, work: Callable[[Changes], Written]) -> None:
        """Do a piece of work, unless an earlier run has done it.

        Parameters
        ----------
        piece : str
            What it reads: the name tells it from all others.
        changes : Changes
            Where to count what was changed, in this run or in that one.
        work : callable
            Does it, and counts in the `Changes` that it is given.

        Raises
        ------
        StorageError
            If it could not be noted.
        """
        known = self._journal.recall(piece)
        if known is not None and known.keys() <= {_VOXELS, *KINDS}:
            self._done(known.pop(_VOXELS, 0))
            for kind, count in known.items():
                changes.add(kind, count)
            return
        own = Changes(changes)
        written = work(own)
        if own.is_clean:
            found = {_VOXELS: written.voxels, **own.counts}
            self._journal.note(piece, written.names, found)
        else:
            for name in written.names:
                self._journal.add(name)
        self._journal.checkpoint_if_due()


def state_of(source: Listed, info: VolumeInfo, document: bytes) -> dict[str, str]:
    """Return what tells a volume from another one, and from itself after a change.

    Looked at are names, sizes and times of the files of its scales.
    """

    def files() -> Iterator[tuple[str, int | None]]:
        for scale in info.scales:
            if isinstance(source, Store) and not isinstance(source, LocalStore):
                yield from chunk_files(source, scale.key)
                continue
            for name in walk_files(source, scale.key, depth=NESTED_DEPTH):
                if _exists(source, f"{scale.key}/{name}"):
                    yield f"{scale.key}/{name}", None

    return {
        "path": str(source.path.resolve()) if isinstance(source, LocalStore) else source.location,
        "info": hashlib.sha256(document).hexdigest(),
        **chunks_identity(source, files()),
    }


def _exists(source: Listed, name: str) -> bool:
    """Whether a name that is listed is not a link that leads nowhere."""
    return not isinstance(source, LocalStore) or (source.path / name).exists()
