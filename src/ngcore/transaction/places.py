"""Which places are one and the same, or lie in each other, under whatever names.

A folder may be seen under two paths: through links, a bind mount, an automount, or in another case
where the file system ignores that. So places are compared by what the system says they are, device
and number, along all folders above them. A network file system that is mounted twice has two
devices: there a mark that is put into one is looked for under the other path.
"""

from __future__ import annotations

import itertools
import os
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ngcore.errors import DestinationError, InputError
from ngcore.storage.local import WORK_FOLDER, LocalStore
from ngcore.storage.opening import is_url, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ngcore.storage.base import ReadableStore, Store

_FOLDERS = ("mesh", "skeletons", "segment_properties")


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths name the same file or folder; False where one is absent."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def is_same_place(one: str | os.PathLike[str], other: str | os.PathLike[str]) -> bool:
    """Whether two paths or URLs name the same file or folder."""
    if is_url(one) or is_url(other):
        return os.fspath(one).rstrip("/") == os.fspath(other).rstrip("/")
    return is_same_file(Path(one), Path(other))


def refuse_overlap(dest: Store, sources: Iterable[str | os.PathLike[str]], what: str) -> None:
    """Refuse a destination that is a source, lies in one or holds one.

    Parameters
    ----------
    dest : Store
        Need not be there.
    sources : iterable of path or URL
        Of those that are not there, such as patterns, the folders above count.
    what : str
        Starts the message.

    Raises
    ------
    DestinationError
        It does.
    """
    look = cache(_identity)  # slices may be thousands, in one folder
    is_local = isinstance(dest, LocalStore)
    here = look(dest.path) if isinstance(dest, LocalStore) else None
    above = _identities(dest.path, look) if isinstance(dest, LocalStore) else set()
    for source in sources:
        if is_local:
            path = Path(source)
            touches = not is_url(source) and (
                look(path) in above or (here is not None and here in _identities(path, look))
            )
        else:
            places = (dest.location, str(source).removeprefix("precomputed://"))
            one, other = (f"{place.rstrip('/')}/" for place in places)
            touches = one.startswith(other) or other.startswith(one)
        if touches:
            raise _overlap(dest, source, what)


def refuse_marked_source(
    dest: Store, sources: Iterable[str | os.PathLike[str]], what: str
) -> None:
    """Refuse sources in, above or below which a mark is seen that is put into `dest`.

    Parameters and errors are those of `refuse_overlap`; the hidden folder of the run takes the
    mark. It finds a folder of a network that occurs twice, and one that is bound to a path
    elsewhere but lies in the source. All folders of a source are looked into.
    """
    sources = [source for source in sources if is_url(source) != isinstance(dest, LocalStore)]
    if not sources:
        return
    mark, token = f"{WORK_FOLDER}/token", os.urandom(16)
    dest.put(mark, token)
    try:
        seen: set[Path] = set()  # slices may be thousands, in one folder
        for source in sources:
            if is_url(source):
                if _shows(open_store(source), dest, mark, token):
                    raise _overlap(dest, source, what)
                continue
            ways = (Path(source).absolute(), Path(source).resolve())
            above = {place for way in ways for place in (way, *way.parents)} - seen
            seen |= above
            below = (Path(parent) for parent, _, _ in os.walk(source))
            for folder in itertools.chain(above, below):
                if LocalStore(folder).get(mark) == token:
                    raise _overlap(dest, source, what)
    finally:
        dest.delete(mark)


def _shows(source: ReadableStore, dest: Store, mark: str, token: bytes) -> bool:
    """Whether a URL is another of a bucket's: the mark is seen there, or the same volume is.

    What is new in a bucket may not be public. To replace a volume by itself makes no sense.
    """
    if source.get(mark) == token:
        return True
    here = [dest.get(name) for name in ("info", "provenance")]
    return None not in here and here == [source.get(name) for name in ("info", "provenance")]


def _overlap(dest: Store, source: str | os.PathLike[str], what: str) -> DestinationError:
    return DestinationError(
        f"{what} {dest.location} overlaps the source {os.fspath(source)}; choose another folder"
    )


_Identity = tuple[int, int] | None


def _identities(path: Path, look: Callable[[Path], _Identity]) -> set[_Identity]:
    """Return what a path and the folders above it are, along its links and along its name."""
    places = {place for way in (path.resolve(), path.absolute()) for place in (way, *way.parents)}
    return {look(place) for place in places} - {None}


def _identity(path: Path) -> _Identity:
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
                f"{store.location}: the folder {folder!r} overlaps {place!r}, which is {other} "
                "in info; choose another folder"
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
