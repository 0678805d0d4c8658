"""Which names a store takes, and what kind of file a name says it is."""

from __future__ import annotations

import os
import posixpath
import re

from ngcore.errors import InputError

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


def media_type(name: str) -> str:
    """Return the Content-Type of what lies under a name, chunks of pictures left out."""
    if re.search(_JSON, name):
        return "application/json"
    return _MEDIA_TYPES.get(os.path.splitext(name)[1].lower(), "application/octet-stream")  # noqa: PTH122
