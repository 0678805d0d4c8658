"""Google's buckets, as an emulator from PyPI serves them."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import re
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from bucket_servers import content_of, gcs_server, make_gcs_bucket
from store_contract import StoreContract

import ngcore
from ngcore.errors import DestinationError, InputError, StorageError
from ngcore.storage import open_store, writable_store

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def emulator():
    # Another one that runs, such as fake-gcs-server.
    if os.environ.get("TEST_GCS"):
        yield os.environ["TEST_GCS"]
        return
    with gcs_server() as url:
        yield url


@pytest.fixture
def bucket(emulator, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", emulator)
    name = f"bucket-{next(_NUMBERS)}"
    make_gcs_bucket(emulator, name)
    return name


class TestGcs(StoreContract):
    @pytest.fixture(autouse=True)
    def _bucket(self, bucket):
        self.bucket = bucket

    def make(self, folder):  # noqa: ARG002
        return writable_store(f"gs://{self.bucket}/a folder/v")

    def test_of_all_who_create_a_name_one_succeeds_and_its_bytes_stay(self, store):
        """The emulator takes no conditions: one after the other, then."""
        assert store.create("key/name", b"1")
        assert not store.create("key/name", b"2")
        assert store.get("key/name") == b"1"


@pytest.mark.parametrize("sharding", [True, False])
def test_keys_and_bytes_are_those_of_a_folder(bucket, tmp_path, sharding):
    voxels = np.random.default_rng(0).integers(0, 9, (40, 30, 20)).astype(np.uint8)
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "sharding": sharding, "gzip": True}
    made = ngcore.convert(voxels, f"gs://{bucket}/v", **options)
    ngcore.convert(voxels, tmp_path / "v", **options)
    assert np.array_equal(made.scales[0][..., 0], voxels)
    store = writable_store(f"gs://{bucket}/v")
    assert {name: store.get(name) for name in store.list()} == content_of(tmp_path / "v")


class _Service(http.server.BaseHTTPRequestHandler):
    """Takes one upload in parts, and keeps as much of each request as `keeps` says."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, Location=f"http://127.0.0.1:{self.server.server_port}/session")

    def do_PUT(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        server, asked = self.server, self.headers["Content-Range"]
        start, _, total = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", asked).groups()
        server.asked.append(asked)
        if start is not None:
            if int(start) != len(server.kept):
                self.answer(400)
                return
            server.kept += data[: server.keeps(len(server.asked), len(data))]
        if total == str(len(server.kept)) and not server.hesitates():
            server.objects.append(bytes(server.kept))
            self.answer(200, json.dumps({"generation": "1"}).encode())
        elif server.kept:
            self.answer(308, Range=f"bytes=0-{len(server.kept) - 1}")
        else:
            self.answer(308)

    def do_DELETE(self):
        self.server.given_up += 1
        self.answer(204)


@contextmanager
def _service(monkeypatch, keeps, hesitations=0):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Service)
    left = iter(range(hesitations))
    server.keeps, server.hesitates = keeps, lambda: next(left, None) is not None
    server.kept, server.asked, server.objects, server.given_up = bytearray(), [], [], 0
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("ngcore.storage.objects.gcs_bucket._WAITS", (0, 0, 0))
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("keeps", "hesitations"),
    [
        (lambda _, size: size, 0),
        (lambda number, size: size if number % 2 else 0, 0),
        (lambda number, size: size if number % 3 == 0 else size // 2 & -(1 << 18), 0),
        (lambda _, size: size, 2),
    ],
    ids=["all", "every second", "halves", "all, which it says late"],
)
def test_what_a_service_has_not_kept_of_a_part_is_sent_again(monkeypatch, keeps, hesitations):
    data = os.urandom(1 << 16) * (20 << 4)
    with _service(monkeypatch, keeps, hesitations) as service:
        open_store("gs://bucket/v").put("large", data)
    assert service.objects == [data]
    assert not service.given_up


@pytest.mark.parametrize("most", [0, 4 << 20, 18 << 20])
def test_an_upload_that_a_service_does_not_keep_is_an_error(monkeypatch, most):
    with _service(monkeypatch, lambda *_: 0) as service:
        service.keeps = lambda _, size: min(size, most - len(service.kept))
        with pytest.raises(StorageError, match=r"can't write gs://bucket/v/l.* kept") as error:
            open_store("gs://bucket/v").put("large", bytes(20 << 20))
    assert "\n" not in str(error.value)
    assert service.objects == []
    assert len(service.asked) <= 7
    assert service.given_up == 1


@pytest.mark.usefixtures("bucket")
def test_what_stands_in_the_way_is_one_line(monkeypatch):
    store = writable_store("gs://no-such-bucket/v")
    for call in (lambda: store.entries(), lambda: store.put("a", b"")):
        with pytest.raises((InputError, DestinationError), match="there is no bucket gs://no-s"):
            call()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:9")
    with pytest.raises(StorageError, match=r"can't connect to http://127\.0\.0\.1:9"):
        open_store("gs://bucket/v").get("info")
