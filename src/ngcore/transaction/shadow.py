"""A change of a volume in a bucket, made in a folder here and then carried over.

For commands that need a file system while they work, such as those that make meshes. The small
files of the volume, and the folders that the command may replace, are copied; chunks are not.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ngcore.errors import DestinationError, NgcoreError
from ngcore.storage.local import LocalStore
from ngcore.storage.uploads import carry
from ngcore.transaction.changes import Transaction
from ngcore.transaction.temporary import working_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ngcore.storage.base import Store

_SIDE_FILES = ("info", "provenance", "transform.json")


@contextmanager
def shadow(store: Store, folders: Iterable[str | None]) -> Iterator[LocalStore]:
    """Copy small files of a volume to a folder here; carry over what a `with` block changes.

    `info` is carried over last. Nothing is where the block, or another command meanwhile, fails.

    Parameters
    ----------
    store : Store
        Of the volume, in a bucket.
    folders : iterable of str or None
        Those that are copied with all their files.

    Raises
    ------
    DestinationError
        The volume was changed by another command meanwhile.
    """
    with working_folder(store) as tmp:
        here = LocalStore(tmp / "volume")
        before = _copied(store, here, folders)
        try:
            yield here
        except NgcoreError as error:
            # Nobody knows the copy.
            text = str(error).replace(here.location, store.location)
            error.args = (text,)
            raise
        after = set(here.list())
        with Transaction(store):
            for name in _SIDE_FILES:
                if store.get(name) != before.get(name):
                    raise DestinationError(
                        f"{store.location}/{name} was changed meanwhile by another command; run "
                        "this one again"
                    )
            store.delete_unfinished()
            carry(here, store, sorted(after - {*_SIDE_FILES}))
            for name in reversed(_SIDE_FILES):
                content = here.get(name)
                if content is not None and content != before.get(name):
                    store.put(name, content)
            store.delete_all(before.keys() - after)


def _copied(store: Store, here: LocalStore, folders: Iterable[str | None]) -> dict[str, bytes]:
    """Copy what the command may look at; return names with the content of the side files."""
    found: dict[str, bytes] = {}
    for name in _SIDE_FILES:
        content = store.get(name)
        if content is not None:
            found[name] = content
            here.put(name, content)
    for folder in folders:
        if folder is not None:
            names = list(store.list(f"{folder.strip('/')}/"))
            carry(store, here, names)
            found |= dict.fromkeys(names, b"")
    return found
