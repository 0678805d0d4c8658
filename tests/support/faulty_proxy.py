"""A server in front of another one that fails a share of all requests, in every way there is."""

from __future__ import annotations

import http.client
import http.server
import random
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

FAULTS = ("429", "500", "503", "refuse", "cut", "lose")


class Proxy(http.server.ThreadingHTTPServer):
    """What was asked, and what failed of it, by name of the fault."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, backend: str, share: float, faults: tuple[str, ...], seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.backend = urlsplit(backend).netloc
        self.share = share
        self.faults = faults
        self.requests = 0
        self.failed: dict[str, int] = dict.fromkeys(faults, 0)
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fault(self) -> str | None:
        with self._lock:
            self.requests += 1
            if self._random.random() >= self.share:
                return None
            fault = self._random.choice(self.faults)
            self.failed[fault] += 1
            return fault

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that clients have closed."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self) -> None:
        fault = self.server.fault()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault is not None and fault.isdigit():
            self.send_response(int(fault))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "refuse":
            self.cut()
            return
        connection = http.client.HTTPConnection(self.server.backend, timeout=60)
        headers = dict(self.headers.items())
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        data = response.read()
        connection.close()
        if fault == "lose":  # it is done, and nobody hears of it
            self.cut()
            return
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = response.getheader("Content-Length") if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.cut()
            return
        self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

    def cut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


@contextmanager
def faulty(
    backend: str, share: float, *, faults: tuple[str, ...] = FAULTS, seed: int = 0
) -> Iterator[Proxy]:
    """Serve what another server does, but for a share of requests that fail."""
    proxy = Proxy(backend, share, faults, seed)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
