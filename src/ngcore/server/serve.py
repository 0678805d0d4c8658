"""Running a server: an address to listen on, and a clean stop at a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ngcore.errors import InputError, MissingExtraError
from ngcore.server.connections import (
    BACKLOG,
    bounded_protocol,
    most_connections,
    raise_file_limit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import uvicorn
    from starlette.types import ASGIApp

logger = logging.getLogger(__name__)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9000
# A browser keeps connections for minutes; closing one early makes it lose a request now and then.
_KEEP_ALIVE_SECONDS = 120
_SHUTDOWN_SECONDS = 1


def require_server() -> None:
    """Raise `MissingExtraError` where the packages that serve are not installed."""
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f'serving needs {" and ".join(missing)}; pip install "ngcore-neuroglancer[view]"'
        )


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """Open a listening socket and yield it with its origin, such as ``http://127.0.0.1:9000``.

    Parameters
    ----------
    host : str
        A name or an address, IPv4 or IPv6.
    port : int
        0 takes a port that is free.

    Raises
    ------
    InputError
        The host is unknown, or the port is taken or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        message = f"unknown host {host!r}; pass a name or an address of this machine to --host"
        raise InputError(message) from error
    with socket.socket(family, kind, protocol) as listener:
        if hasattr(signal, "SIGKILL"):  # elsewhere the option lets two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            reason = error.strerror or str(error)
            message = (
                f"can't listen on {host} port {port} ({reason}); "
                "pass another --port, or --port 0 for a free one"
            )
            raise InputError(message) from error
        name = _reachable_name(host)
        name = f"[{name}]" if ":" in name else name
        yield listener, f"http://{name}:{listener.getsockname()[1]}"


def _reachable_name(host: str) -> str:
    """Return the host, or the address of this machine for others where it listens at all of them.

    No packet is sent: the system is asked which address it would send one from.
    """
    targets = {"0.0.0.0": (socket.AF_INET, "192.0.2.1"), "::": (socket.AF_INET6, "2001:db8::1")}
    if host not in targets:
        return host
    family, target = targets[host]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0])
    except OSError:  # not on any network
        return "127.0.0.1" if family == socket.AF_INET else "::1"


def run(make_app: Callable[[Callable[[], bool]], ASGIApp], listener: socket.socket) -> None:
    """Serve an application until the process is told to stop.

    SIGTERM ends it normally; Ctrl-C ends it with `KeyboardInterrupt`, once it has stopped.

    Parameters
    ----------
    make_app : callable
        Makes the application, given a function that says whether the server is closing. A
        response that would go on for ever asks it.
    listener : socket.socket
        As `listen` gives it.
    """
    import uvicorn

    def is_closing() -> bool:
        return server.should_exit

    raise_file_limit()
    config = uvicorn.Config(
        make_app(is_closing),
        http=bounded_protocol(most_connections()),
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = uvicorn.Server(config)
    # Downloads that the end cuts off are no errors to report.
    log = logging.getLogger("uvicorn.error")
    log.addFilter(is_open := lambda _: not server.should_exit)
    log.addHandler(handler := _AsOurs(logging.WARNING))
    try:
        with _sigterm_ignored():
            if _has_running_loop():
                _run_beside(server, listener)
            else:
                server.run(sockets=[listener])
    finally:
        log.removeHandler(handler)
        log.removeFilter(is_open)


def _has_running_loop() -> bool:
    """Whether this thread runs an event loop already, as that of a notebook does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_beside(server: uvicorn.Server, listener: socket.socket) -> None:
    """Run a server in a thread of its own, and wait for its end; Ctrl-C stops it."""
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        thread.join()
    finally:
        server.should_exit = True
        thread.join()


class _AsOurs(logging.Handler):
    """Hands what the server logs, such as requests that are none, to our own logger."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        logger.log(record.levelno, "%s", record.getMessage(), exc_info=record.exc_info)


@contextlib.contextmanager
def _sigterm_ignored() -> Iterator[None]:
    """Take SIGTERM as the normal end.

    The server handles the signal while it runs, and raises it again for whoever handled it
    before; by default that would kill the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
