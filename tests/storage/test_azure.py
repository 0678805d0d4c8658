"""Azure's containers, as its emulator Azurite serves them where it is installed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from bucket_servers import AZURE_KEY, azure_server, content_of, make_azure_container
from store_contract import StoreContract

import ngcore
from ngcore.cli import run
from ngcore.errors import DestinationError, InputError
from ngcore.storage import writable_store

_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def account():
    with azure_server() as url:
        yield url


@pytest.fixture
def container(account, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT", "devstoreaccount1")
    monkeypatch.setenv("AZURE_STORAGE_KEY", AZURE_KEY)
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", account)
    name = f"container-{next(_NUMBERS)}"
    make_azure_container(account, name)
    return name


class TestAzure(StoreContract):
    @pytest.fixture(autouse=True)
    def _container(self, container):
        self.container = container

    def make(self, folder):  # noqa: ARG002
        return writable_store(f"az://{self.container}/a folder/v")


@pytest.mark.parametrize("sharding", [True, False])
def test_keys_and_bytes_are_those_of_a_folder(container, tmp_path, sharding):
    voxels = np.random.default_rng(0).integers(0, 9, (40, 30, 20)).astype(np.uint8)
    np.save(tmp_path / "a.npy", voxels)
    options = ["--resolution", "8,8,8", "--chunk-size", "16"]
    options += ["--sharding" if sharding else "--no-sharding", "--gzip"]
    url = f"az://{container}/v"
    for dest in (url, str(tmp_path / "v")):
        assert run(["convert", str(tmp_path / "a.npy"), dest, *options]) == 0
        assert run(["convert", str(tmp_path / "a.npy"), dest, *options]) == 2
        assert run(["convert", str(tmp_path / "a.npy"), dest, *options, "--resume"]) == 0
        assert run(["convert", str(tmp_path / "a.npy"), dest, *options, "--overwrite"]) == 0
    assert run(["validate", url]) == 0
    assert np.array_equal(ngcore.open(url).scales[0][..., 0], voxels)
    store = writable_store(url)
    assert {name: store.get(name) for name in store.list()} == content_of(tmp_path / "v")
    assert ".ngcore" not in store.entries()


@pytest.mark.usefixtures("container")
def test_a_container_that_is_absent_is_one_line():
    store = writable_store("az://no-such-container/v")
    for call in (lambda: store.entries(), lambda: store.put("a", b"")):
        with pytest.raises((InputError, DestinationError), match="there is no bucket az://no-s"):
            call()
