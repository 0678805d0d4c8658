"""Buckets of Google's, through the JSON API, which its own tools and all emulators speak.

obstore takes the XML API, which emulators don't have.

https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import HTTPError

from ngcore.errors import MissingExtraError, StorageError
from ngcore.storage.http_proxy import connections
from ngcore.storage.objects.bucket import Bucket, StoredObject, failure
from ngcore.storage.objects.parts import PART_BYTES, known_size, pieces_of, room_for
from ngcore.storage.objects.settings import checked_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from typing_extensions import Buffer

_WAITS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds before each further try."""
_WORTH_ANOTHER_TRY = (408, 429, 500, 502, 503, 504)
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_BOUNDARY = "ngcore-part-of-an-upload"
_STORED = (200, 201)
_INCOMPLETE = 308
"""What the service answers as long as it waits for more of an upload in parts."""
_KEPT = re.compile(r"bytes=0-(\d{1,18})")
_FIELDS = "nextPageToken,prefixes,items(name,size)"
_OBJECT = "size,generation,contentEncoding"
_MEMBERS = {
    "Content-Type": "contentType",
    "Content-Encoding": "contentEncoding",
    "Cache-Control": "cacheControl",
}
_TIMEOUT = urllib3.Timeout(connect=10, read=120)


class GcsBucket(Bucket):
    """A bucket of Google's.

    Parameters
    ----------
    name : str
    endpoint : str
        Of the service, without a slash at its end.
    token : callable or None
        Returns what signs a request; None: nothing does.
    is_emulator : bool
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        token: Callable[[], str] | None,
        *,
        is_emulator: bool = False,
    ) -> None:
        self.url = f"gs://{name}"
        self.is_unsigned = token is None
        self._token = token
        self._is_emulator = is_emulator
        self._objects = f"{endpoint}/storage/v1/b/{quote(name, safe='')}/o"
        self._uploads = f"{endpoint}/upload/storage/v1/b/{quote(name, safe='')}/o"

    def read(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        *,
        max_size: int | None = None,
        must_be_allowed: bool = False,
    ) -> StoredObject | None:
        """Return an object or a range of it; see `Bucket.read`."""
        if stop is not None and start < stop and max_size is None and not must_be_allowed:
            return self._range(key, start, stop)
        known = self._head(key, must_be_allowed=must_be_allowed)
        if known is None or (max_size is not None and known.size > max_size):
            return known
        end = known.size if stop is None else min(stop, known.size)
        if start >= end:
            return known
        headers = {"Accept-Encoding": "gzip"}  # else what is gzip comes decompressed
        if (start, end) != (0, known.size):
            headers["Range"] = f"bytes={start}-{end - 1}"
        answer = self._ask("GET", self._url(key, alt="media"), "read", key, headers=headers)
        data = answer.data
        if answer.status == 200 and "Range" in headers:  # those that don't know ranges
            data = data[start:end]
        if answer.status == 404:
            return None
        if len(data) != end - start:
            raise StorageError(
                f"can't read {self.url}/{key}: asked for {end - start} bytes, but got "
                f"{len(data)}; try again"
            )
        return StoredObject(data, known.size, known.version, known.encoding)

    def _range(self, key: str, start: int, stop: int) -> StoredObject | None:
        headers = {"Accept-Encoding": "gzip", "Range": f"bytes={start}-{stop - 1}"}
        answer = self._ask("GET", self._url(key, alt="media"), "read", key, headers=headers)
        if answer.status == 416:
            return self._head(key)
        if answer.status == 404 or answer.status == 403:
            return None
        data = answer.data if answer.status == 206 else answer.data[start:stop]
        if answer.status == 206:
            size = int(answer.headers["Content-Range"].rpartition("/")[2])
        else:
            size = len(answer.data)
        return StoredObject(data[: stop - start], size, "")

    def head(self, key: str) -> StoredObject | None:
        """Return what is known of an object; see `Bucket.head`."""
        return self._head(key)

    def _head(self, key: str, *, must_be_allowed: bool = False) -> StoredObject | None:
        answer = self._ask(
            "GET", self._url(key, fields=_OBJECT), "read", key, must_be_allowed=must_be_allowed
        )
        if answer.status in (403, 404):
            return None
        return _stored(json.loads(answer.data))

    def write(self, key: str, parts: Iterable[Buffer], headers: Mapping[str, str]) -> None:
        """Store an object, in parts where it is large; see `Bucket.write`."""
        with room_for(parts):
            size = known_size(parts)
            if size is not None and size <= PART_BYTES:
                self._upload(key, tuple(parts), headers)
                return
            pieces = pieces_of(parts)
            first, second = next(pieces, b""), next(pieces, None)
            if second is None:
                self._upload(key, (first,), headers)
            else:
                self._upload_in_parts(key, itertools.chain((first, second), pieces), headers)

    def create(self, key: str, data: bytes, headers: Mapping[str, str]) -> str | None:
        """Store an object under a key that is free; see `Bucket.create`."""
        # Some emulators take no conditions.
        if self._is_emulator and self._head(key) is not None:
            return None
        return self._upload(key, (data,), headers, version="0")

    def replace(
        self, key: str, data: bytes, version: str, headers: Mapping[str, str]
    ) -> str | None:
        """Store an object over a version of it; see `Bucket.replace`."""
        return self._upload(key, (data,), headers, version=version)

    def _upload(
        self,
        key: str,
        parts: tuple[Buffer, ...],
        headers: Mapping[str, str],
        version: str | None = None,
    ) -> str | None:
        kind = headers.get("Content-Type", "application/octet-stream")
        head = (
            f"--{_BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
            f"{json.dumps(_members(key, headers))}\r\n"
            f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n"
        )
        # A tuple is sent without a copy, and can be sent again.
        views = [memoryview(part).cast("B") for part in parts]
        body = (head.encode(), *views, f"\r\n--{_BOUNDARY}--\r\n".encode())
        query = {"uploadType": "multipart", "name": key}
        if version is not None:
            query["ifGenerationMatch"] = version
        answer = self._ask(
            "POST",
            f"{self._uploads}?{urlencode(query)}",
            "write",
            key,
            headers={
                "Content-Type": f"multipart/related; boundary={_BOUNDARY}",
                "Content-Length": str(sum(map(len, body))),
            },
            body=body,
        )
        if answer.status == 412:
            # Perhaps by our own request, whose answer was lost.
            found = self.read(key, must_be_allowed=True)
            is_ours = answer.retries and found is not None and found.data == b"".join(views)
            return found.version if found is not None and is_ours else None
        self._check_stored(answer, key)
        return str(json.loads(answer.data).get("generation", ""))

    def _upload_in_parts(
        self, key: str, pieces: Iterator[Buffer], headers: Mapping[str, str]
    ) -> None:
        query = urlencode({"uploadType": "resumable", "name": key})
        answer = self._ask(
            "POST",
            f"{self._uploads}?{query}",
            "write",
            key,
            headers={"Content-Type": "application/json; charset=UTF-8"},
            body=json.dumps(_members(key, headers)).encode(),
        )
        self._check_stored(answer, key)
        session = answer.headers["Location"]
        try:
            offset, piece = 0, memoryview(next(pieces))
            for following in pieces:
                self._put_part(session, key, piece, offset, total=None)
                offset, piece = offset + piece.nbytes, memoryview(following)
            self._put_part(session, key, piece, offset, total=offset + piece.nbytes)
        except BaseException:
            with suppress(HTTPError, OSError):
                connections().request("DELETE", session, retries=False, timeout=_TIMEOUT)
            raise

    def _put_part(
        self, session: str, key: str, data: memoryview, offset: int, *, total: int | None
    ) -> None:
        """Send a part, and again what the service has not kept of it, until it has all.

        The last one has a total: the object is there when the service says so.
        """
        start, stop = offset, offset + data.nbytes
        whole = "*" if total is None else total
        for wait in (*_WAITS, None):
            sent = f"{start}-{stop - 1}" if start < stop else "*"  # nothing left: does it know?
            answer = self._ask(
                "PUT",
                session,
                "write",
                key,
                headers={"Content-Range": f"bytes {sent}/{whole}"},
                body=data[start - offset :],
            )
            if answer.status != _INCOMPLETE:
                self._check_stored(answer, key)
                return
            found = _KEPT.fullmatch(answer.headers.get("Range", ""))
            start = int(found[1]) + 1 if found else 0
            if start == stop and total is None:
                return
            if not offset <= start <= stop or wait is None:
                raise StorageError(
                    f"can't write {self.url}/{key}: the service has kept {start} of {stop} bytes "
                    "that were sent; try again"
                )
            time.sleep(wait)

    def _check_stored(self, answer: _Answer, key: str) -> None:
        """Refuse any answer but that something is stored."""
        if answer.status not in _STORED:
            raise StorageError(
                f"can't write {self.url}/{key}: HTTP {answer.status}, where 200 says that it is "
                "there; try again"
            )

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; see `Bucket.delete`."""
        for key in keys:
            self._ask("DELETE", self._url(key), "remove", key)

    def listed(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield keys below a folder with their sizes; see `Bucket.listed`."""
        for page in self._pages(folder, {}):
            yield from ((item["name"], int(item["size"])) for item in page.get("items", []))

    def entries(self, folder: str) -> Iterator[str]:
        """Yield what lies directly in a folder; see `Bucket.entries`."""
        for page in self._pages(folder, {"delimiter": "/"}):
            for name in (*page.get("prefixes", []), *(i["name"] for i in page.get("items", []))):
                yield name.rstrip("/").rpartition("/")[2]

    def _pages(self, folder: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        query = {**query, "prefix": f"{folder}/" if folder else "", "fields": _FIELDS}
        while True:
            answer = self._ask("GET", f"{self._objects}?{urlencode(query)}", "list", folder)
            page: dict[str, Any] = json.loads(answer.data)
            yield page
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def _url(self, key: str, **query: str) -> str:
        return f"{self._objects}/{quote(key, safe='')}" + (f"?{urlencode(query)}" if query else "")

    def _ask(
        self,
        method: str,
        url: str,
        action: str,
        key: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        must_be_allowed: bool = False,
    ) -> _Answer:
        """Send a request, again where the service is out of order; raise what is refused."""
        for number, wait in enumerate((*_WAITS, None)):
            signed = dict(headers or {})
            if self._token is not None:
                signed["Authorization"] = f"Bearer {self._token()}"
            status, reason = None, ""
            try:
                response = connections().request(
                    method,
                    url,
                    headers=signed,
                    body=body,
                    retries=False,
                    timeout=_TIMEOUT,
                    decode_content=False,
                )
                status = response.status
            except (HTTPError, OSError) as error:
                host = "/".join(url.split("/", 3)[:3])
                reason = f"can't connect to {host}, or it doesn't answer"
                cause: Exception | None = error
            else:
                if status not in _WORTH_ANOTHER_TRY:
                    return self._checked(response, number, action, key, must_be_allowed)
                reason, cause = f"HTTP {status}", None
            if wait is None:
                raise failure(self, action, key, reason, status, None) or AssertionError from cause
            time.sleep(wait)
        raise AssertionError("the last try returns or raises")

    def _checked(
        self,
        response: urllib3.BaseHTTPResponse,
        retries: int,
        action: str,
        key: str,
        must_be_allowed: bool,
    ) -> _Answer:
        status = response.status
        text = response.data[:2000].decode(errors="replace") if status >= 400 else ""
        code = None
        if status == 404 and (action in ("list", "write") or "bucket does not exist" in text):
            code = "NoSuchBucket"
        also = (_INCOMPLETE, 412, 416) if action == "write" else (412, 416)
        is_answer = status < 300 or status in also or (status == 404 and code is None)
        if not is_answer:
            reason = f"HTTP {status}" + (f" {code}" if code else "")
            error = failure(
                self, action, key, reason, status, code, must_be_allowed=must_be_allowed
            )
            if error is not None:
                raise error
        return _Answer(status, response.headers, response.data, retries)


class _Answer:
    """What the service said, and after how many further tries."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes, retries: int) -> None:
        self.status, self.headers, self.data, self.retries = status, headers, data, retries


def _members(key: str, headers: Mapping[str, str]) -> dict[str, str]:
    return {"name": key, **{_MEMBERS[name]: value for name, value in headers.items()}}


def _stored(members: Mapping[str, Any]) -> StoredObject:
    return StoredObject(
        b"",
        int(members.get("size", 0)),
        str(members.get("generation", "")),
        members.get("contentEncoding") or None,
    )


def open_gcs(name: str) -> Bucket:
    """Return a bucket of Google's, or of an emulator (``STORAGE_EMULATOR_HOST``)."""
    host = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if host and "://" not in host:
        host = f"http://{host}"
    if host:
        host = checked_endpoint(host, "STORAGE_EMULATOR_HOST")
    return _open(name, host)


@cache
def _open(name: str, host: str) -> Bucket:
    if host:
        return GcsBucket(name, host, None, is_emulator=True)
    return GcsBucket(name, "https://storage.googleapis.com", _signer() if _has_keys() else None)


def _has_keys() -> bool:
    if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return True
    folder = os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud"
    if (Path(folder).expanduser() / "application_default_credentials.json").is_file():
        return True
    try:  # a machine of Google's, whose role gives credentials
        return "Google" in Path("/sys/class/dmi/id/product_name").read_text()
    except OSError:
        return False


@cache
def _signer() -> Callable[[], str]:
    """Return what gives a token, which google-auth renews."""
    try:
        import google.auth
        import google.auth.exceptions
        import google.auth.transport.urllib3
    except ImportError as error:
        raise MissingExtraError(
            f"signing in to Google needs a package that is not installed ({error}); "
            "pip install 'ngcore-neuroglancer[cloud]'"
        ) from error
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.GoogleAuthError as error:
        raise StorageError(
            f"Google's credentials can't be used: {str(error).splitlines()[0]}; check them"
        ) from error
    request = google.auth.transport.urllib3.Request(urllib3.PoolManager())  # type: ignore[no-untyped-call]
    lock = threading.Lock()

    def token() -> str:
        with lock:
            if not credentials.valid:
                try:
                    credentials.refresh(request)  # type: ignore[no-untyped-call]
                except google.auth.exceptions.GoogleAuthError as error:
                    raise StorageError(
                        f"Google refuses the credentials: {str(error).splitlines()[0]}; check them"
                    ) from error
            return str(credentials.token)

    return token
