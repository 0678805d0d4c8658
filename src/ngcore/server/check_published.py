"""Whether a web server gives Neuroglancer what it needs: the same info, ranges, CORS headers."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.json_members import parse_object
from ngcore.server.access import origin_of
from ngcore.server.gallery import volumes_of
from ngcore.server.published import checked_base
from ngcore.storage import Store, open_store, parts_of_zip, split_place

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from email.message import Message

    from ngcore.storage import ReadableStore

_TIMEOUT_SECONDS = 20
_MOST_BYTES = 1 << 24
_BUCKETS = {"gs": "https://storage.googleapis.com/{}", "s3": "https://{}.s3.amazonaws.com"}
_LOCAL = ("localhost", "127.0.0.1", "::1")


def check_published(folder: str | os.PathLike[str], base: str, viewer: str) -> list[str]:
    """Return what is wrong with the volumes of a folder where they are published, one line each.

    Parameters
    ----------
    folder : path or URL
        A volume, or a folder of volumes.
    base : str
        The URL at which it is published.
    viewer : str
        The page that will read them.

    Raises
    ------
    InputError
        There is no volume, or URLs of this kind can't be checked.
    """
    url = _web_url(checked_base(base))
    faults = []
    parts = urlsplit(url)
    if viewer.startswith("https:") and parts.scheme == "http" and parts.hostname not in _LOCAL:
        faults.append(
            f"{url}: a viewer at https can't read http (mixed content); publish it at https"
        )
    for name, path in volumes_of(folder).items():
        place = url + (f"/{quote(name)}" if name else "")
        faults += [f"{place}: {fault}" for fault in _faults(path, place, origin_of(viewer))]
    return faults


def _web_url(base: str) -> str:
    scheme, _, rest = base.partition("://")
    if scheme in ("http", "https"):
        return base
    if scheme in _BUCKETS:
        bucket, _, key = rest.partition("/")
        return f"{_BUCKETS[scheme].format(bucket)}/{key}".rstrip("/")
    raise InputError(f"--check can't fetch {base!r}; pass its https URL")


def _faults(path: str, place: str, origin: str) -> Iterator[str]:
    if parts_of_zip(path) is not None:
        parent, name = split_place(path)
        yield from _range_faults(open_store(parent), name, place, origin)
        return
    store = open_store(path)
    try:
        status, headers, body = _fetch(f"{place}/info", {"Origin": origin})
    except OSError as error:
        yield f"info can't be fetched: {error}; check the URL, and that its server is running"
        return
    if status != http.client.OK:
        yield f"info can't be fetched: HTTP status {status}; check the URL, and access rights"
        return
    if _members(body) != _members(store.get("info") or b""):
        yield "info differs from the one here; publish the volume again"
    yield from _cors_faults(headers, origin)
    name = _file_for_ranges(store)
    yield from _range_faults(store, name, f"{place}/{quote(name)}", origin, checks_cors=False)


def _cors_faults(headers: Message, origin: str) -> Iterator[str]:
    allowed = headers.get("Access-Control-Allow-Origin")
    if allowed not in ("*", origin):
        yield (
            f"no CORS: Access-Control-Allow-Origin is {allowed!r}, not '*'; see "
            "`ngcore server-config`"
        )


def _range_faults(
    store: ReadableStore, name: str, url: str, origin: str, *, checks_cors: bool = True
) -> Iterator[str]:
    try:
        status, headers, body = _fetch(url, {"Range": "bytes=1-2", "Origin": origin})
    except OSError as error:
        yield f"Range of {name} can't be fetched: {error}"
        return
    if checks_cors:
        yield from _cors_faults(headers, origin)
    if status != http.client.PARTIAL_CONTENT:
        yield f"no Range: {name} gives HTTP status {status}, not 206, for a part of it"
        return
    whole = f"bytes 1-2/{store.size(name)}"
    if headers.get("Content-Range") != whole or body != store.get(name, 1, 3):
        yield f"Range: {name} sends other bytes than were asked for; publish the volume again"


def _file_for_ranges(store: ReadableStore) -> str:
    """Return the name of a shard, or of another file that is not compressed."""
    names = store.list() if isinstance(store, Store) else ()
    return next((x for x in names if x.endswith(".shard") and (store.size(x) or 0) > 2), "info")


def _members(document: bytes) -> object:
    try:
        return parse_object(document)
    except FormatError:
        return None


def _fetch(url: str, headers: dict[str, str]) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return answer.status, answer.headers, answer.read(_MOST_BYTES)
    except urllib.error.HTTPError as error:
        return error.code, error.headers, b""
    except (urllib.error.URLError, http.client.HTTPException, ValueError) as error:
        raise OSError(getattr(error, "reason", None) or error) from error
