"""Zip files, as Python and tensorstore write and read them."""

from __future__ import annotations

import struct
import zipfile
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import served
from store_contract import ReadableContract

from ngcore.codecs.zip_file import ChangedError, Entry, ZipParts
from ngcore.errors import FormatError, InputError, InputNotFoundError, NgcoreError
from ngcore.storage import LocalStore, open_store


def write(path, content, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


class TestZip(ReadableContract):
    def filled(self, folder, content):
        return open_store(write(folder / "v.zip", content))


@pytest.fixture(scope="module")
def served_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    with served(root) as url:
        yield root, url


class TestZipOnAServer(ReadableContract):
    @pytest.fixture(autouse=True)
    def _served(self, served_root):
        self.root = served_root

    def filled(self, folder, content):
        root, url = self.root
        write(root / f"{folder.name}.zip", {f"a b/{name}": data for name, data in content.items()})
        return open_store(f"{url}/{folder.name}.zip|zip:a%20b/|neuroglancer-precomputed:")


@given(
    st.dictionaries(
        st.from_regex(r"[a-zé0-9_]{1,9}(/[a-z0-9:]{1,5}){0,2}", fullmatch=True),
        st.binary(max_size=50),
        max_size=6,
    )
)
def test_what_is_written_python_reads_and_so_do_we(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("zip") / "v.zip"
    entries = [
        Entry(name, len(data), lambda data=data: [data[:3], data[3:]])
        for name, data in content.items()
    ]
    path.write_bytes(b"".join(ZipParts(entries).in_order()))
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == content
    store = open_store(path)
    assert {name: store.get(name) for name in store.list()} == content


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(1, 9), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_patched_has_the_bytes_of_one_in_order(
    tmp_path, monkeypatch, content, step, is_known
):
    """Pieces lie in memory that is used again; some zips are zip64."""
    monkeypatch.setattr("ngcore.codecs.zip_file.MOST_BYTES", 30)

    def pieces(data):
        memory = bytearray(step)
        for start in range(0, len(data), step):
            part = data[start : start + step]
            memory[: len(part)] = part
            yield memoryview(memory)[: len(part)]

    entries = [
        Entry(f"é{number}", len(data) if is_known else None, partial(pieces, data))
        for number, data in enumerate(content)
    ]
    expected, patched = ZipParts(entries), ZipParts(entries)
    in_order = b"".join(bytes(part) for part in expected.in_order())
    LocalStore(tmp_path).put_patched("v.zip", patched.patched())
    assert (tmp_path / "v.zip").read_bytes() == in_order
    sizes = [(parts.count, parts.size) for parts in (expected, patched)]
    assert sizes == [(len(content), len(in_order))] * 2


def test_entries_that_change_meanwhile_are_noticed():
    for size in (4, 6):
        parts = ZipParts([Entry("a", size, lambda: [b"123", b"45"])])
        for yielded in (parts.in_order(), parts.patched()):
            with pytest.raises(ChangedError, match="a"):
                list(yielded)
    ever_others = iter([[b"123"], [b"124"]])
    with pytest.raises(ChangedError, match="a"):
        list(ZipParts([Entry("a", 3, lambda: next(ever_others))]).in_order())


def test_zip64_is_written_where_it_is_needed(tmp_path, monkeypatch):
    """As if a zip could have no more than 10 bytes, or 3 entries."""
    monkeypatch.setattr("ngcore.codecs.zip_file.MOST_ENTRIES", 3)
    parts = b"".join(ZipParts([Entry(str(i), 5, lambda: [b"12345"]) for i in range(4)]).in_order())
    assert b"PK\6\6" in parts
    # What would be saturated is 3 there: the fields of 64 bits count.
    (tmp_path / "v.zip").write_bytes(parts)
    record = parts.index(b"PK\6\6")
    assert struct.unpack_from("<2Q", parts, record + 24) == (4, 4)


def test_compressed_entries_are_refused_with_the_reason(tmp_path):
    path = write(tmp_path / "v.zip", {"info": b"{}" * 99}, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="info is compressed, and Neuroglancer reads"):
        open_store(path)


def test_damage_is_found(tmp_path):
    path = write(tmp_path / "v.zip", {"info": b"0123456789"})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"0123456789", b"0123456780"))
    with pytest.raises(FormatError, match="info is damaged: its checksum"):
        open_store(path).get("info")
    path.write_bytes(data[:-30])
    with pytest.raises(FormatError, match="not a valid zip"):
        open_store(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="not a valid zip"):
        open_store(path)
    with pytest.raises(InputNotFoundError, match="there is no file"):
        open_store(tmp_path / "w.zip|zip:")
    with pytest.raises(InputError, match="only zip: can be read"):
        open_store("https://example.org/v.zip|tar:")


@given(st.data())
def test_no_bytes_end_in_another_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("zip") / "v.zip"
    sound = write(path, {"info": b"{}", "a/b": b"x" * 50}).read_bytes()
    changed = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed[: data.draw(st.integers(0, len(sound)))])
    try:
        store = open_store(path)
        for name in store.list():
            store.get(name)
            store.get(name, 1, 2)
    except NgcoreError:
        pass
