"""Files that are carried from one place to another one."""

from __future__ import annotations

import os

import pytest

from ngcore.errors import StorageError
from ngcore.storage import LocalStore
from ngcore.storage.uploads import carry


@pytest.fixture
def stores(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    return LocalStore(tmp_path / "a"), LocalStore(tmp_path / "b")


@pytest.mark.parametrize("there", [None, b"", b"old"])
def test_what_is_gone_is_an_error_and_changes_nothing(stores, there):
    source, dest = stores
    if there is not None:
        dest.put("x", there)
    with pytest.raises(StorageError, match=r"can't copy x from .*: it is gone"):
        carry(source, dest, ["x"])
    assert dest.get("x") == there


@pytest.mark.parametrize("change", [-5, 5])
@pytest.mark.parametrize("there", [None, "old", "the same"])
def test_what_changes_while_it_is_copied_is_an_error(stores, monkeypatch, change, there):
    source, dest = stores
    data = os.urandom(3 << 20)
    source.put("x", data[:change] if change < 0 else data + bytes(change))
    before = {None: None, "old": b"old", "the same": data}[there]
    if before is not None:
        dest.put("x", before)
    monkeypatch.setattr(source, "size", lambda _name: len(data), raising=False)
    with pytest.raises(StorageError, match=f"it has {len(data) + change} bytes, but had"):
        carry(source, dest, ["x"])
    assert dest.get("x") == before


def test_what_is_there_is_copied(stores):
    source, dest = stores
    files = {"empty": b"", "folder/large": os.urandom((2 << 20) + 7), "same": b"same"}
    for name, data in files.items():
        source.put(name, data)
    dest.put("same", b"same")
    carry(source, dest, files)
    assert {name: dest.get(name) for name in dest.list()} == files
