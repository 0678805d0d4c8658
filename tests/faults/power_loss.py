"""What a disk may hold after a loss of power, from the log of all that was written.

The model is harsher than any file system: of the data that were not synced, any file may have kept
all, a part, zeros or nothing; of the changes to folders, those before any point in time or any
others may have been kept, but a rename happens whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Change:
    """One call that changed the disk, as the shim recorded it."""

    what: str
    path: str
    other: str
    offset: int
    data: bytes


@dataclass(eq=False)
class _File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


_Names = dict[str, "_File | None"]
"""What is under each path: a file, or None for a folder."""


def read_log(path: Path) -> Iterator[Change]:
    """Yield the changes of a log, in order."""
    with path.open("rb") as file:
        for line in file:
            what, one, other, offset, size = line[:-1].decode().split("\t")
            data = file.read(int(size)) if what == "write" else b""
            yield Change(what, one, other, int(offset), data)


class Disk:
    """A disk while changes are made to it."""

    def __init__(self) -> None:
        self._now: _Names = {}
        self._synced: _Names = {}
        self._pending: list[tuple[Change, _File | None]] = []

    def apply(self, change: Change) -> None:
        """Make one change."""
        match change.what:
            case "sync":
                for file in self._now.values():
                    if file is not None:
                        file.synced = bytes(file.data)
                self._synced, self._pending = dict(self._now), []
            case "fsync":
                file = self._now.get(change.path)
                if file is not None:
                    file.synced = bytes(file.data)
                else:
                    self._sync_entries(change.path)
            case "write":
                file = self._now.get(change.path)
                if file is None:
                    return  # a temporary file without a name, which no loss of power leaves
                data = file.data
                data.extend(bytes(max(0, change.offset - len(data))))
                data[change.offset : change.offset + len(change.data)] = change.data
            case "truncate":
                self._now[change.path].data.clear()  # type: ignore[union-attr]
            case _:
                file = _File() if change.what == "create" else self._now.get(change.path)
                _change_names(self._now, change, file)
                self._pending.append((change, file))

    def after_loss(self, rng: random.Random) -> dict[str, bytes | None]:
        """Return what may be there when power comes back: contents by path, None for folders."""
        names = dict(self._synced)
        cut = rng.randint(0, len(self._pending))
        keep = rng.choice([0.0, 0.5, 0.9, 1.0])
        for number, (change, file) in enumerate(self._pending):
            if number < cut or rng.random() < keep:
                _change_names(names, change, file)
        found: dict[str, bytes | None] = {}
        for path in sorted(names):
            folder = path.rpartition("/")[0]
            if any(name in found for name in (folder,)) or folder not in self._now:
                file = names[path]
                found[path] = None if file is None else _data_after_loss(file, rng)
        return found

    def _sync_entries(self, folder: str) -> None:
        rest = []
        for change, file in self._pending:
            target = change.other or change.path
            if target.rpartition("/")[0] == folder:
                _change_names(self._synced, change, file)
            else:
                rest.append((change, file))
        self._pending = rest


def _change_names(names: _Names, change: Change, file: _File | None) -> None:
    match change.what:
        case "create" | "mkdir":
            names[change.path] = file if change.what == "create" else None
        case "rename":
            names.pop(change.path, None)
            names[change.other] = file
        case "unlink" | "rmdir":
            names.pop(change.path, None)
        case _:
            raise ValueError(change.what)


def _data_after_loss(file: _File, rng: random.Random) -> bytes:
    now = bytes(file.data)
    if now == file.synced:
        return now
    return rng.choice([now, file.synced, b"", bytes(len(now)), now[: len(now) // 2]])


def lay_out(found: dict[str, bytes | None], root: str, folder: Path) -> None:
    """Write what was found below `root` into a folder."""
    for path, data in found.items():
        target = folder / path[len(root) :].lstrip("/")
        if data is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
