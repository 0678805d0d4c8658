"""Which store a path or URL means. Stores of URLs are imported where they are needed."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ngcore.errors import DestinationError, InputError, MissingExtraError
from ngcore.storage.base import Store
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from ngcore.storage.base import ReadableStore

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
_PREFIX = "precomputed://"
_FILE = "file://"
_ZIP = "zip:"
_FORMATS = ("neuroglancer-precomputed:", "precomputed:")
_WEB = ("http://", "https://")
_BUCKETS = {
    "s3": ("services", "open_s3"),
    "gs": ("gcs_bucket", "open_gcs"),
    "az": ("services", "open_azure"),
    "memory": ("services", "open_memory"),
}


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
        https, ``s3://``, ``gs://`` or ``az://``.

    Raises
    ------
    MissingExtraError
        A URL needs a package that is not installed.
    InputError
        There are no such URLs.
    """
    text = os.fspath(path)
    zipped = _parts_of_zip(text)
    if zipped is not None:
        from ngcore.storage.zip_store import ZipStore

        outer, folder = zipped
        parent, name = _split(outer)
        return ZipStore(open_store(parent), name, folder)
    if not is_url(text):
        return LocalStore(text)
    url = text.removeprefix(_PREFIX)
    if url.startswith(_FILE):
        from urllib.request import url2pathname  # slow

        return LocalStore(url2pathname(url.removeprefix(_FILE)))
    try:
        if is_http(url):
            from ngcore.storage.http import HttpStore

            return HttpStore(url)
        return _bucket_store(url)
    except ImportError as error:
        raise MissingExtraError(
            f"{text} needs a package that is not installed ({error}); "
            "pip install 'ngcore-neuroglancer[cloud]'"
        ) from error


def _parts_of_zip(text: str) -> tuple[str, str] | None:
    """Return the path or URL of a zip file and the folder in it; None for what is none.

    Neuroglancer writes ``v.zip|zip:folder/|neuroglancer-precomputed:``.
    """
    if is_url(text):
        text = text.removeprefix(_PREFIX)
    elif os.path.lexists(text):
        return (text, "") if text.lower().endswith(".zip") and os.path.isfile(text) else None  # noqa: PTH113
    outer, *layers = text.split("|")
    layers = [layer for layer in layers if layer not in _FORMATS]
    if not layers:
        is_zip = is_url(outer) and outer.partition("?")[0].lower().endswith(".zip")
        return (outer, "") if is_zip else None
    if len(layers) > 1 or not layers[0].startswith(_ZIP):
        raise InputError(f"{text}: of what follows |, only zip: can be read; check it")
    return outer, unquote(layers[0].removeprefix(_ZIP))


def _split(path: str) -> tuple[str, str]:
    """Return the place in which a file lies, and its name there."""
    if not is_url(path):
        return os.path.dirname(path) or ".", os.path.basename(path)  # noqa: PTH119, PTH120
    before, mark, query = path.partition("?")
    parent, _, name = before.rpartition("/")
    return f"{parent}{mark}{query}", unquote(name)


def writable_store(path: str | os.PathLike[str]) -> Store:
    """Return the store of a folder or bucket that is to be written.

    Parameters
    ----------
    path : str or path
        Also a path that was made of a URL, in which two slashes are one.

    Raises
    ------
    MissingExtraError, InputError
        As `open_store` does.
    DestinationError
        Only reading is possible, such as from a web server.
    """
    if isinstance(path, Path):
        path = url_of_path(path) or path
    store = open_store(path)
    if isinstance(store, Store):
        return store
    raise DestinationError(
        f"{os.fspath(path)} can't be written: choose a folder, or a URL that begins with s3://, "
        "gs:// or az://"
    )


def _bucket_store(url: str) -> Store:
    scheme, _, rest = url.partition("://")
    if scheme not in _BUCKETS:
        raise InputError(
            f"{url} can't be opened: there are http, https, s3, gs and az URLs; check it"
        )
    if not rest.strip("/"):
        raise InputError(f"{url} names no bucket; pass one such as {scheme}://bucket/brain")
    from ngcore.storage.objects.store import ObjectStore

    module, name = _BUCKETS[scheme]
    opener = getattr(import_module(f"ngcore.storage.objects.{module}"), name)
    return ObjectStore(url, opener)
