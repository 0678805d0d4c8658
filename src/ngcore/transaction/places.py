"""Which places are one and the same, or lie in each other, under whatever names.

A folder may be seen under two paths: through links, a bind mount, an automount, or in another case
where the file system ignores that. So places are compared by what the system says they are, device
and number, along all folders above them. A network file system that is mounted twice has two
devices: there the lock that a run has taken is looked for under the other path.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ngcore.errors import DestinationError, InputError
from ngcore.storage.local import WORK_FOLDER, LocalStore

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from ngcore.storage.base import Store

_FOLDERS = ("mesh", "skeletons", "segment_properties")


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths name the same file or folder; False where one is absent."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def refuse_overlap(dest: Path, sources: Iterable[str | os.PathLike[str]], what: str) -> None:
    """Refuse a destination that is a source, lies in one or holds one.

    Parameters
    ----------
    dest : Path
        Need not be there.
    sources : iterable of path
        Of those that are not there, such as patterns, the folders above count.
    what : str
        Starts the message.

    Raises
    ------
    DestinationError
        It does.
    """
    above_dest = set(_identities(dest, from_itself=True))
    here = _identity(dest)
    for source in map(Path, sources):
        in_source = _identity(source)
        if (in_source is not None and in_source in above_dest) or (
            here is not None and here in set(_identities(source, from_itself=True))
        ):
            raise _overlap(dest, source, what)


def refuse_locked_source(
    dest: LocalStore, sources: Iterable[str | os.PathLike[str]], what: str
) -> None:
    """Refuse sources in or above which the lock is seen that this process has on `dest`.

    Raises
    ------
    DestinationError
        It is: the same folder is there under another path.
    """
    token = dest.get(f"{WORK_FOLDER}/{TOKEN}")
    if token is None:
        return
    for source in map(Path, sources):
        for folder in (source, *source.absolute().parents, source.resolve()):
            if LocalStore(folder).get(f"{WORK_FOLDER}/{TOKEN}") == token:
                raise _overlap(dest.path, source, what)


TOKEN = "token"
"""A file of random bytes beside the lock, by which a folder is known under another path."""


def _overlap(dest: Path, source: Path, what: str) -> DestinationError:
    return DestinationError(
        f"{what} {dest} would touch the source {source}; choose another folder"
    )


def _identities(path: Path, *, from_itself: bool) -> Iterator[tuple[int, int]]:
    """Yield what the folders above a path are, along its links and along its name."""
    for way in {path.resolve(), path.absolute()}:
        for place in (way, *way.parents) if from_itself else way.parents:
            identity = _identity(place)
            if identity is not None:
                yield identity


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def check_own_folder(members: Mapping[str, Any], kind: str, folder: str, store: Store) -> None:
    """Refuse a folder for one kind of things in which those of another kind lie, or above them.

    Parameters
    ----------
    members : mapping
        Those of `info`.
    kind : str
        ``mesh``, ``skeletons`` or ``segment_properties``: the member that is to name the folder.
    folder : str
        In the volume.
    store : Store
        The volume's.

    Raises
    ------
    InputError
        It has another purpose; the message names that.
    """
    parts = PurePosixPath(folder).parts
    for other, place in _named_places(members):
        if other == kind:
            continue
        its_parts = PurePosixPath(place).parts
        shared = min(len(parts), len(its_parts))
        is_inside = parts[:shared] == its_parts[:shared]
        if is_inside or _is_same_folder(store, folder, place):
            raise InputError(
                f"{store.location}: the folder {folder!r} would touch {place!r}, which is "
                f"{other} in info; choose another folder"
            )


def _named_places(members: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    scales = members.get("scales")
    for index, scale in enumerate(scales if isinstance(scales, list) else []):
        if isinstance(scale, dict) and isinstance(scale.get("key"), str):
            yield f"scales[{index}].key", scale["key"]
    for name in _FOLDERS:
        if isinstance(members.get(name), str):
            yield name, members[name]


def _is_same_folder(store: Store, one: str, other: str) -> bool:
    if not isinstance(store, LocalStore):
        return False
    return is_same_file(store.path / one, store.path / other)
