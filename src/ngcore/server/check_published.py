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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message
    from pathlib import Path

_TIMEOUT_SECONDS = 20
_MOST_BYTES = 1 << 24
_BUCKETS = {"gs": "https://storage.googleapis.com/{}", "s3": "https://{}.s3.amazonaws.com"}
_LOCAL = ("localhost", "127.0.0.1", "::1")


def check_published(folder: Path, base: str, viewer: str) -> list[str]:
    """Return what is wrong with the volumes of a folder where they are published, one line each.

    Parameters
    ----------
    folder : Path
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


def _faults(path: Path, place: str, origin: str) -> Iterator[str]:
    try:
        status, headers, body = _fetch(f"{place}/info", {"Origin": origin})
    except OSError as error:
        yield f"info can't be fetched: {error}; check the URL, and that its server is running"
        return
    if status != http.client.OK:
        yield f"info can't be fetched: HTTP status {status}; check the URL, and access rights"
        return
    if _members(body) != _members((path / "info").read_bytes()):
        yield "info is another one than that here; publish the volume again"
    allowed = headers.get("Access-Control-Allow-Origin")
    if allowed not in ("*", origin):
        yield (
            f"no CORS: Access-Control-Allow-Origin is {allowed!r}, not '*'; see "
            "`ngcore server-config`"
        )
    name = _file_for_ranges(path)
    try:
        status, headers, body = _fetch(
            f"{place}/{quote(name)}", {"Range": "bytes=1-2", "Origin": origin}
        )
    except OSError as error:
        yield f"Range of {name} can't be fetched: {error}"
        return
    if status != http.client.PARTIAL_CONTENT:
        yield f"no Range: {name} gives HTTP status {status}, not 206, for a part of it"
        return
    size = (path / name).stat().st_size
    with (path / name).open("rb") as file:
        file.seek(1)
        expected = file.read(2)
    if headers.get("Content-Range") != f"bytes 1-2/{size}" or body != expected:
        yield f"Range: {name} gives other bytes than those asked for; publish the volume again"


def _file_for_ranges(path: Path) -> str:
    """Return the name of a shard, or of another file that is not compressed."""
    shard = next((x for x in sorted(path.glob("*/*.shard")) if x.stat().st_size > 2), None)
    return "info" if shard is None else shard.relative_to(path).as_posix()


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
