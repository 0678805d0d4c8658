"""A volume on a web server; only read.

Chunk files are fetched whole, compressed as they lie (``Content-Encoding: gzip``), and
decompressed here, in bounded memory. Shards are fetched in ranges. A server that ignores ranges is
read from the start of the file up to what is wanted, and never further.

https://www.rfc-editor.org/rfc/rfc9110
"""

from __future__ import annotations

import asyncio
import logging
import posixpath
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
import fsspec
import fsspec.asyn
import yarl

from ngcore.errors import FormatError, InputError, StorageError
from ngcore.storage.base import ReadableStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

logger = logging.getLogger(__name__)

_ABSENT = (404, 410)
_WORTH_ANOTHER_TRY = (408, 429, 500, 502, 503, 504)
_WAITS = (0.1, 0.5)
"""Seconds before the second and the third try."""
_CONNECT_SECONDS, _READ_SECONDS = 30.0, 60.0
_PIECE = 1 << 16
_GZIP_WRAPPER = 31
_WHOLE = {"Accept-Encoding": "gzip"}
_IDENTITY = {"Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes
    ----------
    status : int
    headers : mapping
        By names in lower case.
    body : bytes
        Decompressed, and no more than was wanted; `is_cut` where there would be more.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_cut: bool = False


class _TryAgainError(Exception):
    """The server is out of order, perhaps only for now."""


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
        It is no URL.
    """

    def __init__(self, url: str, *, read_seconds: float = _READ_SECONDS) -> None:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError as error:
            raise InputError(f"{url} is no URL: {error}; check it") from error
        if not parts.hostname:
            raise InputError(
                f"{url} is no URL: it names no server; pass one such as https://example.org/brain"
            )
        self.location = url.rstrip("/")
        # What people paste has spaces; what is quoted already stays.
        self._parts = parts._replace(path=quote(parts.path, safe="/%:@!$&'()*+,;=~"))
        self._is_warned = False
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=read_seconds
        )
        # fsspec keeps one session, and a thread for it, for all stores with the same options.
        self._files = fsspec.filesystem(
            "http",
            client_kwargs={"timeout": timeout, "auto_decompress": False, "trust_env": True},
        )

    def __repr__(self) -> str:
        return f"HttpStore({self.location!r})"

    def get(self, name: str, start: int = 0, stop: int | None = None) -> bytes | None:
        """Return a range of a file; see `ReadableStore.get`."""
        if stop is not None and stop <= start:
            return None if self.size(name) is None else b""
        last = "" if stop is None else stop - 1
        headers = {**_IDENTITY, "Range": f"bytes={start}-{last}"}
        answer = self.ask(name, headers, limit=None if stop is None else stop - start, skip=start)
        if answer.status == 416:
            return b""
        if answer.status == 200 and start and not self._is_warned:
            self._is_warned = True
            logger.warning(
                "%s ignores ranges: files are read from their start, which is slow",
                self.location,
            )
        return self._body(name, answer)

    def get_whole(self, name: str, max_size: int) -> bytes | None:
        """Return a file, decompressed if it was sent compressed; see `ReadableStore.get_whole`."""
        answer = self.ask(name, _WHOLE, limit=max_size)
        if answer.is_cut:
            raise FormatError(f"larger than the {max_size} bytes expected")
        return self._body(name, answer)

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
        if self._body(name, answer) is None:
            return None
        raise StorageError(
            f"{self.url_of(name)}: the server doesn't tell its size; ask who runs it"
        )

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
            How many bytes are wanted at the most, decompressed.
        skip : int
            How many bytes to leave out at the start, where the server ignores a range.

        Raises
        ------
        FormatError
            What was sent compressed is damaged.
        StorageError
            The server can't be reached, or doesn't answer in time.
        """
        url = self.url_of(name)
        try:
            answer: Answer = fsspec.asyn.sync(
                self._files.loop, self._ask, url, dict(headers), method, limit, skip
            )
        except zlib.error as error:
            raise FormatError(f"what was sent as gzip is damaged: {error}") from error
        except aiohttp.InvalidURL as error:
            raise InputError(f"{url} is no URL; check it") from error
        except _TryAgainError as error:
            raise StorageError(
                f"can't read {url}: {error}; check the URL and the network"
            ) from error
        return answer

    def url_of(self, name: str) -> str:
        """Return the URL of a file."""
        path = posixpath.normpath(f"{self._parts.path.rstrip('/')}/{quote(name, safe='/:')}")
        return urlunsplit(self._parts._replace(path=path, fragment=""))

    def _body(self, name: str, answer: Answer) -> bytes | None:
        if answer.status in _ABSENT:
            return None
        if answer.status not in (200, 206):
            is_refused = answer.status in (401, 403)
            hint = "it may be private, or not there" if is_refused else "try again later"
            raise StorageError(f"can't read {self.url_of(name)}: HTTP {answer.status}; {hint}")
        return answer.body

    async def _ask(
        self, url: str, headers: dict[str, str], method: str, limit: int | None, skip: int
    ) -> Answer:
        session = await self._files.set_session()
        for wait in (*_WAITS, None):
            try:
                return await self._ask_once(session, url, headers, method, limit, skip)
            except (aiohttp.InvalidURL, aiohttp.TooManyRedirects) as error:
                if isinstance(error, aiohttp.InvalidURL):
                    raise
                raise _TryAgainError("it redirects without end") from error
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                if wait is None or isinstance(error, asyncio.TimeoutError):
                    raise _TryAgainError(_reason(error)) from error
            except _TryAgainError:
                if wait is None:
                    raise
            await asyncio.sleep(wait)
        raise AssertionError("the last try returns or raises")

    async def _ask_once(
        self,
        session: aiohttp.ClientSession,
        url: str,
        headers: dict[str, str],
        method: str,
        limit: int | None,
        skip: int,
    ) -> Answer:
        async with session.request(
            method, yarl.URL(url, encoded=True), headers=headers, allow_redirects=True
        ) as response:
            if response.status in _WORTH_ANOTHER_TRY:
                raise _TryAgainError(f"HTTP {response.status}")
            found = {key.lower(): value for key, value in response.headers.items()}
            if method == "HEAD" or response.status not in (200, 206):
                return Answer(response.status, found, b"")
            is_range = response.status == 206
            is_gzip = found.get("content-encoding", "identity").lower() in ("gzip", "x-gzip")
            if is_range and is_gzip:
                raise _TryAgainError("it sends a range of compressed bytes (Content-Encoding)")
            pieces = response.content.iter_chunked(_PIECE)
            body, is_cut = await _read(
                _decompressed(pieces) if is_gzip else pieces, limit, 0 if is_range else skip
            )
            if is_cut:
                response.close()  # the rest is not wanted
            return Answer(response.status, found, body, is_cut)


async def _read(pieces: AsyncIterator[bytes], limit: int | None, skip: int) -> tuple[bytes, bool]:
    """Return so many bytes after `skip`, and whether there are more."""
    kept = []
    size = 0
    async for piece in pieces:
        part = piece[skip:] if skip else piece
        skip = max(0, skip - len(piece))
        if limit is not None and size + len(part) > limit:
            kept.append(part[: limit - size])
            return b"".join(kept), True
        kept.append(part)
        size += len(part)
    return b"".join(kept), False


async def _decompressed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what gzip decompresses to, a little at a time."""
    stream = zlib.decompressobj(_GZIP_WRAPPER)
    async for piece in pieces:
        data = piece
        while data:
            yield stream.decompress(data, 16 * _PIECE)
            data = stream.unconsumed_tail
    if not stream.eof:
        raise zlib.error("it ends too early")


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return "the server doesn't answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"can't connect to {error.host}:{error.port}: {error.strerror or error.os_error}"
    return str(error) or type(error).__name__
