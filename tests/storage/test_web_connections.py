"""What servers send, right and wrong, byte for byte."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from base64 import b64encode

import pytest
from thorough import amount

pytest.importorskip("urllib3", reason="the extra cloud is not installed")

from ngcore.cli import run
from ngcore.errors import InputError, StorageError
from ngcore.storage import http_proxy, web_connections
from ngcore.storage.http import HttpStore
from ngcore.storage.web_connections import NoAnswerError, SilenceError, Wanted, fetch, origin_of

BODY = bytes(range(256)) * 40
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
ALL = Wanted(None, 0, 5)


class Script:
    """A server whose connections answer one request after the other with the bytes of a script.

    An answer of None closes the connection instead; those behind it are for the next one. Of a
    tuple, what follows the first piece is sent a little later.
    """

    def __init__(self, *answers, context=None):
        self.answers = list(answers)
        self.requests = []
        self.connections = 0
        self._context = context
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._open = []
        self._is_closed = False
        self._accepts = threading.Thread(target=self._accept, daemon=True)
        self._accepts.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                if self._is_closed:
                    connection.close()
                    return
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as file:
                while self.answers:
                    head = []
                    while (line := file.readline()) not in (b"\r\n", b""):
                        head.append(line.decode().strip())
                    if not head:
                        return
                    self.requests.append(head)
                    answer = self.answers.pop(0)
                    if answer is None:
                        return
                    pieces = answer if isinstance(answer, tuple) else (answer,)
                    for number, piece in enumerate(pieces):
                        if number == 1:
                            time.sleep(0.05)  # until the first has been read
                        connection.sendall(piece)
                    if b"Connection: close" in pieces[0] or b"HTTP/1.0" in pieces[0]:
                        return

    def close(self):
        if self._is_closed:
            return
        # A thread that is about to accept when its socket is closed can take a connection from the
        # next socket with that number: so it ends first.
        self._is_closed = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._accepts.join()
        self._server.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@pytest.fixture
def scripted():
    servers = []

    def start(*answers, **options):
        servers.append(Script(*answers, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ask(server, wanted=ALL, method="GET", target="/x", **headers):
    return fetch(origin_of("http", "127.0.0.1", server.port), method, target, headers, wanted)


def body_of(server, wanted=ALL):
    return ask(server, wanted).body


def chunked(*pieces, end=b"0\r\n\r\n"):
    parts = b"".join(b"%x;note=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + parts + end


def test_one_connection_serves_request_after_request(scripted):
    server = scripted(
        GOOD, chunked(BODY, b"abc"), b"HTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\nabc", GOOD
    )
    assert body_of(server) == BODY
    assert body_of(server) == BODY + b"abc"
    assert ask(server).status == 404
    answer = ask(server, method="GET", target="/a%20b?c=1", Range="bytes=0-3")
    assert (answer.status, answer.body, answer.is_cut) == (200, BODY, False)
    assert server.connections == 1
    assert server.requests[-1][0] == "GET /a%20b?c=1 HTTP/1.1"
    assert f"Host: 127.0.0.1:{server.port}" in server.requests[-1]
    assert "Range: bytes=0-3" in server.requests[-1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
        b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    ],
    ids=["up to its end", "1.0", "1.0 with length"],
)
def test_a_connection_that_may_not_stay_is_not_used_again(scripted, answer):
    server = scripted(answer, GOOD)
    assert body_of(server) == BODY
    assert body_of(server) == BODY
    assert server.connections == 2


def test_what_the_server_closed_meanwhile_is_opened_anew_without_a_word(scripted):
    server = scripted(GOOD, None, GOOD)
    assert body_of(server) == BODY
    assert body_of(server) == BODY
    assert server.connections == 2


@pytest.mark.parametrize(("limit", "skip"), [(10, 0), (10, 7), (len(BODY) - 7, 7), (9, 99999)])
def test_no_more_is_taken_than_is_wanted(scripted, limit, skip):
    plain = b"HTTP/1.0 200 OK\r\n\r\n" + BODY
    for sent in (GOOD, chunked(BODY[:99], BODY[99:]), plain):
        answer = ask(scripted(sent), Wanted(limit, skip, 5))
        assert answer.body == BODY[skip : skip + limit]
        assert answer.is_cut == (skip + limit < len(BODY))
    partial = GOOD.replace(b"200 OK", b"206 Partial")
    assert ask(scripted(partial), Wanted(limit, skip, 5)).body == BODY[:limit]


def test_interim_answers_heads_and_other_line_ends(scripted):
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    bare = b"HTTP/1.1 200\nETag: a\nETag: b\nContent-Length: 2\n"
    bare += b"Content-Length: 2\n\nok"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    server = scripted(interim + GOOD, bare, head, GOOD)
    assert body_of(server) == BODY
    answer = ask(server)
    assert answer.body == b"ok"
    assert answer.headers["etag"] in ("a", "b")
    answer = ask(server, method="HEAD")
    assert (answer.headers["content-length"], answer.body) == ("5", b"")
    assert body_of(server) == BODY
    assert server.connections == 1


@pytest.mark.parametrize("interim", [102, 103, 199])
def test_interim_answers_are_not_taken_for_the_one_that_follows_late(scripted, interim):
    """Else every later request would get the body of the one before."""
    early = b"HTTP/1.1 %d Wait\r\nLink: </x>\r\nContent-Length: 9\r\n\r\n" % interim
    bodies = [b"first", b"second", b"third"]
    plain = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(b), b) for b in bodies]
    server = scripted((early, early + plain[0]), early + plain[1], plain[2])
    assert [body_of(server) for _ in bodies] == bodies
    assert server.connections == 1


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 103 A\r\n\r\n" * 999]
)
def test_a_connection_without_a_final_answer_is_not_used_again(scripted, first):
    server = scripted((first, GOOD.replace(BODY, bytes(len(BODY)))), GOOD)
    with pytest.raises(NoAnswerError, match="no answer but HTTP 10"):
        ask(server)
    assert body_of(server) == BODY
    assert server.connections == 2


def test_of_a_body_that_is_left_out_little_is_in_memory(scripted):
    size = amount(24, 600) << 20
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    server = scripted(
        (whole, *[bytes(1 << 20)] * ((size >> 20) - 1), bytes((1 << 20) - 3) + b"end")
    )
    tracemalloc.start()
    try:
        answer = ask(server, Wanted(3, size - 3, 5))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (answer.body, answer.is_cut) == (b"end", False)
    assert peak < 8 << 20
    with pytest.raises(NoAnswerError):
        ask(scripted((whole, b"abc"), None), Wanted(3, size - 3, 0.2))


def test_a_connection_that_was_idle_for_long_is_not_used_again(scripted, monkeypatch):
    server = scripted(*[GOOD] * 4)
    assert body_of(server) == body_of(server) == BODY
    assert server.connections == 1
    now = time.monotonic()
    monkeypatch.setattr(web_connections.time, "monotonic", lambda: now + 60)
    assert body_of(server) == body_of(server) == BODY
    assert server.connections == 2


BROKEN = {
    "no HTTP": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a head without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000,
    "half a body": GOOD[:-1],
    "a claimed exabyte": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nab" % 2**60,
    "no size of a piece": chunked(BODY, end=b"no\r\n\r\n"),
    "a piece without end": chunked(BODY, end=b"%x\r\nab" % 2**59),
    "no last piece": chunked(BODY, end=b""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_answer_is_an_error(scripted, name):
    server = scripted(BROKEN[name], GOOD)
    with pytest.raises(NoAnswerError):
        ask(server, Wanted(None, 0, 0.3))


def test_answers_changed_anywhere_are_read_or_refused(scripted):
    """Whatever comes: an answer or an error, in time, and never more than is wanted."""
    chance = random.Random(0)
    originals = [GOOD[:200], chunked(BODY[:100], BODY[:50]), b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nabc"]
    for _ in range(amount(60, 3000)):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(data))
            data[place : place + chance.randint(0, 2)] = chance.choice(
                [b"", b"\r\n", b"\0", b"9", b"f", b":"]
            )
        server = scripted(bytes(data), None)
        with contextlib.suppress(NoAnswerError):
            assert len(ask(server, Wanted(80, 0, 0.02)).body) <= 80
        server.close()


def test_silence_is_told_from_a_server_that_is_not_there(scripted):
    with pytest.raises(SilenceError, match="doesn't answer in time"):
        ask(scripted(b"", GOOD), Wanted(None, 0, 0.2))
    with pytest.raises(
        NoAnswerError, match=r"can't connect to 127\.0\.0\.1:9: Connection refused"
    ):
        fetch(origin_of("http", "127.0.0.1", 9), "GET", "/", {}, ALL)
    with pytest.raises(NoAnswerError, match=r"no-such-host\.invalid: there is no such host"):
        fetch(origin_of("http", "no-such-host.invalid", None), "GET", "/", {}, ALL)


@pytest.mark.parametrize("host", ["", "a b", "a\r\nX: y", "a/b", "ü" * 300])
def test_what_can_not_be_a_server_is_refused(host):
    with pytest.raises(InputError, match="not the URL of a web server"):
        origin_of("http", host, None)


def test_a_password_goes_to_no_other_server(scripted):
    other = scripted(GOOD)
    place = f"http://127.0.0.1:{other.port}/b%20c?d=ü".encode()
    moved = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /near\r\n\r\n"
    away = b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: %s\r\n\r\n" % place
    server = scripted(moved, away)
    store = HttpStore(f"http://me:secret@127.0.0.1:{server.port}/a")
    assert store.get_whole("x", len(BODY)) == BODY
    assert [request[0] for request in server.requests] == [
        "GET /a/x HTTP/1.1",
        "GET /near HTTP/1.1",
    ]
    assert all("authorization: Basic bWU6c2VjcmV0" in request for request in server.requests)
    (request,) = other.requests
    assert request[0].startswith("GET /b%20c?d=%C3")
    assert not any("authorization" in line.lower() for line in request)


def test_places_that_are_on_no_web_server_are_refused(scripted):
    server = scripted(
        *[b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: ftp://a/b\r\n\r\n"] * 4
    )
    with pytest.raises(StorageError, match="refers to 'ftp://a/b', which is not on a web server"):
        HttpStore(f"http://127.0.0.1:{server.port}").get_whole("x", 10)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, which makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "made.pem"
    words = [
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)]
    subprocess.run(["openssl", *words, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context, made


def test_https_is_read_from_whom_the_system_trusts_alone(scripted, certificate, monkeypatch):
    context, made = certificate
    origin = origin_of("https", "localhost", scripted(GOOD, context=context).port)
    with pytest.raises(NoAnswerError, match=r"can't connect to localhost:\d+: self.signed"):
        fetch(origin, "GET", "/", {}, ALL)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    web_connections._tls.cache_clear()
    server = scripted(GOOD, chunked(BODY), context=context)
    try:
        for _ in range(2):
            assert fetch(origin._replace(port=server.port), "GET", "/", {}, ALL).body == BODY
        with pytest.raises(NoAnswerError, match="mismatch"):
            fetch(origin_of("https", "127.0.0.1", server.port), "GET", "/", {}, ALL)
    finally:
        web_connections._tls.cache_clear()
    assert server.connections == 2


FORKING = """
import os, sys
from ngcore.storage.web_connections import Wanted, fetch, origin_of

def ask():
    origin = origin_of("http", "127.0.0.1", int(sys.argv[1]))
    assert fetch(origin, "GET", "/", {}, Wanted(None, 0, 5)).status == 200

ask()
child = os.fork()
ask()
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_connections_of_its_own(scripted):
    server = scripted(GOOD, GOOD, GOOD)
    subprocess.run([sys.executable, "-c", FORKING, str(server.port)], check=True)
    assert server.connections == 2


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        ("%D1%8F:p", "\u044f:p".encode()),
        ("a%3Ab:c%40", b"a:b:c@"),
        ("\xfc", "\xfc:".encode()),
        ("%FF:", b"\xff:"),
    ],
)
def test_users_and_passwords_are_sent_in_utf_8(scripted, user, sent):
    server = scripted(GOOD)
    HttpStore(f"http://{user}@127.0.0.1:{server.port}/a").get_whole("x", len(BODY))
    assert f"authorization: Basic {b64encode(sent).decode()}" in server.requests[0]


@pytest.mark.parametrize("part", ["v\udce4", "v?t=\udce4", "\udcff/v"])
def test_a_url_that_is_no_text_is_refused_in_one_line(part, capsys):
    assert run(["info", f"http://127.0.0.1:9/{part}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "has bytes that are not UTF-8 text" in error


class TestThroughAProxy:
    @pytest.fixture(autouse=True)
    def _proxy_is_looked_up(self):
        http_proxy._pool.cache_clear()
        yield
        http_proxy._pool.cache_clear()

    def test_interim_answers_are_not_taken_for_the_one_that_follows(self, scripted, monkeypatch):
        early = b"HTTP/1.1 103 Early\r\n\r\n"
        proxy = scripted((early, GOOD.replace(BODY, bytes(len(BODY)))), GOOD)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        store = HttpStore("http://early.invalid/a")
        assert store.get_whole("x", len(BODY)) == BODY
        assert proxy.connections == 2

    def test_requests_carry_the_whole_url_and_answers_are_the_same(self, scripted, monkeypatch):
        proxy = scripted(
            GOOD,
            GOOD.replace(b"200 OK", b"206 Partial"),
            b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
        )
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        store = HttpStore("http://proxied.invalid/a")
        assert store.get_whole("x", len(BODY)) == BODY
        with pytest.raises(StorageError, match="Content-Range None"):
            store.get("x", 3, 9)
        assert store.size("x") is None
        assert proxy.requests[0][0] == "GET http://proxied.invalid/a/x HTTP/1.1"
