"""The fence around what is served: pages read volumes through it, as files are.

A link, or a key with ``..``, that leads out of the folder that is served leads nowhere, and what
is said of a volume names it as its URL does, not by where it lies on this machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.server.folders import find_volumes, has_info
from ngcore.server.locate import is_servable_name
from ngcore.storage import LocalStore, ReadableStore
from ngcore.storage.zip_store import ZipStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class FencedStore(ReadableStore):
    """A folder, of which nothing is read that really lies outside of another one.

    Parameters
    ----------
    root : Path
        The folder that is served.
    path : Path
        The volume's.
    name : str
        What messages call it.
    """

    def __init__(self, root: Path, path: Path, name: str) -> None:
        self._root = Path(os.path.realpath(root))
        self.path = path
        self._store = LocalStore(path)
        self.location = name

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return the bytes under a name, None where there are none, or they lie outside."""
        return self._store.get(name, start, stop) if self._is_inside(name) else None

    def size(self, name: str) -> int | None:
        """Return how many bytes are under a name, None where there is nothing to be read."""
        return self._store.size(name) if self._is_inside(name) else None

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield names that start with `prefix` and may be read."""
        return filter(self._is_inside, self._store.list(prefix))

    def _is_inside(self, name: str) -> bool:
        try:
            real = Path(os.path.realpath(self.path / name, strict=True))
        except (OSError, ValueError):
            return False
        return real.is_relative_to(self._root) and not any(
            part.startswith(".") for part in real.relative_to(self._root).parts
        )


def fenced_volumes(roots: Mapping[str, Path]) -> dict[str, tuple[Path, Path]]:
    """Return what is served by URL path: the folder that is its fence, and its own, or its zip.

    Folders that can't be served are left out: hidden ones, links that lead outside, and names
    that no URL can carry.
    """
    if "" not in roots:
        return {name: (path, path) for name, path in roots.items() if has_info(path)}
    root = roots[""]
    real_root = Path(os.path.realpath(root))
    return {
        name: (root, Path(path))
        for name, path in find_volumes(root).items()
        if name == ""
        or (is_servable_name(name) and Path(os.path.realpath(path)).is_relative_to(real_root))
    }


def fenced_store(root: Path, path: Path, name: str) -> ReadableStore:
    """Return the store of a folder or zip file, of which messages say no more than its name.

    Raises
    ------
    FormatError, InputError
        It is a zip file that is damaged, or of which Neuroglancer can't read parts.
    """
    if path.is_file():
        return ZipStore(FencedStore(root, path.parent, "."), path.name)
    return FencedStore(root, path, name)
