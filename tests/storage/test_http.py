"""Volumes on web servers, good ones and bad ones."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
from serving import Plain, plainly_served, served, served_by
from store_contract import ReadableContract

import ngcore
from ngcore.cli import run
from ngcore.errors import FormatError, InputError, MissingExtraError, StorageError

brotli = pytest.importorskip("brotli")
zstandard = pytest.importorskip("zstandard")
pytest.importorskip("urllib3", reason="the extra cloud is not installed")


from ngcore.storage import http_proxy, web_ahead  # noqa: E402
from ngcore.storage.http import HttpStore  # noqa: E402
from ngcore.storage.opening import open_store  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = bytes(range(256)) * 8


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the first part of a path says; the second is what it answers with."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []
    ended: ClassVar[threading.Event] = threading.Event()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        kind = self.path.split("/")[1]
        self.asked.append(self.path)
        getattr(self, f"answer_{kind}")()

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers and "Transfer_Encoding" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    def answer_good(self) -> None:
        wanted = self.headers.get("Range")
        if wanted is None:
            self.send(200, DATA)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        if int(first) >= len(DATA):
            self.send(416)
            return
        stop = min(int(last) + 1 if last else len(DATA), len(DATA))
        part = DATA[int(first) : stop]
        self.send(206, part, Content_Range=f"bytes {first}-{stop - 1}/{len(DATA)}")

    def answer_shifted(self) -> None:
        self.send(206, DATA[4:11], Content_Range=f"bytes 4-10/{len(DATA)}")

    def answer_short(self) -> None:
        self.send(206, DATA[3:8], Content_Range=f"bytes 3-7/{len(DATA)}")

    def answer_unsaid(self) -> None:
        self.send(206, DATA[:5])

    def answer_br(self) -> None:
        self.send(200, brotli.compress(DATA), Content_Encoding="br")

    def answer_zstd(self) -> None:
        self.send(200, zstandard.compress(DATA), Content_Encoding="zstd")

    def answer_strange(self) -> None:
        self.send(200, DATA, Content_Encoding="lzma")

    def answer_severed(self) -> None:
        """Close the connection in the middle, but for every third time."""
        if self.asked.count(self.path) % 3:
            self.send(200, DATA[:100], Content_Length=str(len(DATA)))
            self.close_connection = True
        else:
            self.send(200, DATA)

    def answer_whole(self) -> None:
        self.send(200, DATA)

    def answer_gzip(self) -> None:
        assert "gzip" in self.headers["Accept-Encoding"]
        self.send(200, gzip.compress(DATA), Content_Encoding="gzip")

    def answer_bomb(self) -> None:
        self.send(200, gzip.compress(bytes(1 << 23)), Content_Encoding="gzip")

    def answer_cut(self) -> None:
        self.send(200, gzip.compress(DATA)[:-9], Content_Encoding="gzip")

    def answer_chunked(self) -> None:
        body = b"".join(b"%x\r\n%s\r\n" % (len(DATA), DATA) for _ in range(2)) + b"0\r\n\r\n"
        self.send(200, body, Transfer_Encoding="chunked")

    def answer_moved(self) -> None:
        self.send(302, Location=self.path.replace("/moved/", "/good/"))

    def answer_circle(self) -> None:
        self.send(302, Location=self.path)

    def answer_gone(self) -> None:
        self.send(404)

    def answer_private(self) -> None:
        self.send(403)

    def answer_broken(self) -> None:
        self.send(500)

    def answer_tired(self) -> None:
        """Fail once, then answer."""
        self.send(503 if self.asked.count(self.path) % 2 else 200, DATA)

    def answer_busy(self) -> None:
        """Ask to wait once, then answer."""
        status = int(self.path.rpartition("/")[2].partition("_")[0])
        if self.asked.count(self.path) == 1:
            self.send(status, Retry_After="3")
        else:
            self.send(200, DATA)

    def answer_odd(self) -> None:
        """Say a size that is no number, and one of far too many digits."""
        if self.command == "HEAD":
            self.send(
                200, Content_Length="\xb2" if self.asked.count(self.path) == 1 else "9" * 5000
            )
        else:
            self.send(206, DATA[:1], Content_Range=f"bytes 0-0/{len(DATA)}")

    def answer_mixed(self) -> None:
        if self.path.endswith("broken"):
            self.answer_broken()
        else:
            self.answer_whole()

    def answer_slow(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.ended.wait(60)


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    Handler.ended.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def served_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    with served(root) as url:
        yield root, url


class TestServedFolder(ReadableContract):
    @pytest.fixture(autouse=True)
    def _served(self, served_root):
        self.root = served_root

    def filled(self, folder, content):
        root, url = self.root
        folder = root / folder.name
        folder.mkdir()
        for name, data in content.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        return HttpStore(f"{url}/{folder.name}")


@pytest.mark.parametrize("kind", ["good", "whole", "moved"])
def test_ranges_are_exact_whatever_the_server_makes_of_them(origin, kind):
    store = HttpStore(f"{origin}/{kind}")
    assert store.get("x", 3, 10) == DATA[3:10]
    assert store.get("x", 0, 10) == DATA[:10]
    assert store.get("x", 2000) == DATA[2000:]
    assert store.get("x", 2040, 9999) == DATA[2040:]
    assert store.get("x", 3, 3) == b""
    assert store.get("x", 5000, 5010) == b""
    assert store.size("x") == len(DATA)


@pytest.mark.parametrize(
    "kind", ["good", "whole", "gzip", "moved", "tired", "br", "zstd", "severed"]
)
def test_files_are_got_whole_and_decompressed(origin, kind):
    store = HttpStore(f"{origin}/{kind}/")
    assert store.get_whole("x", len(DATA)) == DATA
    with pytest.raises(FormatError, match=r"larger than the 100 bytes|more than (the )?100 bytes"):
        store.get_whole("x", 100)


def test_bodies_without_a_length_end_where_they_end(origin):
    assert HttpStore(f"{origin}/chunked").get_whole("x", 1 << 20) == 2 * DATA


def test_bombs_are_cut_off_and_damage_is_named(origin):
    with pytest.raises(FormatError, match="more than the 1048576 bytes"):
        HttpStore(f"{origin}/bomb").get_whole("x", 1 << 20)
    with pytest.raises(FormatError, match="gzip data end too early"):
        HttpStore(f"{origin}/cut").get_whole("x", 1 << 20)


def test_what_is_not_there_is_none(origin):
    store = HttpStore(f"{origin}/gone")
    assert store.get("x", 0, 10) is None
    assert store.get_whole("x", 10) is None
    assert store.size("x") is None


@pytest.mark.parametrize(
    ("kind", "message"),
    [("private", "HTTP 403"), ("broken", "HTTP 500"), ("circle", "redirects without end")],
)
def test_failures_are_errors_of_io(origin, capsys, kind, message):
    with pytest.raises(StorageError, match=message):
        HttpStore(f"{origin}/{kind}").get("info", 0, 10)
    assert run(["info", f"{origin}/{kind}"]) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_silent_and_absent_servers_are_errors_of_io(origin):
    with pytest.raises(StorageError, match="doesn't answer in time"):
        HttpStore(f"{origin}/slow", read_seconds=0.2).get_whole("x", 100)
    with pytest.raises(StorageError, match="can't connect"):
        HttpStore("http://127.0.0.1:9/").get("x", 0, 1)


def test_query_and_parts_of_names_are_kept(origin):
    store = HttpStore(f"{origin}/good/a b?token=1")
    store.get_whole("../c/7:0", 1 << 20)
    assert Handler.asked[-1] == "/good/c/7:0?token=1"
    with pytest.raises(InputError, match="has no server"):
        open_store("http:///x")


@pytest.mark.parametrize("kind", ["shifted", "short", "unsaid"])
def test_other_bytes_than_those_asked_for_are_refused(origin, kind):
    with pytest.raises(StorageError, match="was asked for bytes 3-9 and sent"):
        HttpStore(f"{origin}/{kind}").get("x", 3, 10)


def test_encodings_that_are_not_known_are_named(origin):
    with pytest.raises(FormatError, match="Content-Encoding 'lzma', which ngcore does not know"):
        HttpStore(f"{origin}/strange").get_whole("x", 1 << 20)


def test_what_was_to_be_sent_as_it_lies_and_is_not_is_decompressed(origin):
    assert HttpStore(f"{origin}/br").get("x", 3, 10) == DATA[3:10]


def test_403_is_absence_but_for_info_and_where_a_token_may_have_expired(origin):
    """Object stores answer so for what is not there, to those who may not list."""
    store = HttpStore(f"{origin}/private")
    assert store.get("8_8_8/0.shard", 0, 10) is None
    assert store.get_whole("8_8_8/0-1_0-1_0-1", 10) is None
    for private in (store, HttpStore(f"{origin}/private?token=1")):
        with pytest.raises(StorageError, match="HTTP 403"):
            private.get_whole("info", 10)
    with pytest.raises(StorageError, match="HTTP 403"):
        private.get_whole("8_8_8/0-1_0-1_0-1", 10)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "urllib3", None)
    for name in ("http", "http_proxy"):
        monkeypatch.delitem(sys.modules, f"ngcore.storage.{name}")
    with pytest.raises(MissingExtraError, match=r"pip install 'ngcore-neuroglancer\[cloud\]'"):
        ngcore.open("https://example.org/volume")
    assert run(["info", "https://example.org/volume"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


class Crowd(Plain):
    """Lets requests wait until `least` are there at once, and counts them.

    What is asked for below ``/away/`` is elsewhere. As a proxy it has everything itself.
    """

    protocol_version = "HTTP/1.1"
    here = most = least = 0
    changed: ClassVar[threading.Condition] = threading.Condition()
    paths: ClassVar[list[str]] = []

    def do_GET(self) -> None:  # noqa: N802
        self.path = re.sub("^http://[^/]+", "", self.path)
        if self.path.startswith("/away/"):
            self.send_response(307)
            self.send_header("Location", self.path.removeprefix("/away"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.endswith(("info", "provenance")):
            super().do_GET()
            return
        kind = type(self)
        with kind.changed:
            kind.here += 1
            kind.most = max(kind.most, kind.here)
            kind.paths.append(self.path)
            kind.changed.notify_all()
            if not kind.changed.wait_for(lambda: kind.most >= kind.least, timeout=10):
                kind.least = 0  # more don't come: no other request has to wait as long
        super().do_GET()
        with kind.changed:
            kind.here -= 1


@pytest.fixture
def crowd():
    """Return a class of handlers of its own."""
    return type("Counted", (Crowd,), {"changed": threading.Condition(), "paths": []})


def wait_for(handler, count):
    """Let no request be answered before `count` are on their way."""
    handler.most, handler.least = 0, count


def test_many_requests_are_on_their_way_for_chunks_that_are_there_and_for_others(tmp_path, crowd):
    voxels = np.random.default_rng(0).integers(0, 99, (64, 64, 64)).astype(np.uint8)
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "max_scales": 1, "fsync": False}
    ngcore.convert(voxels, tmp_path, sharding=False, **options)
    (tmp_path / "provenance").unlink()
    for number, chunk in enumerate(sorted((tmp_path / "8_8_8").iterdir())):
        if number % 4:
            x, y, z = (slice(*map(int, part.split("-"))) for part in chunk.name.split("_"))
            voxels[x, y, z] = 0
            chunk.unlink()
    with served_by(crowd, tmp_path) as origin, TemporaryDirectory() as copy:
        scale = ngcore.open(origin, cache_bytes=0).scales[0]
        wait_for(crowd, 8)
        np.testing.assert_array_equal(scale[..., 0], voxels)
        assert crowd.most >= 8
        np.testing.assert_array_equal(scale[9:60, 20:40, 3:50, 0], voxels[9:60, 20:40, 3:50])
        by_one = ngcore.open(origin, workers=1, cache_bytes=0).scales[0]
        wait_for(crowd, 8)
        np.testing.assert_array_equal(by_one[..., 0], voxels)
        assert crowd.most >= 8
        made = ngcore.convert(origin, copy, workers=1, max_scales=1, fsync=False)
        np.testing.assert_array_equal(made.scales[0][..., 0], voxels)
    chunks = {path for path in crowd.paths if path.startswith("/8_8_8/")}
    assert len(chunks) == 64 + 3 * 48  # those that are there by one name alone


@pytest.mark.parametrize("way", ["straight", "away", "later away", "proxied"])
@pytest.mark.parametrize("sharding", [False, True])
def test_many_requests_are_on_their_way_by_whatever_way(
    tmp_path, monkeypatch, crowd, sharding, way
):
    voxels = np.random.default_rng(0).integers(0, 99, (128, 16, 16)).astype(np.uint8)
    options = {"resolution": (8, 8, 8), "chunk_size": 8, "max_scales": 1, "fsync": False}
    ngcore.convert(voxels, tmp_path, sharding=sharding, **options)
    with served_by(crowd, tmp_path) as origin:
        url = origin
        if way == "proxied":
            monkeypatch.setenv("https_proxy", origin)
            monkeypatch.delenv("no_proxy", raising=False)
            http_proxy._pool.cache_clear()
            url = f"http://{sharding}.invalid"
        elif way == "away":
            url = f"{origin}/away"
        elif way == "later away":  # info is where it was
            usual = crowd.do_GET

            def sent_away(handler):
                if not handler.path.startswith("/back/") and "info" not in handler.path:
                    handler.path = f"/away/back{handler.path}"
                handler.path = handler.path.removeprefix("/back")
                usual(handler)

            crowd.do_GET = sent_away
        try:
            scale = ngcore.open(url, cache_bytes=0).scales[0]
            scale[64:, 8:, 8:] if sharding else None  # the indexes are known then
            wait_for(crowd, 8)
            # The chunks of a row lie side by side nowhere, but for two and two.
            np.testing.assert_array_equal(scale[:, :8, :8, 0], voxels[:, :8, :8])
        finally:
            http_proxy._pool.cache_clear()
        assert crowd.most >= 8


@pytest.mark.parametrize("status", [429, 503])
def test_what_waits_together_before_it_is_sent_again_does_so_at_once(origin, monkeypatch, status):
    """As long as the server asks for, from the first time on."""
    waits = []
    together = threading.Barrier(8, timeout=10)

    def sleep(seconds):
        waits.append(seconds)
        together.wait()

    monkeypatch.setattr("ngcore.storage.http.time.sleep", sleep)
    names = [f"{status}_{number}" for number in range(8)]
    store = HttpStore(f"{origin}/busy")
    assert list(store.get_each_whole(names, len(DATA), 8)) == [DATA] * 8
    assert waits == [3] * 8
    assert all(Handler.asked.count(f"/busy/{name}") == 2 for name in names)


def test_an_answer_without_sense_is_no_internal_error(origin):
    store = HttpStore(f"{origin}/odd")
    assert store.size("x") == len(DATA)


def test_one_that_fails_for_good_fails_in_its_turn(origin, monkeypatch):
    monkeypatch.setattr("ngcore.storage.http.time.sleep", lambda _: None)
    found = HttpStore(f"{origin}/mixed").get_each_whole(["a", "b", "broken", "c"], len(DATA), 4)
    assert [next(found), next(found)] == [DATA, DATA]
    with pytest.raises(StorageError, match="HTTP 500"):
        next(found)


def test_requests_that_no_thread_takes_over_any_more_are_given_up(origin, monkeypatch):
    monkeypatch.setattr("ngcore.storage.http.time.sleep", lambda _: None)
    monkeypatch.setattr(web_ahead, "ThreadPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    given_up = []
    give_up = web_ahead.Sent.give_up
    monkeypatch.setattr(
        web_ahead.Sent, "give_up", lambda sent: (given_up.append(sent), give_up(sent))
    )
    found = HttpStore(f"{origin}/mixed").get_each_whole(["broken", "b", "c", "d"], len(DATA), 4)
    with pytest.raises(StorageError, match="HTTP 500"):
        next(found)
    assert given_up


def test_one_thread_is_as_many_as_were_asked_for(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 99, (64, 16, 16)).astype(np.uint8)
    options = {"resolution": (8, 8, 8), "chunk_size": 2, "max_scales": 1, "fsync": False}
    ngcore.convert(voxels, tmp_path, **options)
    made = ngcore.open(tmp_path, workers=1)
    assert made.info.scales[0].sharding.shard_bits > 1
    with plainly_served(tmp_path) as origin:
        scale = ngcore.open(origin, workers=1, cache_bytes=0).scales[0]
        readers = set()
        usual = HttpStore.get_sized

        def noted(*arguments):
            readers.add(threading.current_thread())
            return usual(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HttpStore, "get_sized", noted)
            np.testing.assert_array_equal(scale[..., 0], voxels)
    assert readers == {threading.current_thread()}


def test_volumes_are_read_and_converted_from_a_url(tmp_path: Any) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, (40, 30, 20)).astype(np.uint8)
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "fsync": False}
    ngcore.convert(voxels, tmp_path / "v", **options)
    with served(tmp_path / "v") as origin:
        volume = ngcore.open(f"precomputed://{origin}")
        assert np.array_equal(volume.scales[0][5:, ::2, 3, 0], voxels[5:, ::2, 3])
        ngcore.convert(origin, tmp_path / "copy", chunk_size=16, fsync=False)
        with pytest.raises(ngcore.InputError, match="no info file"):
            ngcore.open(f"{origin}/nothing")
    made = ngcore.open(tmp_path / "copy")
    assert np.array_equal(made.scales[0][..., 0], voxels)
