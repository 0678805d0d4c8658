"""Stores of buckets: one in memory, and S3 as moto serves it."""

from __future__ import annotations

import itertools
import json
import pickle
import time
import tracemalloc
from typing import Any

import pytest
from bucket_servers import VARIABLES, s3_client, s3_server, uploads_of
from store_contract import StoreContract

pytest.importorskip("obstore", reason="the extra cloud is not installed")

from ngcore.errors import DestinationError, InputError, StorageError
from ngcore.sources.identity import chunk_files, chunks_identity
from ngcore.storage import open_store, writable_store
from ngcore.storage.objects import lock as locks

_NUMBERS = itertools.count()


class TestMemory(StoreContract):
    def make(self, folder):  # noqa: ARG002
        return writable_store(f"memory://bucket{next(_NUMBERS)}/a folder/é")


@pytest.fixture(scope="module")
def endpoint():
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint, monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    name = f"bucket-{next(_NUMBERS)}"
    s3_client(endpoint).create_bucket(Bucket=name)
    return name


class TestS3(StoreContract):
    @pytest.fixture(autouse=True)
    def _bucket(self, bucket):
        self.bucket = bucket

    def make(self, folder):  # noqa: ARG002
        return writable_store(f"s3://{self.bucket}/a folder/é+%20#?")


def test_the_chunks_of_a_bucket_are_told_from_others_without_asking_for_each(monkeypatch):
    store = writable_store(f"memory://bucket{next(_NUMBERS)}/v")
    for number in range(3):
        store.put(f"key/{number}", bytes(number))
    one_by_one = chunks_identity(store, ((name, None) for name in store.walk("key")))
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "size", lambda *_: pytest.fail("a request for each file"))
        assert chunks_identity(store, chunk_files(store, "key")) == one_by_one
    store.put("key/2", b"longer")
    assert chunks_identity(store, chunk_files(store, "key")) != one_by_one


def test_a_buffer_of_a_large_object_is_no_copy():
    store = writable_store(f"memory://bucket{next(_NUMBERS)}/v")
    store.put("large", bytes(16 << 20))
    tracemalloc.start()
    try:
        buffer = store.get_buffer("large", 1)
        assert len(buffer) == (16 << 20) - 1
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_objects_say_what_they_are(bucket, endpoint):
    store = writable_store(f"s3://{bucket}/v")
    store.put("info", b"{}")
    store.put("provenance", b"{}")
    store.put("8_8_8/0.shard", b"\x1f\x8b")
    store.put_chunk("8_8_8/0-1_0-1_0-1", b"x", media_type="image/jpeg", is_gzipped=True)
    client: Any = s3_client(endpoint)
    heads = {
        key: client.head_object(Bucket=bucket, Key=f"v/{key}")
        for key in ("info", "provenance", "8_8_8/0.shard", "8_8_8/0-1_0-1_0-1")
    }
    assert [head["ContentType"] for head in heads.values()] == [
        "application/json",
        "application/json",
        "application/octet-stream",
        "image/jpeg",
    ]
    assert [head.get("ContentEncoding") for head in heads.values()] == [None, None, None, "gzip"]
    assert heads["info"]["CacheControl"] == "no-cache"


def test_failed_and_killed_uploads_are_not_left_behind(bucket, endpoint):
    def parts():
        for _ in range(3):
            yield b"x" * (9 << 20)
        raise RuntimeError("no more")

    store: Any = writable_store(f"s3://{bucket}/v")
    with pytest.raises(RuntimeError):
        store.put_parts("large", parts())
    client: Any = s3_client(endpoint)
    assert uploads_of(client, bucket) == []
    for key in ("v/0.shard", "v-2/0.shard"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    store.delete_unfinished()
    assert uploads_of(client, bucket) == ["v-2/0.shard"]


@pytest.mark.usefixtures("bucket")
def test_a_bucket_that_is_absent_is_one_line():
    store = writable_store("s3://no-such-bucket/v")
    for call in (lambda: store.get("info"), lambda: store.entries(), lambda: store.lock("lock")):
        with pytest.raises((InputError, DestinationError), match="there is no bucket") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("bucket")
def test_a_service_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"can't connect to http://127\.0\.0\.1:9") as caught:
        open_store("s3://elsewhere/v").get("info")
    assert "\n" not in str(caught.value)


def test_stores_can_be_sent_to_other_processes(bucket):
    store = writable_store(f"s3://{bucket}/v")
    store.put("a", b"1")
    assert pickle.loads(pickle.dumps(store)).get("a") == b"1"


def owner_of(store):
    return json.loads(store.get("lock"))


@pytest.mark.parametrize(
    ("change", "is_free"),
    [
        ({"pid": 1 << 22}, True),
        ({"started": "1"}, True),
        ({"machine": "another"}, False),
        ({"machine": "another", "expires": 0}, True),
        ({"token": "of a thread here"}, False),
    ],
)
def test_a_lock_is_taken_over_where_its_owner_is_gone(bucket, change, is_free):
    store = writable_store(f"s3://{bucket}/v")
    lock = store.lock("lock")
    store.put("lock", json.dumps({**owner_of(store), **change}).encode())
    other = store.lock("lock")
    assert (other is not None) == is_free
    assert store.is_locked("lock") != (is_free and other is None)
    if other is not None:
        assert other.is_held()
        assert not lock.is_held()
        other.release()
    lock.release()


def test_a_lock_is_renewed_and_notices_that_it_is_lost(monkeypatch):
    monkeypatch.setattr(locks, "RENEW_SECONDS", 0.05)
    store = writable_store(f"memory://bucket{next(_NUMBERS)}/v")
    lock = store.lock("lock")
    first = owner_of(store)["expires"]
    deadline = time.monotonic() + 10
    while owner_of(store)["expires"] == first and time.monotonic() < deadline:
        time.sleep(0.05)
    assert owner_of(store)["expires"] > first
    assert lock.is_held()
    store.put("lock", b"{}")
    assert not lock.is_held()
    lock.release()
    assert store.get("lock") == b"{}"


def test_urls_that_are_not_known_are_refused():
    with pytest.raises(InputError, match="can't be opened"):
        open_store("nosuch://bucket/volume")
    with pytest.raises(InputError, match="has no bucket"):
        open_store("s3:///")
    with pytest.raises(DestinationError, match="can't be written"):
        writable_store("https://example.org/v")
