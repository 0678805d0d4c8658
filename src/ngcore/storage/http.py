"""A volume on a web server; only read.

Chunk files are fetched whole, compressed as they lie (``Content-Encoding``), and decompressed
here, in bounded memory. Shards are fetched in ranges. A server that ignores ranges is read from
the start of the file up to what is wanted, and never further.

https://www.rfc-editor.org/rfc/rfc9110
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import time
import urllib.request
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from ngcore.codecs.content import decode_content
from ngcore.errors import FormatError, InputError, StorageError
from ngcore.storage.base import ReadableStore, max_stored_size
from ngcore.storage.http_client import (
    CONNECT_SECONDS,
    CONNECTIONS,
    Answer,
    NoAnswerError,
    Origin,
    SilenceError,
    Wanted,
    fetch,
    origin_of,
    taken,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

_ABSENT = (404, 410)
_MOVED = (301, 302, 303, 307, 308)
_WORTH_ANOTHER_TRY = (408, 429, 500, 502, 503, 504)
_WAITS = (0.1, 0.5, 1.5)
"""Seconds before the second, the third and the last try."""
_LONGEST_WAIT = 10.0
_READ_SECONDS = 60.0
_REDIRECTS = 10
_PIECE = 1 << 20
_MAX_DECODED = 1 << 30
_QUOTED = "/%:@!$&'()*+,;=~?"
_WHOLE = {"Accept-Encoding": "gzip"}
_IDENTITY = {"Accept-Encoding": "identity"}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class _TryAgainError(Exception):
    """The server is out of order, perhaps only for now."""

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.wait = wait


class _AstrayError(NoAnswerError):
    """It refers to what is no place to read from, or from one place to the next without end."""


class HttpStore(ReadableStore):
    """A folder on a web server.

    Parameters
    ----------
    url : str
        Of the folder; its query, if it has one, is sent with every request.
    read_seconds : float
        How long the server may be silent.

    Raises
    ------
    InputError
        It is not a URL.
    """

    is_remote = True

    def __init__(self, url: str, *, read_seconds: float = _READ_SECONDS) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InputError(f"{url} is not a URL: {error}; check it") from error
        if not parts.hostname:
            raise InputError(
                f"{url} is not a URL: it names no server; pass one such as "
                "https://example.org/brain"
            )
        self.location = url.rstrip("/")
        self._origin = origin_of(parts.scheme, parts.hostname, port)
        self._headers: dict[str, str] = {}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers = urllib3.util.make_headers(basic_auth=user)
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            parts = parts._replace(netloc=host if port is None else f"{host}:{port}")
        # What people paste has spaces; what is quoted already stays.
        self._parts = parts._replace(path=quote(parts.path, safe=_QUOTED.rstrip("?")))
        self._is_warned = False
        self._read_seconds = read_seconds

    def __repr__(self) -> str:
        return f"HttpStore({self.location!r})"

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return a range of a file; see `ReadableStore.get`."""
        if stop is not None and stop <= start:
            return None if self.size(name) is None else b""
        headers = dict(_IDENTITY)
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        limit = None if stop is None else stop - start
        answer = self.ask(name, headers, limit=limit, skip=start)
        if answer.status == 416:
            return b""
        if self._is_absent(name, answer):
            return None
        encoding = answer.headers.get("content-encoding")
        if answer.status == 206:
            self._check_range(name, answer, start, stop)
        elif encoding not in (None, "identity"):
            # It was asked not to. What it sends has to be had from its start, and decompressed.
            whole = self.get_whole(name, _MAX_DECODED)
            return None if whole is None else whole[start:stop]
        elif start and not self._is_warned:
            self._is_warned = True
            logger.warning(
                "%s ignores ranges: files are read from their start, which is slow",
                self.location,
            )
        return answer.body

    def get_whole(self, name: str, max_size: int) -> bytes | None:
        """Return a file, decompressed if it was sent compressed; see `ReadableStore.get_whole`."""
        answer = self.ask(name, _WHOLE, limit=max_stored_size(max_size))
        if self._is_absent(name, answer):
            return None
        encoding = answer.headers.get("content-encoding")
        is_plain = encoding in (None, "identity")
        if answer.is_cut or (is_plain and len(answer.body) > max_size):
            raise FormatError(f"larger than the {max_size} bytes expected")
        if is_plain:
            return answer.body
        try:
            return decode_content(answer.body, encoding, max_size=max_size)
        except FormatError as error:
            raise FormatError(f"{self.url_of(name)}: {error}") from error

    def size(self, name: str) -> int | None:
        """Return the size of a file; see `ReadableStore.size`."""
        answer = self.ask(name, _IDENTITY, method="HEAD")
        if answer.status in _ABSENT:
            return None
        length = answer.headers.get("content-length", "")
        if (
            answer.status == 200
            and length.isdigit()
            and not answer.headers.get("content-encoding")
        ):
            return int(length)
        answer = self.ask(name, {**_IDENTITY, "Range": "bytes=0-0"}, limit=1)
        total = answer.headers.get("content-range", "").rpartition("/")[2]
        if answer.status == 206 and total.isdigit():
            return int(total)
        if answer.status == 416:
            return 0
        if self._is_absent(name, answer):
            return None
        raise StorageError(
            f"{self.url_of(name)}: the server doesn't send its size; ask whoever runs the server"
        )

    def get_sized(self, name: str, start: int, stop: int) -> tuple[bytes, int] | None:
        """Return a range and the size of its file; see `ReadableStore.get_sized`."""
        headers = {**_IDENTITY, "Range": f"bytes={start}-{stop - 1}"}
        answer = self.ask(name, headers, limit=stop - start, skip=start)
        total = answer.headers.get("content-range", "").rpartition("/")[2]
        if answer.status == 206 and total.isdigit():
            self._check_range(name, answer, start, stop)
            return answer.body, int(total)
        if answer.status != 416 and self._is_absent(name, answer):
            return None
        return super().get_sized(name, start, stop)

    def ask(
        self,
        name: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        limit: int | None = None,
        skip: int = 0,
    ) -> Answer:
        """Send a request, more than once where the server is out of order.

        Parameters
        ----------
        name : str
        headers : mapping
        method : str
        limit : int, optional
            How many bytes are wanted at most.
        skip : int
            How many bytes to leave out at the start, where the server ignores a range.

        Raises
        ------
        StorageError
            The server can't be reached, or doesn't answer in time.
        """
        wanted = Wanted(limit, skip, self._read_seconds)
        for wait in (*_WAITS, None):
            try:
                return self._ask_once(method, name, {**self._headers, **headers}, wanted)
            except (NoAnswerError, _TryAgainError) as error:
                if wait is None or isinstance(error, SilenceError | _AstrayError):
                    raise StorageError(
                        f"can't read {self.url_of(name)}: {error}; check the URL and the network"
                    ) from error
                time.sleep(max(wait, getattr(error, "wait", 0)))
        raise AssertionError("the last try returns or raises")

    def url_of(self, name: str) -> str:
        """Return the URL of a file."""
        return urlunsplit(self._parts._replace(path=self._path_of(name), fragment=""))

    def _path_of(self, name: str) -> str:
        path = f"{self._parts.path.rstrip('/')}/{quote(name, safe='/:')}"
        # Most names need no more.
        return posixpath.normpath(path) if "/." in path or "//" in path else path

    def _ask_once(self, method: str, name: str, headers: dict[str, str], wanted: Wanted) -> Answer:
        origin, target = self._origin, self._path_of(name)
        if self._parts.query:
            target = f"{target}?{quote(self._parts.query, safe=_QUOTED)}"
        for _ in range(_REDIRECTS + 1):
            send = _send_by_proxy if _is_proxied(os.getpid(), origin.host) else fetch
            answer = send(origin, method, target, headers, wanted)
            if answer.status in _WORTH_ANOTHER_TRY:
                after = answer.headers.get("retry-after", "")
                wait = min(float(after), _LONGEST_WAIT) if after.isdigit() else 0
                raise _TryAgainError(f"HTTP {answer.status}", wait)
            place = answer.headers.get("location")
            if answer.status not in _MOVED or not place:
                encoding = answer.headers.get("content-encoding", "identity")
                if answer.status == 206 and encoding != "identity":
                    raise _TryAgainError("it sends a range of compressed bytes (Content-Encoding)")
                return answer
            before = origin
            origin, target = _moved_to(f"{origin.scheme}://{origin.netloc}{target}", place)
            if origin != before:
                headers.pop("authorization", None)  # meant for the first server alone
        raise _AstrayError("it redirects without end")

    def _is_absent(self, name: str, answer: Answer) -> bool:
        """Whether the answer says that nothing is there.

        Object stores tell those who may not list a bucket 403 of what is absent. Of `info`, which
        must be there, that is an error, and so it is where the URL has a token, which may expire.
        """
        if answer.status in _ABSENT:
            return True
        is_info = name.rpartition("/")[2] == "info"
        if answer.status == 403 and not is_info and not self._parts.query:
            return True
        if answer.status not in (200, 206):
            is_refused = answer.status in (401, 403)
            hint = "it may be private or missing" if is_refused else "try again later"
            raise StorageError(f"can't read {self.url_of(name)}: HTTP {answer.status}; {hint}")
        return False

    def _check_range(self, name: str, answer: Answer, start: int, stop: int | None) -> None:
        """Refuse other bytes than those that were asked for."""
        header = answer.headers.get("content-range")
        is_length = stop is not None and len(answer.body) == stop - start
        if header is None and is_length and not answer.is_cut:
            return
        match = _CONTENT_RANGE.fullmatch((header or "").strip())
        wanted = f"bytes {start}-{'' if stop is None else stop - 1}"
        if match is not None:
            first, last = int(match[1]), int(match[2])
            ends = [last + 1] if match[3] == "*" else [int(match[3])]
            is_right = (
                first == start
                and len(answer.body) == last - first + 1
                and (last + 1 == stop or last + 1 in ends)
                and (stop is None or last < stop)
            )
            if is_right and not answer.is_cut:
                return
        raise StorageError(
            f"can't read {self.url_of(name)}: the server was asked for {wanted} and sent "
            f"{len(answer.body)} bytes with Content-Range {header!r}; tell whoever runs the "
            "server"
        )


def _moved_to(url: str, place: str) -> tuple[Origin, str]:
    """Return the server and the target that an answer refers to."""
    try:
        parts = urlsplit(urljoin(url, place))
        origin = origin_of(parts.scheme, parts.hostname or "", parts.port)
    except ValueError as error:  # InputError is one
        raise _AstrayError(f"it refers to {place[:200]!r}, which is on no web server") from error
    target = quote(parts.path or "/", safe=_QUOTED)
    if parts.query:
        target = f"{target}?{quote(parts.query, safe=_QUOTED)}"
    return origin, target


def connections() -> urllib3.PoolManager:
    """Return the connections of this process, past or through a proxy as the environment says."""
    return _pool(os.getpid())


def _send_by_proxy(
    origin: Origin, method: str, target: str, headers: Mapping[str, str], wanted: Wanted
) -> Answer:
    """Do as `fetch` through the proxy of the environment."""
    try:
        response = connections().request(
            method,
            f"{origin.scheme}://{origin.netloc}{target}",
            headers=headers,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=wanted.seconds),
        )
        with closing(response):
            found = {key.lower(): value for key, value in response.headers.items()}
            if method == "HEAD" or response.status not in (200, 206):
                response.drain_conn()
                return Answer(response.status, found, b"")
            skip = 0 if response.status == 206 else wanted.skip
            pieces = response.stream(_PIECE, decode_content=False)
            body, is_cut = taken(pieces, wanted.limit, skip)
            if not is_cut:
                response.release_conn()
            return Answer(response.status, found, body, is_cut)
    except ReadTimeoutError as error:
        raise SilenceError("the server doesn't answer in time") from error
    except (HTTPError, OSError) as error:
        raise NoAnswerError(f"the proxy can't reach it: {str(error).splitlines()[0]}") from error


@cache
def _is_proxied(_process: int, host: str) -> bool:
    """Whether requests to a server go through a proxy, as the environment says."""
    return _proxy() is not None and not urllib.request.proxy_bypass(host)


def _proxy() -> str | None:
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("http") or proxies.get("all")
    return proxy if proxy and proxy.startswith(("http://", "https://")) else None


@cache
def _pool(_process: int) -> urllib3.PoolManager:
    """Return the connections of this process, which a fork must not share."""
    proxy = _proxy()
    direct = urllib3.PoolManager(num_pools=16, maxsize=CONNECTIONS)
    if proxy is None:
        return direct
    return _ProxiedPool(direct, urllib3.ProxyManager(proxy, maxsize=CONNECTIONS))


class _ProxiedPool(urllib3.PoolManager):
    """Goes through a proxy, but to hosts that the environment excepts (``no_proxy``)."""

    def __init__(self, direct: urllib3.PoolManager, proxied: urllib3.PoolManager) -> None:
        super().__init__()
        self._direct, self._proxied = direct, proxied

    def request(self, method: str, url: str, **options: object) -> urllib3.BaseHTTPResponse:  # type: ignore[override]
        """Send a request the one way or the other."""
        is_excepted = urllib.request.proxy_bypass(urlsplit(url).hostname or "")
        pool = self._direct if is_excepted else self._proxied
        return pool.request(method, url, **options)  # type: ignore[arg-type]
