"""A volume on a web server; only read.

Chunk files are fetched whole, compressed as they lie (``Content-Encoding``), and decompressed
here, in bounded memory. Shards are fetched in ranges. A server that ignores ranges is read from
the start of the file up to what is wanted, and never further.

https://www.rfc-editor.org/rfc/rfc9110
"""

from __future__ import annotations

import itertools
import logging
import posixpath
import re
import time
from base64 import b64encode
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit, urlunsplit

from ngcore.codecs.content import decode_content
from ngcore.errors import FormatError, InputError, StorageError
from ngcore.storage.base import ReadableStore, max_stored_size
from ngcore.storage.http_proxy import fetch_by_proxy, is_proxied
from ngcore.storage.web_ahead import ask_ahead
from ngcore.storage.web_connections import (
    Answer,
    NoAnswerError,
    SilenceError,
    StaleError,
    Wanted,
    fetch,
    origin_of,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from ngcore.storage.web_connections import Origin, Sent

logger = logging.getLogger(__name__)

_ABSENT = (404, 410)
_MOVED = (301, 302, 303, 307, 308)
_WORTH_ANOTHER_TRY = (408, 429, 500, 502, 503, 504)
_WAITS = (0.1, 0.5, 1.5)
"""Seconds before the second, the third and the last try."""
_LONGEST_WAIT = 10.0
_READ_SECONDS = 60.0
_REDIRECTS = 10
_MAX_DECODED = 1 << 30
_QUOTED = "/%:@!$&'()*+,;=~?"
_WHOLE = {"Accept-Encoding": "gzip"}
_IDENTITY = {"Accept-Encoding": "identity"}
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class _TryAgainError(Exception):
    """The server is out of order, perhaps only for now."""

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.wait = wait


class _AstrayError(NoAnswerError):
    """It refers to what is no place to read from, or from one place to the next without end."""


class _Request(NamedTuple):
    """What is asked of a file: with which headers, how many bytes at most, from which on."""

    name: str
    headers: Mapping[str, str]
    limit: int | None
    skip: int


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
            url.encode()
        except UnicodeEncodeError as error:
            shown = url.encode(errors="backslashreplace").decode()
            raise InputError(
                f"{shown} is not a URL: it has bytes that are not UTF-8 text; write them as %XX"
            ) from error
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InputError(f"{url} is not a URL: {error}; check it") from error
        if not parts.hostname:
            raise InputError(
                f"{url} is not a URL: it has no server; pass one such as https://example.org/brain"
            )
        self.location = url.rstrip("/")
        self._origin = origin_of(parts.scheme, parts.hostname, port)
        self._headers: dict[str, str] = {}
        if parts.username is not None:
            # As https://www.rfc-editor.org/rfc/rfc7617 has it, in UTF-8.
            user = b":".join(map(unquote_to_bytes, (parts.username, parts.password or "")))
            self._headers = {"authorization": f"Basic {b64encode(user).decode()}"}
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            parts = parts._replace(netloc=host if port is None else f"{host}:{port}")
        # What people paste has spaces; what is quoted already stays.
        self._parts = parts._replace(path=quote(parts.path, safe=_QUOTED.rstrip("?")))
        self.asks_ahead = not is_proxied(self._origin)
        self._is_warned = False
        self._read_seconds = read_seconds

    def __repr__(self) -> str:
        return f"HttpStore({self.location!r})"

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return a range of a file; see `ReadableStore.get`."""
        if stop is not None and stop <= start:
            return None if self.size(name) is None else b""
        request = _range_of(name, start, stop)
        return self._part(self._answer_to(request), request, start, stop)

    def get_each(
        self, ranges: Iterable[tuple[str, int, int]], ahead: int
    ) -> Iterator[bytes | None]:
        """Yield ranges of files, several asked for at once; see `ReadableStore.get_each`."""
        first, again = itertools.tee(ranges)
        answers = self._ask_ahead((_range_of(*asked) for asked in first), ahead)
        with closing(answers):
            for (_, start, stop), (request, answer) in zip(again, answers, strict=True):
                yield self._part(answer, request, start, stop)

    def _part(
        self, answer: Answer, request: _Request, start: int, stop: int | None
    ) -> bytes | None:
        """Return a range of a file from the answer to a request for it."""
        name = request.name
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
        request = _Request(name, _WHOLE, max_stored_size(max_size), 0)
        return self._whole(self._answer_to(request), name, max_size)

    def get_each_whole(
        self, names: Iterable[str], max_size: int, ahead: int
    ) -> Iterator[bytes | None]:
        """Yield files, several asked for at once; see `ReadableStore.get_each_whole`."""
        limit = max_stored_size(max_size)
        answers = self._ask_ahead((_Request(name, _WHOLE, limit, 0) for name in names), ahead)
        with closing(answers):
            for request, answer in answers:
                yield self._whole(answer, request.name, max_size)

    def _whole(self, answer: Answer, name: str, max_size: int) -> bytes | None:
        """Return a file from the answer to a request for it."""
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

    def _answer_to(self, request: _Request, begun: Callable[[], Answer] | None = None) -> Answer:
        name, headers, limit, skip = request
        return self.ask(name, headers, limit=limit, skip=skip, begun=begun)

    def _ask_ahead(
        self, requests: Iterable[_Request], ahead: int
    ) -> Generator[tuple[_Request, Answer]]:
        """Yield requests and their answers; a request without a good one is sent again."""
        return ask_ahead(requests, ahead, send=self._sent, is_final=_is_final, ask=self._answer_to)

    def _sent(self, request: _Request) -> Sent | None:
        """Return a request that is on its way, None where it can't be sent now."""
        if is_proxied(self._origin):
            return None
        headers = {**self._headers, **request.headers}
        wanted = Wanted(request.limit, request.skip, self._read_seconds)
        try:
            return send(self._origin, "GET", self._target_of(request.name), headers, wanted)
        except NoAnswerError:
            return None

    def size(self, name: str) -> int | None:
        """Return the size of a file; see `ReadableStore.size`."""
        answer = self.ask(name, _IDENTITY, method="HEAD")
        if answer.status in _ABSENT:
            return None
        length = _number(answer.headers.get("content-length"))
        is_plain = answer.status == 200 and not answer.headers.get("content-encoding")
        if is_plain and length is not None:
            return length
        answer = self.ask(name, {**_IDENTITY, "Range": "bytes=0-0"}, limit=1)
        total = _total(answer)
        if answer.status == 206 and total is not None:
            return total
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
        total = _total(answer)
        if answer.status == 206 and total is not None:
            self._check_range(name, answer, start, stop)
            return answer.body, total
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
        begun: Callable[[], Answer] | None = None,
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
        begun : callable, optional
            Returns or raises what the first try brings, which is on its way already.

        Raises
        ------
        StorageError
            The server can't be reached, or doesn't answer in time.
        """
        wanted = Wanted(limit, skip, self._read_seconds)
        for wait in (*_WAITS, None):
            try:
                return self._ask_once(method, name, {**self._headers, **headers}, wanted, begun)
            except (NoAnswerError, _TryAgainError) as error:
                if wait is None or isinstance(error, SilenceError | _AstrayError):
                    raise StorageError(
                        f"can't read {self.url_of(name)}: {error}; check the URL and the network"
                    ) from error
                begun = None
                time.sleep(max(wait, getattr(error, "wait", 0)))
        raise AssertionError("the last try returns or raises")

    def url_of(self, name: str) -> str:
        """Return the URL of a file."""
        return urlunsplit(self._parts._replace(path=self._path_of(name), fragment=""))

    def _path_of(self, name: str) -> str:
        path = f"{self._parts.path.rstrip('/')}/{quote(name, '/:', errors='surrogatepass')}"
        # Most names need no more.
        return posixpath.normpath(path) if "/." in path or "//" in path else path

    def _target_of(self, name: str) -> str:
        query = self._parts.query
        path = self._path_of(name)
        return f"{path}?{quote(query, safe=_QUOTED)}" if query else path

    def _ask_once(
        self,
        method: str,
        name: str,
        headers: dict[str, str],
        wanted: Wanted,
        begun: Callable[[], Answer] | None,
    ) -> Answer:
        origin, target = self._origin, self._target_of(name)
        answer = None
        if begun is not None:
            with suppress(StaleError):
                answer = begun()
        for _ in range(_REDIRECTS + 1):
            if answer is None:
                ask = fetch_by_proxy if is_proxied(origin) else fetch
                answer = ask(origin, method, target, headers, wanted)
            if answer.status in _WORTH_ANOTHER_TRY:
                after = _number(answer.headers.get("retry-after")) or 0
                wait = min(after, _LONGEST_WAIT)
                raise _TryAgainError(f"HTTP {answer.status}", wait)
            place = answer.headers.get("location")
            if answer.status not in _MOVED or not place:
                encoding = answer.headers.get("content-encoding", "identity")
                if answer.status == 206 and encoding != "identity":
                    raise _TryAgainError("it sends a range of compressed bytes (Content-Encoding)")
                return answer
            # Each request has to be sent on: what is on its way ahead is no final answer.
            self.asks_ahead = False
            answer, before = None, origin
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


def _range_of(name: str, start: int, stop: int | None) -> _Request:
    """Return the request for a range of a file."""
    headers = dict(_IDENTITY)
    if start or stop is not None:
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
    return _Request(name, headers, None if stop is None else stop - start, start)


def _is_final(answer: Answer) -> bool:
    """Whether an answer says all that there is to say, and need not be asked for again."""
    if answer.status == 206:
        return answer.headers.get("content-encoding", "identity") == "identity"
    return answer.status not in _MOVED and answer.status not in _WORTH_ANOTHER_TRY


def _number(text: str | None) -> int | None:
    """Return the number that a header states, None where it is none."""
    return int(text) if text and text.isdecimal() and len(text) < 20 else None


def _total(answer: Answer) -> int | None:
    """Return the size of the file of which a range was sent, None where that is not said."""
    return _number(answer.headers.get("content-range", "").rpartition("/")[2])


def _moved_to(url: str, place: str) -> tuple[Origin, str]:
    """Return the server and the target that an answer refers to."""
    try:
        parts = urlsplit(urljoin(url, place))
        origin = origin_of(parts.scheme, parts.hostname or "", parts.port)
    except ValueError as error:  # InputError is one
        raise _AstrayError(
            f"it refers to {place[:200]!r}, which is not on a web server"
        ) from error
    target = quote(parts.path or "/", safe=_QUOTED)
    if parts.query:
        target = f"{target}?{quote(parts.query, safe=_QUOTED)}"
    return origin, target
