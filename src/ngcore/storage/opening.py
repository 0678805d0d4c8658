"""Which store a path or URL means, and what finds and puts a scale's chunks in it.

Stores of URLs, and readers and writers of chunks, are imported where they are needed: few runs
need all of them.
"""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ngcore.errors import DestinationError, InputError, MissingExtraError
from ngcore.precomputed.encodings import make_encoding
from ngcore.storage.base import Store
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage.base import ChunkReader, ChunkWriter, Layout, ReadableStore


_ONE_SLASH = re.compile(r"(?:https?|s3|gs|az):/(?!/)")
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


def place_in(place: str | os.PathLike[str], name: str) -> str:
    """Return the path or URL of what lies in a place under a name."""
    text = os.fspath(place)
    return f"{text.rstrip('/')}/{name}" if is_url(text) else os.path.join(text, name)  # noqa: PTH118


def split_place(place: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the place, a path or URL, in which a file lies, and its name there."""
    text = os.fspath(place)
    if not is_url(text):
        text = text.rstrip(os.sep)
        return os.path.dirname(text) or ".", os.path.basename(text)  # noqa: PTH119, PTH120
    before, mark, query = text.partition("?")
    parent, _, name = before.rstrip("/").rpartition("/")
    return f"{parent}{mark}{query}", unquote(name) if is_http(text) else name


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
        There are no such URLs, or one lost a slash, as it does when it is made a path.
    """
    text = os.fspath(path)
    if _ONE_SLASH.match(text) and not os.path.lexists(text.partition("/")[0]):
        url = text.replace(":/", "://", 1)
        raise InputError(
            f"{text!r} has one slash too few; pass {url!r}, as text and not as a path"
        )
    zipped = parts_of_zip(text)
    if zipped is not None:
        from ngcore.storage.zip_store import ZipStore

        outer, folder = zipped
        parent, name = split_place(outer)
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


def parts_of_zip(text: str) -> tuple[str, str] | None:
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
        raise InputError(f"{text}: after a | only zip: can be read; check the URL")
    return outer, unquote(layers[0].removeprefix(_ZIP))


def writable_store(path: str | os.PathLike[str]) -> Store:
    """Return the store of a folder or bucket that is to be written.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    MissingExtraError, InputError
        As `open_store` does.
    DestinationError
        Only reading is possible, such as from a web server.
    """
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
            f"{url} can't be opened: URLs begin with http, https, s3, gs or az; check it"
        )
    if not rest.strip("/"):
        raise InputError(f"{url} has no bucket; pass one such as {scheme}://bucket/brain")
    from ngcore.storage.objects.store import ObjectStore

    module, name = _BUCKETS[scheme]
    opener = getattr(import_module(f"ngcore.storage.objects.{module}"), name)
    return ObjectStore(url, opener)


def open_chunks(store: ReadableStore, info: VolumeInfo, scale_index: int) -> ChunkReader:
    """Return what finds the chunks of a scale, sharded or in whichever layout each lies.

    Parameters
    ----------
    store : Store
        The volume's folder.
    info : VolumeInfo
    scale_index : int

    Raises
    ------
    InputError
        ngcore can't read the scale's encoding.
    """
    scale = info.scales[scale_index]
    x, y, z = (min(pair) for pair in zip(scale.chunk_size, scale.size, strict=True))
    max_size = make_encoding(info, scale).max_encoded_size((x, y, z, info.num_channels))
    if scale.sharding is not None:
        from ngcore.storage.sharded_reader import ShardedReader

        return ShardedReader(store, scale, scale.sharding, max_size)
    from ngcore.storage.chunk_files import ChunkFileReader

    return ChunkFileReader(store, scale, max_size)


def create_chunks(
    store: Store,
    info: VolumeInfo,
    scale_index: int,
    *,
    layout: Layout = "flat",
    gzip: bool = False,
    memory: int = 64 << 20,
    spool_dir: str | os.PathLike[str] | None = None,
    may_be_stale: bool | None = None,
    written: Callable[[str], None] | None = None,
    in_background: bool = False,
) -> ChunkWriter:
    """Return what puts the chunks of a scale where they belong.

    Parameters
    ----------
    store : Store
        The volume's folder.
    info : VolumeInfo
    scale_index : int
    layout : "flat" or "nested"
    gzip : bool
        How chunk files lie, and whether they are gzipped. A sharded scale says it itself, and
        needs neither.
    memory : int, in bytes
        Sharded: how much of encoded chunks may wait in memory for their shard to be complete.
    spool_dir : path, optional
        Sharded: where the temporary file for the others is; by default in a local store's folder,
        else in the system's folder for temporary files.
    may_be_stale : bool, optional
        Not sharded: whether there may be copies of chunks in another layout, to be removed;
        default look.
    written : callable, optional
        Called with the name of each file that is complete, from any thread.
    in_background : bool
        To a bucket, several are on their way while the next ones are made: what was written is
        safe when `finish` returns, not before.

    Raises
    ------
    InputError
        ngcore can't write the scale's encoding, or there is no such layout.
    """
    scale = info.scales[scale_index]
    if scale.sharding is None:
        from ngcore.storage.chunk_files import ChunkFileWriter

        return ChunkFileWriter(
            store,
            info,
            scale,
            layout,
            gzipped=gzip,
            may_be_stale=may_be_stale,
            written=written,
            in_background=in_background,
        )
    if spool_dir is None and isinstance(store, LocalStore) and store.path.is_dir():
        spool_dir = store.path
    folder = Path(spool_dir) if spool_dir is not None else None
    from ngcore.storage.sharded_writer import ShardedWriter

    return ShardedWriter(
        store,
        scale,
        scale.sharding,
        memory=memory,
        spool_dir=folder,
        written=written,
        in_background=in_background,
    )
