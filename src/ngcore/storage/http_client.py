"""Requests to web servers over connections that stay open.

It knows as much of HTTP/1.1 as reading files takes: GET and HEAD, bodies with a length, in pieces
or up to the end of the connection. Reading a volume is thousands of small requests, and a general
client takes several times the processor's time for each.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONNECT_SECONDS = 20.0
CONNECTIONS = 32
"""To one server, that wait for their next request."""

_BUFFER = 1 << 16
_MAX_HEAD = 1 << 16
_MAX_INTERIM = 16
"""Answers before the answer (1xx)."""
_MAX_DRAINED = 1 << 16
"""Bytes of a body that nobody wants, up to which it is read so that its connection stays."""
_AT_ONCE = 16 << 20
"""A body of more is taken in pieces: its length is only claimed."""
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?")
_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?")
_CUT = "the connection was cut"


class NoAnswerError(Exception):
    """A server can't be reached, or its answer can't be used; the message says why."""


class SilenceError(NoAnswerError):
    """It does not answer in time."""


class _StaleError(NoAnswerError):
    """A connection that had been used before was closed before anything came."""


class Origin(NamedTuple):
    """A server: ``http`` or ``https``, its name or address, and its port."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """As URLs and the header ``Host`` name it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


_PORTS = {"http": 80, "https": 443}


def origin_of(scheme: str, host: str, port: int | None) -> Origin:
    """Return a server, its name as it is asked for; InputError where it can't be a name."""
    if not host.isascii():
        with suppress(UnicodeError):
            host = host.encode("idna").decode("ascii")
    if scheme not in _PORTS or not _HOST.fullmatch(host):
        raise InputError(f"{scheme}://{host} is not the URL of a web server; check it")
    return Origin(scheme, host, _PORTS[scheme] if port is None else port)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes
    ----------
    status : int
    headers : mapping
        By names in lower case.
    body : bytes
        As it was sent, and no more than was wanted; `is_cut` where there would be more.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a body is wanted.

    Attributes
    ----------
    limit : int, optional
        How many bytes at most; default all.
    skip : int
        How many to leave out at the start, where the server answers with the whole file.
    seconds : float
        How long the server may be silent.
    """

    limit: int | None
    skip: int
    seconds: float


def fetch(
    origin: Origin, method: str, target: str, headers: Mapping[str, str], wanted: Wanted
) -> Answer:
    """Send one request, and return the answer, whatever it says.

    Parameters
    ----------
    origin : Origin
    method : "GET" or "HEAD"
    target : str
        Path and query, quoted.
    headers : mapping
        Those that go with it, but for `Host`.
    wanted : Wanted

    Raises
    ------
    NoAnswerError
        There is none, or none that can be used; SilenceError where it does not come in time.
    """
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = (
        f"{method} {target} HTTP/1.1\r\nHost: {origin.netloc}\r\nUser-Agent: ngcore\r\n"
        f"Accept: */*\r\n{fields}\r\n"
    ).encode("latin-1")
    pool = _pool(os.getpid(), origin)
    while True:
        connection = pool.take(wanted.seconds)
        try:
            answer = connection.ask(request, method, wanted)
        except _StaleError:
            connection.close()
            if connection.is_used:
                continue  # the server had closed it: each of those is tried once
            raise NoAnswerError(_CUT) from None
        except TimeoutError as error:
            connection.close()
            raise SilenceError("the server doesn't answer in time") from error
        except OSError as error:
            connection.close()
            raise NoAnswerError(_CUT) from error
        except BaseException:
            connection.close()
            raise
        pool.give_back(connection)
        return answer


class _Pool:
    """The connections to one server that wait for their next request, the last one first."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._waiting: list[_Connection] = []
        weakref.finalize(self, _close_all, self._waiting)  # at the latest when Python ends
        self._lock = threading.Lock()

    def take(self, seconds: float) -> _Connection:
        while True:
            with self._lock:
                connection = self._waiting.pop() if self._waiting else None
            if connection is None:
                return _Connection(_connected(self._origin), seconds)
            if not _is_readable(connection.socket):
                connection.wait_for(seconds)
                return connection
            connection.close()  # by the server; or it sends what nobody asked for

    def give_back(self, connection: _Connection) -> None:
        if connection.can_stay:
            with self._lock:
                if len(self._waiting) < CONNECTIONS:
                    connection.is_used = True
                    self._waiting.append(connection)
                    return
        connection.close()


def _close_all(waiting: list[_Connection]) -> None:
    for connection in waiting:
        connection.close()


class _Connection:
    """One connection. Whoever took it uses it alone."""

    def __init__(self, opened: socket.socket, seconds: float) -> None:
        self.socket = opened
        self.is_used = False
        self.can_stay = False
        self._buffer = b""
        self._seconds = seconds
        opened.settimeout(seconds)

    def wait_for(self, seconds: float) -> None:
        """Say how long the server may be silent."""
        if seconds != self._seconds:
            self.socket.settimeout(seconds)
            self._seconds = seconds

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()

    def ask(self, request: bytes, method: str, wanted: Wanted) -> Answer:
        self.can_stay = False
        is_kept, status, headers = self._asked(request)
        if method == "HEAD" or status in (204, 304):
            self.can_stay = is_kept and not self._buffer
            return Answer(status, headers, b"")
        limit, skip = wanted.limit, wanted.skip
        if status not in (200, 206):
            limit, skip = _MAX_DRAINED, 0
        elif status == 206:
            skip = 0
        body, is_cut, has_end = self._body(headers, limit, skip)
        self.can_stay = is_kept and has_end and not is_cut and not self._buffer
        if status not in (200, 206):
            return Answer(status, headers, b"")
        return Answer(status, headers, body, is_cut)

    def _asked(self, request: bytes) -> tuple[bool, int, dict[str, str]]:
        """Send a request; return whether the connection is to stay, the status and headers."""
        try:
            self.socket.sendall(request)
            self._buffer = self.socket.recv(_BUFFER)
        except TimeoutError:
            raise
        except OSError as error:
            raise _StaleError(_CUT) from error
        if not self._buffer:
            raise _StaleError(_CUT)
        for _ in range(_MAX_INTERIM):
            is_kept, status, headers = self._head()
            if status >= 200:
                return is_kept, status, headers
        raise NoAnswerError("it answers without end")

    def _head(self) -> tuple[bool, int, dict[str, str]]:
        end = _END_OF_HEAD.search(self._buffer)
        while end is None:
            if len(self._buffer) > _MAX_HEAD:
                raise NoAnswerError("the headers of its answer are too long")
            self._buffer += self._some()
            end = _END_OF_HEAD.search(self._buffer)
        lines = self._buffer[: end.start()].splitlines()
        self._buffer = self._buffer[end.end() :]
        start = _STATUS.fullmatch(lines[0]) if lines else None
        if start is None:
            raise NoAnswerError("it doesn't answer as a web server does (HTTP/1.1)")
        headers = _headers(lines[1:])
        options = headers.get("connection", "").lower()
        is_kept = start[1] != b"0" and "close" not in options
        return is_kept, int(start[2]), headers

    def _body(
        self, headers: Mapping[str, str], limit: int | None, skip: int
    ) -> tuple[bytes, bool, bool]:
        """Return what is wanted of a body, whether there is more, and whether it says its end."""
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        if coding not in ("", "chunked"):
            raise NoAnswerError(
                f"it sends a Transfer-Encoding that ngcore does not know: {coding}"
            )
        if coding:
            return (*taken(self._chunks(), limit, skip), True)
        if length is None:
            return (*taken(self._rest(), limit, skip), False)
        if not (length.isascii() and length.isdigit()):
            raise NoAnswerError(f"it sends a Content-Length that is no number: {length[:40]!r}")
        size = int(length)
        wanted = size if limit is None else min(size, skip + limit)
        if wanted > _AT_ONCE:
            return (*taken(self._pieces(size), limit, skip), True)
        body = self._exactly(wanted)
        return body[skip:] if skip else body, wanted < size, True

    def _exactly(self, size: int) -> bytes:
        """Return so many bytes."""
        start, self._buffer = self._buffer[:size], self._buffer[size:]
        if len(start) == size:
            return start
        whole = bytearray(size)
        whole[: len(start)] = start
        view, done = memoryview(whole), len(start)
        while done < size:
            count = self.socket.recv_into(view[done:])
            if not count:
                raise NoAnswerError(_CUT)
            done += count
        return bytes(whole)

    def _pieces(self, size: int) -> Iterator[bytes]:
        for done in range(0, size, _AT_ONCE):
            yield self._exactly(min(_AT_ONCE, size - done))

    def _rest(self) -> Iterator[bytes]:
        """Yield what comes until the server closes the connection."""
        piece, self._buffer = self._buffer, b""
        while True:
            yield piece
            piece = self.socket.recv(_BUFFER)
            if not piece:
                return

    def _chunks(self) -> Iterator[bytes]:
        """Yield a body that comes in pieces, each after its size."""
        while True:
            match = _CHUNK.fullmatch(self._line())
            if match is None:
                raise NoAnswerError("the pieces of its answer are damaged")
            size = int(match[1], 16)
            if not size:
                break
            yield from self._pieces(size)
            if self._line():
                raise NoAnswerError("the pieces of its answer are damaged")
        left = _MAX_HEAD
        while line := self._line():  # trailers
            left -= len(line)
            if left < 0:
                raise NoAnswerError("the headers of its answer are too long")

    def _line(self) -> bytes:
        """Return the next line, without its end."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > _MAX_HEAD:
                raise NoAnswerError("the headers of its answer are too long")
            self._buffer += self._some()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def _some(self) -> bytes:
        data = self.socket.recv(_BUFFER)
        if not data:
            raise NoAnswerError(_CUT)
        return data


def _headers(lines: list[bytes]) -> dict[str, str]:
    """Return headers by their names in lower case; several of one name are joined."""
    headers: dict[str, str] = {}
    for line in lines:
        name, mark, value = line.decode("latin-1").partition(":")
        if not mark or name[:1] in ("", " ", "\t"):
            continue  # no header, or the second line of one of those that say nothing here
        name, value = name.strip().lower(), value.strip()
        before = headers.get(name)
        if before is None:
            headers[name] = value
        elif name != "content-length" or before != value:
            headers[name] = f"{before}, {value}"
    return headers


def taken(pieces: Iterator[bytes], limit: int | None, skip: int) -> tuple[bytes, bool]:
    """Return so many bytes after `skip`, and whether there are more."""
    kept = []
    size = 0
    for piece in pieces:
        part = piece[skip:] if skip else piece
        skip = max(0, skip - len(piece))
        if limit is not None and size + len(part) > limit:
            kept.append(part[: limit - size])
            return b"".join(kept), True
        kept.append(part)
        size += len(part)
    return b"".join(kept), False


@lru_cache(maxsize=64)
def _pool(_process: int, origin: Origin) -> _Pool:
    """Return the connections to a server, which a fork must not share."""
    return _Pool(origin)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _connected(origin: Origin) -> socket.socket:
    """Return a new connection to a server."""
    where = f"can't connect to {origin.netloc}"
    try:
        opened = socket.create_connection((origin.host, origin.port), CONNECT_SECONDS)
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.scheme == "https":
                return _tls().wrap_socket(opened, server_hostname=origin.host)
        except BaseException:
            opened.close()
            raise
    except ssl.SSLCertVerificationError as error:
        raise NoAnswerError(f"{where}: {error.verify_message}") from error
    except TimeoutError as error:
        raise NoAnswerError(f"{where}: no answer in time") from error
    except (socket.gaierror, UnicodeError) as error:
        raise NoAnswerError(f"{where}: there is no such host") from error
    except OSError as error:
        raise NoAnswerError(f"{where}: {error.strerror or error}") from error
    return opened


def _is_readable(opened: socket.socket) -> bool:
    """Whether something waits on a connection, its end also: nothing should."""
    if hasattr(select, "poll"):
        waiting = select.poll()
        waiting.register(opened, select.POLLIN)
        return bool(waiting.poll(0))
    return bool(select.select([opened], [], [], 0)[0])
