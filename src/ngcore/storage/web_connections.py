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
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import TYPE_CHECKING, NamedTuple

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_SECONDS = 20.0
CONNECTIONS = 32
"""To one server, that wait for their next request."""

_MAX_DRAINED = 1 << 16
"""Bytes of a body that nobody wants, up to which it is read so that its connection stays."""
_PIECE = 16 << 20
"""Of a body that are taken at once: its length is only claimed."""
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
        except _StaleError:
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
                    raise _StaleError(_CUT) from error
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
        if response.isclosed() and not response.will_close:
            self.pool.give_back(self.connection)
        else:
            self.give_up()
        return answer

    def give_up(self) -> None:
        """Take no answer."""
        self.connection.close()


class _StaleError(NoAnswerError):
    """A connection that had been used before was closed before anything came."""


def _answer(response: HTTPResponse, wanted: Wanted) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    status = response.status
    if status not in (200, 206):
        _body(response, _MAX_DRAINED)
        return Answer(status, headers, b"")
    skip = wanted.skip if status == 200 else 0
    size = response.length
    most = None if wanted.limit is None else skip + wanted.limit
    # One more tells whether there are more, where the server doesn't.
    body = _body(response, most if most is None or size is not None else most + 1)
    is_cut = most is not None and (size if size is not None else len(body)) > most
    if size is not None and len(body) < (size if most is None else min(size, most)):
        raise NoAnswerError(_CUT)
    return Answer(status, headers, body[skip:most] if skip or is_cut else body, is_cut)


def _body(response: HTTPResponse, most: int | None) -> bytes:
    """Return as many bytes of a body, or what there is up to its end."""
    pieces: list[bytes] = []
    left = _PIECE if most is None else most
    while left and not response.isclosed():
        piece = response.read(min(left, _PIECE))
        if not piece:
            break
        pieces.append(piece)
        left = _PIECE if most is None else left - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class _Pool:
    """The connections to one server that wait for their next request, the last one first."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._waiting: list[HTTPConnection] = []
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._waiting)  # at the latest when Python ends

    def take(self) -> tuple[HTTPConnection, bool]:
        """Return a connection, and whether it has been used before."""
        while True:
            with self._lock:
                connection = self._waiting.pop() if self._waiting else None
            if connection is None:
                return _connected(self._origin), False
            if not _is_readable(connection.sock):
                return connection, True
            connection.close()  # by the server; or it sends what nobody asked for

    def give_back(self, connection: HTTPConnection) -> None:
        with self._lock:
            if len(self._waiting) < CONNECTIONS:
                self._waiting.append(connection)
                return
        connection.close()


def _close_all(waiting: list[HTTPConnection]) -> None:
    for connection in waiting:
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
