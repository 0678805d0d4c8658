from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest
from store_contract import StoreContract
from unprivileged import bound_by_permissions

from ngcore.errors import DestinationError, StorageError
from ngcore.storage import LocalStore
from ngcore.storage.base import TEMPORARY_SUFFIX

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


def every_file(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


class TestLocalStore(StoreContract):
    def make(self, folder):
        return LocalStore(folder / "volume")

    def test_folder_is_made_by_the_first_put(self, tmp_path):
        store = LocalStore(tmp_path / "not" / "yet")
        assert store.get("info") is None
        assert list(store.list()) == []
        assert not (tmp_path / "not").exists()
        store.put("info", b"{}")
        assert (tmp_path / "not" / "yet" / "info").read_bytes() == b"{}"

    def test_folder_that_vanished_is_made_again(self, store):
        store.put("key/a", b"1")
        store.delete("key/a")
        (store.path / "key").rmdir()
        store.put("key/a", b"2")
        assert store.get("key/a") == b"2"

    def test_reading_may_follow_dots_as_keys_do(self, tmp_path):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "chunk").write_bytes(b"voxels")
        store = LocalStore(tmp_path / "volume")
        store.put("info", b"{}")
        assert store.get("../other/chunk") == b"voxels"
        assert store.get("key/../../other/chunk") == b"voxels"
        assert store.size("../other/chunk") == 6

    def test_current_folder_is_a_store(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = LocalStore(".")
        store.put("key/name", b"value")
        assert (tmp_path / "key" / "name").read_bytes() == b"value"
        assert list(store.list()) == ["key/name"]

    def test_file_that_is_being_written_is_hidden_and_named_as_temporary(self, store):
        seen = []

        def parts():
            yield b"x" * 10_000_000
            seen.extend(every_file(store.path))
            yield b"y"

        store.put_parts("key/name", parts())
        (name,) = seen
        assert name.startswith(".")
        assert name.endswith(TEMPORARY_SUFFIX)
        assert every_file(store.path) == ["name"]

    @needs_posix
    def test_full_disk_is_named_and_leaves_no_temporary_file(self, store):
        # A limit on the size of files fails in the middle of a write, as a full disk does.
        import resource
        import signal

        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, old[1]))
        try:
            with pytest.raises(StorageError, match=r"can't write .*/key/name: File too large"):
                store.put("key/name", b"x" * 700_000, b"y" * 700_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, old)
            signal.signal(signal.SIGXFSZ, handler)
        assert every_file(store.path) == []

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
    def test_full_device_is_a_storage_error_that_names_the_cause(self, store, monkeypatch):
        store.put("old", b"old")
        real_open = os.open

        def open_on_full_device(path, flags, mode):
            os.close(real_open(path, flags, mode))
            return real_open("/dev/full", os.O_WRONLY)

        monkeypatch.setattr(os, "open", open_on_full_device)
        with pytest.raises(StorageError, match="No space left on device"):
            store.put("name", b"value")
        monkeypatch.undo()
        assert every_file(store.path) == ["old"]

    @needs_posix
    @pytest.mark.parametrize("most", [1, 7, 1000])
    def test_short_writes_are_carried_on(self, store, monkeypatch, most):
        parts = [b"abc", b"", b"defghij" * 30, b"k"]
        monkeypatch.setattr(
            os, "writev", lambda file, batch: os.write(file, b"".join(batch)[:most])
        )
        store.put("name", *parts)
        assert store.get("name") == b"".join(parts)

    def test_systems_without_writev_do_too(self, store, monkeypatch):
        monkeypatch.delattr(os, "writev", raising=False)
        store.put("name", b"abc", b"", b"def")
        assert store.get("name") == b"abcdef"

    def test_folder_without_permission_is_a_storage_error(self, store):
        store.put("key/name", b"value")
        (store.path / "key").chmod(0)
        try:
            for call in (store.get, store.size, store.put, store.delete):
                with (
                    bound_by_permissions(),
                    pytest.raises(StorageError, match=r"key/name: Permission denied"),
                ):
                    call("key/name")
        finally:
            (store.path / "key").chmod(0o700)

    def test_file_where_a_folder_is_due_is_a_storage_error(self, store):
        store.put("key", b"a file")
        with pytest.raises(StorageError, match="can't write"):
            store.put("key/name", b"value")

    def test_folder_where_a_file_is_due_is_a_storage_error(self, store):
        store.put("key/name", b"a file")
        with pytest.raises(StorageError, match="can't write"):
            store.put("key", b"value")
        assert every_file(store.path) == ["name"]

    def test_store_can_be_sent_to_another_process(self, store):
        store.put("name", b"value")
        assert pickle.loads(pickle.dumps(store)).get("name") == b"value"

    @pytest.mark.skipif(os.name != "nt", reason="Windows only")
    def test_colons_are_refused_on_windows(self, store):
        with pytest.raises(Exception, match="colon"):
            store.put("mesh/1:0", b"")


@needs_posix
def test_a_pipe_is_no_file_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "info")
    store = LocalStore(tmp_path)
    assert store.get("info") is None
    assert store.size("info") is None


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_that_the_system_never_makes_is_refused():
    for place in (Path("/proc/ngcore-none"), Path("/proc/ngcore-none/a/b")):
        with pytest.raises(DestinationError, match="choose another folder"):
            LocalStore(place).lock(".ngcore/lock")
