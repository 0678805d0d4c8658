from __future__ import annotations

import gzip as standard_gzip

import numpy as np
import pytest
from volumes import make_info, write_volume

import ngcore
from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError
from ngcore.storage import LocalStore, create_chunks, open_chunks

VOXELS = np.arange(10 * 6 * 4, dtype=np.uint16).reshape((10, 6, 4, 1), order="F")
INFO = make_info(VOXELS, chunk_sizes=((4, 4, 4),), voxel_offset=(-5, 0, 7))
CELL = (2, 1, 0)
ENCODED = VOXELS[8:, 4:].tobytes(order="F")
LAYOUTS = [(layout, gzip) for layout in ("flat", "nested") for gzip in (False, True)]
NAMES = {
    ("flat", False): "1_1_1/3-5_4-6_7-11",
    ("flat", True): "1_1_1/3-5_4-6_7-11.gz",
    ("nested", False): "1_1_1/3-5/4-6/7-11",
    ("nested", True): "1_1_1/3-5/4-6/7-11.gz",
}


class CountingStore(LocalStore):
    """Counts the files it looks for."""

    looks = 0

    def get_sized(self, name, start, stop):
        self.looks += 1
        return super().get_sized(name, start, stop)


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path)


def writer(store, layout, gzip):
    return create_chunks(store, INFO, 0, layout=layout, gzip=gzip)


@pytest.mark.parametrize(("layout", "gzip"), LAYOUTS)
class TestEveryLayout:
    def test_chunk_has_the_name_of_its_layout(self, store, layout, gzip):
        writer(store, layout, gzip).write(CELL, ENCODED)
        assert list(store.list()) == [NAMES[layout, gzip]]

    def test_chunk_is_read_wherever_it_lies(self, store, layout, gzip):
        writer(store, layout, gzip).write(CELL, ENCODED)
        assert open_chunks(store, INFO, 0).read(CELL) == ENCODED

    def test_chunk_of_zeros_is_written_too(self, store, layout, gzip):
        writer(store, layout, gzip).write(CELL, None)
        assert open_chunks(store, INFO, 0).read(CELL) == bytes(len(ENCODED))

    def test_absent_chunk_is_none(self, store, layout, gzip):
        writer(store, layout, gzip).write(CELL, ENCODED)
        assert open_chunks(store, INFO, 0).read((0, 0, 0)) is None

    def test_whole_volume_comes_back(self, tmp_path, layout, gzip):
        write_volume(tmp_path, VOXELS, INFO, layout=layout, gzip=gzip)
        np.testing.assert_array_equal(ngcore.open(tmp_path).scales[0][...], VOXELS)

    def test_layout_that_was_found_is_looked_for_first(self, tmp_path, layout, gzip):
        store = CountingStore(tmp_path)
        chunks = writer(store, layout, gzip)
        cells = list(INFO.scales[0].grid.cells())
        for cell in cells:
            chunks.write(cell, None)
        reader = open_chunks(store, INFO, 0)
        for cell in cells:
            assert reader.read(cell) is not None
        assert store.looks <= len(cells) + 3

    def test_copy_left_by_a_run_with_another_layout_is_removed(self, store, layout, gzip):
        for other in LAYOUTS:
            writer(store, *other).write(CELL, bytes(len(ENCODED)))
        writer(store, layout, gzip).write(CELL, ENCODED)
        assert list(store.list()) == [NAMES[layout, gzip]]
        assert open_chunks(store, INFO, 0).read(CELL) == ENCODED


def test_writers_do_not_list_what_is_there(tmp_path, monkeypatch):
    store = LocalStore(tmp_path)
    (tmp_path / "8_8_8/0-4").mkdir(parents=True)
    assert not store.has_any("8_8_8")  # folders without files are nothing
    store.put("8_8_8/0-4/.unfinished", b"chunk")
    assert not store.has_any("8_8_8")
    for number in range(9):
        store.put(f"8_8_8/0-4/{number}", b"chunk")
    assert store.has_any("8_8_8")
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "list", lambda *_: 1 / 0)  # a folder may hold millions
        writer(store, "flat", False).write(CELL, ENCODED)
    assert NAMES["flat", False] in store.list()


def test_reader_finds_chunks_of_mixed_layouts(store):
    cells = list(INFO.scales[0].grid.cells())
    for number, cell in enumerate(cells):
        layout, is_gzipped = LAYOUTS[number % 4]
        scale = INFO.scales[0]
        name = scale.grid.name(cell) if layout == "flat" else scale.grid.nested_name(cell)
        data = bytes([number])
        store.put(
            f"1_1_1/{name}" + ".gz" * is_gzipped, gzip.compress(data) if is_gzipped else data
        )
    reader = open_chunks(store, INFO, 0)
    assert [reader.read(cell) for cell in cells] == [bytes([n]) for n in range(len(cells))]


class AskingStore(LocalStore):
    """Is read as web servers are, and tells what of it is."""

    asks_ahead = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.asked = []

    def get_whole(self, name, max_size):
        self.asked.append(name)
        return super().get_whole(name, max_size)


def test_a_chunk_that_was_found_is_looked_for_nowhere_else(tmp_path):
    """Other copies may be damaged, and are bytes to load."""
    store = AskingStore(tmp_path)
    store.put(NAMES["nested", True], gzip.compress(ENCODED))
    store.put(NAMES["flat", True], bytes(5_000_000))
    store.put(NAMES["nested", False], ENCODED)
    reader = open_chunks(store, INFO, 0)
    absent = (0, 0, 0)
    (group,) = reader.in_groups([CELL, absent], 16, 1, None)
    assert dict(group()) == {CELL: ENCODED, absent: None}
    assert {name for name in store.asked if "3-5" in name} == {
        NAMES["flat", False],
        NAMES["nested", True],
    }
    assert len(store.asked) == len(set(store.asked))


def test_gzipped_chunk_of_other_programs_is_read(store):
    store.put(NAMES["flat", True], standard_gzip.compress(ENCODED))
    assert open_chunks(store, INFO, 0).read(CELL) == ENCODED


@pytest.mark.parametrize(
    "data", [b"", b"junk", gzip.compress(ENCODED)[:-1], gzip.compress(bytes(10_000_000))]
)
def test_damaged_gzip_names_its_file(store, data):
    store.put(NAMES["nested", True], data)
    with pytest.raises(FormatError, match=r"^1_1_1/3-5/4-6/7-11\.gz in "):
        open_chunks(store, INFO, 0).read(CELL)


@pytest.mark.parametrize(("layout", "gzip"), LAYOUTS)
def test_file_larger_than_any_chunk_is_refused_unread(store, layout, gzip):
    store.put(NAMES[layout, gzip], bytes(5_000_000))
    with pytest.raises(FormatError, match="larger than"):
        open_chunks(store, INFO, 0).read(CELL)


def test_cell_that_is_not_on_the_grid_is_refused(store):
    with pytest.raises(InputError, match="no chunk"):
        open_chunks(store, INFO, 0).read((3, 0, 0))
    with pytest.raises(InputError, match="no chunk"):
        writer(store, "flat", False).write((0, 0, -1), ENCODED)


def test_unknown_layout_is_refused(store):
    with pytest.raises(InputError, match="flat or nested"):
        create_chunks(store, INFO, 0, layout="deep")


def test_encoding_that_ngcore_lacks_is_refused(store):
    info = make_info(VOXELS.astype(np.uint8), encoding="jpegxl")
    with pytest.raises(InputError, match="jpegxl"):
        open_chunks(store, info, 0)


@pytest.mark.parametrize("ending", [".br", ".zst"])
@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_chunks_of_other_programs_are_decompressed(tmp_path, ending, layout):
    """CloudVolume writes brotli; taken for absent, such chunks would be zeros."""
    compress = {
        ".br": pytest.importorskip("brotli").compress,
        ".zst": pytest.importorskip("zstandard").compress,
    }[ending]
    store = LocalStore(tmp_path)
    grid = INFO.scales[0].grid
    name = grid.name((0, 0, 0)) if layout == "flat" else grid.nested_name((0, 0, 0))
    data = VOXELS[:4, :4, :4].tobytes(order="F")
    store.put(f"{INFO.scales[0].key}/{name}{ending}", compress(data))
    assert open_chunks(store, INFO, 0).read((0, 0, 0)) == data
    store.put(f"{INFO.scales[0].key}/{name}{ending}", compress(data)[:-5])
    with pytest.raises(FormatError, match=f"{ending[1:3]}.*end too early"):
        open_chunks(store, INFO, 0).read((0, 0, 0))
    assert open_chunks(store, INFO, 0).read((1, 0, 0)) is None
