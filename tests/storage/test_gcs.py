"""Google's buckets, as an emulator from PyPI serves them."""

from __future__ import annotations

import itertools
import os

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


@pytest.mark.usefixtures("bucket")
def test_what_stands_in_the_way_is_one_line(monkeypatch):
    store = writable_store("gs://no-such-bucket/v")
    for call in (lambda: store.entries(), lambda: store.put("a", b"")):
        with pytest.raises((InputError, DestinationError), match="there is no bucket gs://no-s"):
            call()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "127.0.0.1:9")
    with pytest.raises(StorageError, match=r"can't connect to http://127\.0\.0\.1:9"):
        open_store("gs://bucket/v").get("info")
