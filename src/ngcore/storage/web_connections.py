"""Connections to web servers that stay open from one request to the next.

They are those of the standard library's `http.client`, each used by one thread at a time. A
request can be sent some time before its answer is taken, so that one thread waits for several.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, NamedTuple

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONNECT_SECONDS = 20.0
CONNECTIONS = 32
"""To one server, that wait for their next request."""

_IDLE_SECONDS = 30.0
"""After which a connection is not used again: routers forget those that are idle, without a word
to either end, and a request on one would wait for an answer that can't come."""
_MAX_DRAINED = 1 << 16
"""Bytes of a body that nobody wants, up to which it is read so that its connection stays."""
_MAX_INTERIM = 100
"""Interim answers before one that counts."""
_PIECE = 16 << 20
"""Of a body that are taken at once: its length is only claimed."""
_DROPPED_PIECE = 1 << 20
_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?")
_CUT = "the connection was cut"


class NoAnswerError(Exception):
    """A server can't be reached, or its answer can't be used; the message says why."""


class SilenceError(NoAnswerError):
    """It does not answer in time."""


class Origin(NamedTuple):
    """A server: ``http`` or ``https``, its name or address, and its port."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """As URLs name it."""
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


class Wanted(NamedTuple):
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
    while True:
        sent = send(origin, method, target, headers, wanted)
        try:
            return sent.answer()
        except StaleError:
            pass  # the server had closed it: each of those that wait is tried once


def send(
    origin: Origin, method: str, target: str, headers: Mapping[str, str], wanted: Wanted
) -> Sent:
    """Send one request, of which the answer is taken later; see `fetch`."""
    pool = _pool(os.getpid(), origin)
    connection, is_used = pool.take()
    connection.sock.settimeout(wanted.seconds)
    try:
        connection.request(method, target, headers=dict(headers))
    except (OSError, HTTPException) as error:
        connection.close()
        if is_used:
            return send(origin, method, target, headers, wanted)
        raise NoAnswerError(_CUT) from error
    return Sent(pool, connection, is_used, wanted)


class Sent(NamedTuple):
    """A request that is on its way. Its answer must be taken, or it be given up."""

    pool: _Pool
    connection: HTTPConnection
    is_used: bool
    wanted: Wanted

    def answer(self) -> Answer:
        """Wait for the answer; see `fetch`."""
        try:
            try:
                response = self.connection.getresponse()
            except ConnectionError as error:
                if self.is_used:
                    raise StaleError(_CUT) from error
                raise
            answer = _answer(response, self.wanted)
        except TimeoutError as error:
            self.give_up()
            raise SilenceError("the server doesn't answer in time") from error
        except (OSError, HTTPException) as error:
            self.give_up()
            raise NoAnswerError(_CUT) from error
        except BaseException:
            self.give_up()
            raise
        if response.isclosed() and not response.will_close and answer.status >= 200:
            self.pool.give_back(self.connection)
        else:
            self.give_up()
        return answer

    def give_up(self) -> None:
        """Take no answer."""
        self.connection.close()


class StaleError(NoAnswerError):
    """A connection that had been used before was closed before anything came."""


class _Response(HTTPResponse):
    """The answer itself, past interim ones (103 Early Hints): `http.client` skips 100 alone."""

    def begin(self) -> None:
        """Read the head of the answer."""
        super().begin()
        for _ in range(_MAX_INTERIM):
            # After 101 the server speaks another protocol.
            if self.status >= 200 or self.status == 101:
                return
            self.headers = self.msg = None  # type: ignore[assignment]  # read another one
            super().begin()


def _answer(response: HTTPResponse, wanted: Wanted) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    status = response.status
    if status < 200:
        raise NoAnswerError(f"it sends no answer but HTTP {status}")
    if status not in (200, 206):
        taken(response.read, _MAX_DRAINED, 0)
        return Answer(status, headers, b"")
    body, is_cut = taken(response.read, wanted.limit, wanted.skip if status == 200 else 0)
    if response.length and not is_cut:
        raise NoAnswerError(_CUT)
    return Answer(status, headers, body, is_cut)


def taken(read: Callable[[int], bytes], limit: int | None, skip: int) -> tuple[bytes, bool]:
    """Return a part of a body, and whether there are more bytes behind it.

    Parameters
    ----------
    read : callable
        Returns as many of the next bytes, fewer where the body ends.
    limit : int, optional
        How many bytes are wanted; default all.
    skip : int
        How many to leave out before, of which few are in memory at once.
    """
    while skip:
        dropped = len(read(min(skip, _DROPPED_PIECE)))
        if not dropped:
            return b"", False
        skip -= dropped
    pieces: list[bytes] = []
    left = _PIECE if limit is None else limit
    while left:
        piece = read(min(left, _PIECE))
        if not piece:
            break
        pieces.append(piece)
        left = _PIECE if limit is None else left - len(piece)
    is_cut = not left and bool(read(1))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces), is_cut


class _Pool:
    """The connections to one server that wait for their next request, the last one first."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._waiting: list[tuple[HTTPConnection, float]] = []  # since when they do
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._waiting)  # at the latest when Python ends

    def take(self) -> tuple[HTTPConnection, bool]:
        """Return a connection, and whether it has been used before."""
        while True:
            with self._lock:
                found = self._waiting.pop() if self._waiting else None
            if found is None:
                return _connected(self._origin), False
            connection, since = found
            is_old = time.monotonic() - since > _IDLE_SECONDS
            if not is_old and not _is_readable(connection.sock):
                return connection, True
            connection.close()  # the server did; or it sends what nobody asked for

    def give_back(self, connection: HTTPConnection) -> None:
        with self._lock:
            if len(self._waiting) < CONNECTIONS:
                self._waiting.append((connection, time.monotonic()))
                return
        connection.close()


def _close_all(waiting: list[tuple[HTTPConnection, float]]) -> None:
    for connection, _ in waiting:
        connection.close()


@lru_cache(maxsize=64)
def _pool(_process: int, origin: Origin) -> _Pool:
    """Return the connections to a server, which a fork must not share."""
    return _Pool(origin)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _connected(origin: Origin) -> HTTPConnection:
    """Return a new connection to a server."""
    where = f"can't connect to {origin.netloc}"
    connection: HTTPConnection
    if origin.scheme == "https":
        connection = HTTPSConnection(
            origin.host, origin.port, timeout=CONNECT_SECONDS, context=_tls()
        )
    else:
        connection = HTTPConnection(origin.host, origin.port, timeout=CONNECT_SECONDS)
    connection.response_class = _Response
    try:
        connection.connect()
    except Exception as error:
        connection.close()
        raise NoAnswerError(f"{where}: {_why(error)}") from error
    return connection


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "there is no such host"
    return getattr(error, "strerror", None) or str(error)


def _is_readable(opened: socket.socket) -> bool:
    """Whether something waits on a connection, its end also: nothing should."""
    if hasattr(select, "poll"):
        waiting = select.poll()
        waiting.register(opened, select.POLLIN)
        return bool(waiting.poll(0))
    return bool(select.select([opened], [], [], 0)[0])
