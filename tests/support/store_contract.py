"""What every store must do; the test of each store inherits it."""

from __future__ import annotations

import pickle
import threading
from abc import ABC, abstractmethod

import pytest

from ngcore.errors import FormatError, InputError


class ReadableContract(ABC):
    """Inherit this, and fill a store that is then only read."""

    @abstractmethod
    def filled(self, folder, content):
        """Return a store that holds bytes by their names; `folder` is there, empty, to hold it."""

    @pytest.fixture
    def full(self, tmp_path):
        content = {"key/chunk": b"", "name": b"0123456789", "key/big": bytes(range(256)) * 999}
        return self.filled(tmp_path, content)

    def test_what_is_there_is_got_whole_and_in_ranges(self, full):
        assert full.get("name") == full.get_whole("name", 10) == b"0123456789"
        assert full.get("key/big", 70000, 70003) == bytes((112, 113, 114))
        assert [full.size(name) for name in ("key/chunk", "name", "key/big")] == [0, 10, 255744]

    def test_ranges_end_where_the_bytes_do(self, full):
        assert full.get("name", 3) == b"3456789"
        assert full.get("name", 3, 5) == b"34"
        assert full.get("name", 3, 3) == b""
        assert full.get("name", 5, 3) == b""
        assert full.get("name", 8, 99) == b"89"
        assert full.get("name", 50, 99) == b""

    def test_buffers_hold_the_same_bytes(self, full):
        for name in ("name", "key/big", "key/chunk"):
            assert bytes(full.get_buffer(name)) == full.get(name)
        assert bytes(full.get_buffer("key/big", 70000, 70003)) == bytes((112, 113, 114))
        assert bytes(full.get_buffer("name", 8, 99)) == b"89"
        assert bytes(full.get_buffer("name", 50, 99)) == b""
        assert full.get_buffer("key/nothing") is None

    def test_a_range_comes_with_the_size_of_all(self, full):
        assert full.get_sized("name", 3, 5) == (b"34", 10)
        assert full.get_sized("name", 8, 99) == (b"89", 10)
        assert full.get_sized("name", 50, 99) == (b"", 10)
        assert full.get_sized("key/chunk", 0, 5) == (b"", 0)
        assert full.get_sized("key/nothing", 0, 5) is None

    def test_no_more_is_read_than_was_allowed(self, full):
        with pytest.raises(FormatError, match="larger than the 9 bytes"):
            full.get_whole("name", 9)

    def test_nothing_is_not_absence(self, full):
        assert full.get("key/chunk") == full.get_whole("key/chunk", 9) == b""
        for name in ("nothing", "key/nothing", "key/chunk/below", "no/where", "key"):
            assert full.get(name) is None
            assert full.get_whole(name, 10) is None
            assert full.size(name) is None

    def test_a_copy_for_another_process_reads_the_same(self, full):
        assert pickle.loads(pickle.dumps(full)).get("name") == b"0123456789"


class StoreContract(ReadableContract):
    """Inherit this, and make a store."""

    def filled(self, folder, content):
        store = self.make(folder)
        for name, data in content.items():
            store.put(name, data)
        return store

    @abstractmethod
    def make(self, folder):
        """Return an empty store; `folder` is there, empty, to hold it."""

    @pytest.fixture
    def store(self, tmp_path):
        return self.make(tmp_path)

    def test_what_is_put_is_got(self, store):
        store.put("key/0-64_0-64_0-64", b"voxels")
        assert store.get("key/0-64_0-64_0-64") == b"voxels"
        assert store.size("key/0-64_0-64_0-64") == 6

    def test_what_is_absent_is_none(self, store):
        store.put("key/chunk", b"")
        for name in ("nothing", "key/nothing", "key/chunk/below", "no/where", "key"):
            assert store.get(name) is None
            assert store.size(name) is None

    def test_empty_value_is_not_absent(self, store):
        store.put("empty")
        assert store.get("empty") == b""
        assert store.size("empty") == 0

    def test_parts_are_put_one_after_the_other(self, store):
        store.put("name", b"ab", bytearray(b"cd"), memoryview(b"efgh")[::2].tobytes(), b"", b"!")
        assert store.get("name") == b"abcdeg!"

    def test_parts_may_be_many_large_or_made_as_they_are_taken(self, store):
        parts = [bytes([number % 251]) * (number % 7) for number in range(5000)]
        parts.append(b"x" * 20_000_000)
        store.put_parts("name", (part for part in parts))
        assert store.get("name") == b"".join(parts)

    def test_words_are_put_as_their_bytes(self, store):
        store.put("name", memoryview(b"12345678").cast("I"))
        assert store.get("name") == b"12345678"

    def test_ranges(self, store):
        store.put("name", b"0123456789")
        assert store.get("name", 3) == b"3456789"
        assert store.get("name", 3, 5) == b"34"
        assert store.get("name", 3, 3) == b""
        assert store.get("name", 5, 3) == b""
        assert store.get("name", 8, 99) == b"89"
        assert store.get("name", 50, 99) == b""

    def test_put_replaces(self, store):
        store.put("name", b"a long value")
        store.put("name", b"new")
        assert store.get("name") == b"new"

    def test_delete_removes_and_forgives(self, store):
        store.put("name", b"value")
        store.delete("name")
        store.delete("name")
        store.delete("never/was")
        assert store.get("name") is None

    def test_of_all_who_create_a_name_one_succeeds_and_its_bytes_stay(self, store):
        results = []

        def create(number):
            results.append((store.create("key/name", b"%d" % number), number))

        threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [number for is_made, number in results if is_made]
        assert store.get("key/name") == b"%d" % winner
        assert list(store.list()) == ["key/name"]

    def test_durable_bytes_are_put_and_added_to(self, store):
        store.put_durably("notes/a", b"one")
        store.append_durably("notes/a", b", two")
        store.append_durably("notes/b", b"new")
        store.sync(["notes/a", "notes/b"])
        store.sync()
        assert store.get("notes/a") == b"one, two"
        assert store.get("notes/b") == b"new"

    def test_entries_are_files_and_folders_hidden_ones_too(self, store):
        assert store.entries() == set()
        for name in ("info", ".hidden/plan", "key/a", "key/b/c"):
            store.put(name, b"")
        assert store.entries() == {"info", ".hidden", "key"}
        assert store.entries("key") == {"a", "b"}
        assert store.entries("nothing") == set()

    def test_sizes_are_those_of_what_walk_names(self, store):
        content = {"key/a": b"a", "key/b/c": b"", "key/.hidden": b"x", "key-2/a": b"aa"}
        for name, data in content.items():
            store.put(name, data)
        assert sorted(store.sizes("key")) == [("key/a", 1), ("key/b/c", 0)]
        assert sorted(store.walk("key")) == ["key/a", "key/b/c"]
        assert list(store.sizes("nothing")) == []

    def test_deleted_folder_is_gone_with_all_in_it_and_its_neighbours_stay(self, store):
        for name in ("key/a", "key/b/c", "key/.hidden", "key-2/a"):
            store.put(name, b"")
        store.delete_folder("key")
        store.delete_folder("nothing")
        assert store.entries() == {"key-2"}
        store.sync(["./"])

    def test_a_lock_is_one_owners_until_it_is_released(self, store):
        lock = store.lock(".work/lock")
        assert lock is not None
        assert lock.is_held()
        assert store.lock(".work/lock") is None
        assert store.is_locked(".work/lock")
        lock.release()
        assert not store.is_locked(".work/lock")
        assert ".work" not in store.entries()
        again = store.lock(".work/lock")
        assert again is not None
        again.release()

    def test_list_names_everything_below_a_prefix_in_order(self, store):
        for name in (
            "info",
            "8_8_8/b",
            "8_8_8/a",
            "8_8_80/c",
            "8_8_8/x/y/z",
            ".hidden/file",
            "8_8_8/.x",
        ):
            store.put(name, b"")
        assert list(store.list()) == ["8_8_8/a", "8_8_8/b", "8_8_8/x/y/z", "8_8_80/c", "info"]
        assert list(store.list("8_8_8/")) == ["8_8_8/a", "8_8_8/b", "8_8_8/x/y/z"]
        assert list(store.list("8_8_8")) == ["8_8_8/a", "8_8_8/b", "8_8_8/x/y/z", "8_8_80/c"]
        assert list(store.list("8_8_8/x")) == ["8_8_8/x/y/z"]
        assert list(store.list("nothing/")) == []
        names = ("8_8_8", "8_8_8/x", "8_8", "nothing", "info")
        found = [name for name in names if store.has_any(name)]
        assert found == ["8_8_8", "8_8_8/x"]

    @pytest.mark.parametrize("name", ["", "/etc/passwd", "a\\b", "a\0b"])
    def test_improper_names_are_refused(self, store, name):
        for call in (store.get, store.size, store.put, store.delete):
            with pytest.raises(InputError):
                call(name)

    @pytest.mark.parametrize("name", ["../x", "..", ".", "a/../../x", "a/..", "./../x"])
    def test_nothing_outside_is_written_or_removed(self, store, name):
        for call in (store.put, store.delete):
            with pytest.raises(InputError, match="is not a file in"):
                call(name)

    def test_parts_that_fail_leave_what_was_there(self, store):
        def parts():
            yield b"half of it"
            raise RuntimeError("no more")

        store.put("name", b"old")
        with pytest.raises(RuntimeError):
            store.put_parts("name", parts())
        assert store.get("name") == b"old"
        assert list(store.list()) == ["name"]

    def test_readers_see_old_or_new_bytes_but_no_mixture(self, store):
        values = [bytes([number]) * 100_000 for number in range(4)]
        store.put("name", values[0])
        seen, stop = set(), threading.Event()

        def read():
            is_last = False
            while not is_last:
                is_last = stop.is_set()
                seen.add(store.get("name"))

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(200):
            store.put("name", values[number % 4][:50_000], values[number % 4][50_000:])
        stop.set()
        for reader in readers:
            reader.join()
        assert values[199 % 4] in seen
        assert seen <= set(values)

    def test_threads_make_the_same_folders_at_once(self, store):
        failures = []

        def work(number):
            try:
                for step in range(50):
                    store.put(f"a/{step}/b/{number}", b"value")
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(list(store.list())) == 200
