"""Which store a path or URL means. Stores of URLs are imported where they are needed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.errors import MissingExtraError
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from ngcore.storage.base import ReadableStore

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_PREFIX = "precomputed://"
_WEB = ("http://", "https://")


def is_url(path: object) -> bool:
    """Whether `path` is a URL and no path."""
    return isinstance(path, str) and "://" in path


def url_of_path(path: Path) -> str | None:
    """Return the URL that was taken for a path: ``gs:/bucket`` is what is left of it, and no path.

    None where it is a path, if only because a folder here is called so.
    """
    scheme = _SCHEME.match(path.as_posix())
    if scheme is None or Path(scheme[0]).exists():
        return None
    return f"{scheme[0]}/{path.as_posix()[scheme.end() :]}"


def is_http(path: object) -> bool:
    """Whether `path` is the URL of something on a web server."""
    return isinstance(path, str) and path.removeprefix(_PREFIX).lower().startswith(_WEB)


def open_store(path: str | os.PathLike[str]) -> ReadableStore:
    """Return the store of a volume.

    Parameters
    ----------
    path : str or path
        A folder; or a URL, as a browser or as Neuroglancer (``precomputed://``) takes it: http,
        https, or whatever fsspec has a backend for, such as ``gs://`` and ``s3://``.

    Raises
    ------
    MissingExtraError
        A URL of this kind needs a package that is not installed.
    InputError
        There are no such URLs.
    """
    text = os.fspath(path)
    if not is_url(text):
        return LocalStore(text)
    url = text.removeprefix(_PREFIX)
    try:
        if is_http(url):
            from ngcore.storage.http import HttpStore

            return HttpStore(url)
        from ngcore.storage.fsspec_store import FsspecStore

        return FsspecStore(url)
    except ImportError as error:
        raise MissingExtraError(
            f"reading {text} needs a package that is not installed ({error}); "
            "pip install 'ngcore-neuroglancer[cloud]'"
        ) from error
