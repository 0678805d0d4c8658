"""Which names a store takes, and what kind of file a name says it is."""

from __future__ import annotations

import os
import posixpath
import re

from ngcore.errors import DestinationError, InputError

_JSON = r"(?:^|/)(?:info|provenance|manifest|\d+:\d+|[^/]*\.json)$"
_MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".html": "text/html; charset=utf-8",
}


def proper_name(name: str, location: str, *, writing: bool = False) -> str:
    """Return a name as it is used, once it is known to be a proper one.

    Names may not leave the store, but for those that are only read: the `key` of a scale may hold
    ``..`` by the format's rules.

    Parameters
    ----------
    name : str
    location : str
        Of the store, for messages.
    writing : bool
        Whether something is written or removed there.

    Raises
    ------
    InputError
        It is empty, absolute, leads out of the store, or has characters that no name has.
    """
    if not name or name[0] == "/" or "\\" in name or "\0" in name:
        raise InputError(f"not a name in {location}: {name!r}")
    if "." in name or "//" in name:
        # As in URLs, ``..`` takes back the part before it, whether or not that exists.
        name = posixpath.normpath(name)
        if writing and (name == "." or name.split("/", 1)[0] == ".."):
            raise InputError(f"{name!r} is not a file in {location}, so can't be written")
    return name


def refuse_links_outside(root: str, folder: str, own: set[str]) -> None:
    """Refuse a folder that really lies elsewhere: it may be another volume's.

    Parameters
    ----------
    root : str
        Where nothing but what lies below may be changed.
    folder : str
        Below it, empty for itself. It need not be there.
    own : set of str
        Folders that were looked at before; is added to.

    Raises
    ------
    DestinationError
        It, or one above it, is a symbolic link that leads out.
    """
    if not folder or folder in own:
        return
    refuse_links_outside(root, folder.rpartition("/")[0], own)
    path = f"{root}/{folder}"
    if os.path.islink(path):  # noqa: PTH114 (a Path costs more than the call)
        real = os.path.realpath(root)
        if not os.path.realpath(path).startswith(f"{real}{os.sep}"):
            raise DestinationError(
                f"{path} is a symbolic link that leads out of {root}, and what lies there may "
                "belong to something else; remove the link"
            )
    own.add(folder)


def media_type(name: str) -> str:
    """Return the Content-Type of what lies under a name, chunks of pictures left out."""
    if re.search(_JSON, name):
        return "application/json"
    return _MEDIA_TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")  # noqa: PTH122
