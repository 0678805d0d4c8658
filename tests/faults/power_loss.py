"""What a disk may hold after a loss of power, from the log of all that was written.

The model is harsher than any file system: of the data that were not synced, any file may have kept
all, a part, zeros or nothing; of the changes to folders, those before any point in time or any
others may have been kept, but a rename happens whole or not at all. What lies in a folder goes
where the folder goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
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


@dataclass(eq=False)
class _Folder:
    now: dict[str, _File | _Folder] = field(default_factory=dict)
    synced: dict[str, _File | _Folder] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Move:
    """A change of names: what gets one, and what loses one."""

    node: _File | _Folder
    source: tuple[_Folder, str] | None
    target: tuple[_Folder, str] | None


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
        self._root = _Folder()
        self._files: list[_File] = []
        self._pending: list[_Move] = []

    def apply(self, change: Change) -> None:
        """Make one change."""
        match change.what:
            case "sync":
                for file in self._files:
                    file.synced = bytes(file.data)
                self._sync_names(None)
            case "fsync":
                node = self._find(change.path)
                if isinstance(node, _File):
                    node.synced = bytes(node.data)
                elif node is not None:
                    self._sync_names(node)
            case "write":
                node = self._find(change.path)
                if isinstance(node, _File):  # else a temporary file without a name
                    data = node.data
                    data.extend(bytes(max(0, change.offset - len(data))))
                    data[change.offset : change.offset + len(change.data)] = change.data
            case "truncate":
                node = self._find(change.path)
                assert isinstance(node, _File)
                node.data.clear()
            case "create" | "mkdir":
                node = _Folder() if change.what == "mkdir" else _File()
                if isinstance(node, _Folder) and self._find(change.path) is not None:
                    return  # a thread made it, another used it, and that was written down first
                if isinstance(node, _File):
                    self._files.append(node)
                self._move(_Move(node, None, self._place(change.path)))
            case "rename":
                node = self._find(change.path)
                assert node is not None
                self._move(_Move(node, self._place(change.path), self._place(change.other)))
            case "unlink" | "rmdir":
                node = self._find(change.path)
                if node is not None:
                    self._move(_Move(node, self._place(change.path), None))
            case _:
                raise ValueError(change.what)

    def after_loss(self, rng: random.Random) -> dict[str, bytes | None]:
        """Return what may be there when power comes back: contents by path, None for folders."""
        names: dict[_Folder, dict[str, _File | _Folder]] = {}

        def entries(folder: _Folder) -> dict[str, _File | _Folder]:
            return names.setdefault(folder, dict(folder.synced))

        cut = rng.randint(0, len(self._pending))
        keep = rng.choice([0.0, 0.5, 0.9, 1.0])
        for number, move in enumerate(self._pending):
            if number < cut or rng.random() < keep:
                _change_names(move, entries)
        found: dict[str, bytes | None] = {}
        kept: dict[_File, bytes] = {}

        def visit(folder: _Folder, path: str) -> None:
            for name, node in sorted(entries(folder).items()):
                where = f"{path}/{name}"
                if isinstance(node, _Folder):
                    found[where] = None
                    visit(node, where)
                else:
                    found[where] = kept.setdefault(node, _data_after_loss(node, rng))

        visit(self._root, "")
        return found

    def _move(self, move: _Move) -> None:
        _change_names(move, lambda folder: folder.now)
        self._pending.append(move)

    def _sync_names(self, folder: _Folder | None) -> None:
        """Make the names in a folder durable; in all of them where it is None."""
        rest = []
        for move in self._pending:
            changed = move.target or move.source
            if folder is None or (changed is not None and changed[0] is folder):
                _change_names(move, lambda folder: folder.synced)
            else:
                rest.append(move)
        self._pending = rest

    def _find(self, path: str) -> _File | _Folder | None:
        node: _File | _Folder | None = self._root
        for name in path.strip("/").split("/"):
            node = node.now.get(name) if isinstance(node, _Folder) else None
        return node

    def _place(self, path: str) -> tuple[_Folder, str]:
        """Return the folder of a path, and the name in it; folders from before are made."""
        *above, name = path.strip("/").split("/")
        folder = self._root
        for part in above:
            node = folder.now.get(part)
            if not isinstance(node, _Folder):
                node = folder.now[part] = folder.synced[part] = _Folder()
            folder = node
        return folder, name


def _change_names(move: _Move, entries: Callable[[_Folder], dict[str, _File | _Folder]]) -> None:
    if move.source is not None:
        folder, name = move.source
        if entries(folder).get(name) is move.node:
            del entries(folder)[name]
    if move.target is not None:
        folder, name = move.target
        entries(folder)[name] = move.node


def _data_after_loss(file: _File, rng: random.Random) -> bytes:
    now = bytes(file.data)
    if now == file.synced:
        return now
    return rng.choice([now, file.synced, b"", bytes(len(now)), now[: len(now) // 2]])


def lay_out(found: dict[str, bytes | None], root: str, folder: Path) -> None:
    """Write what was found below `root` into a folder."""
    for path, data in found.items():
        if not path.startswith(f"{root}/"):
            continue
        target = folder / path[len(root) + 1 :]
        if data is None:
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
