from __future__ import annotations

import contextlib
import random
import struct
import threading
import time
import zlib

import numpy as np
import pytest
import thorough
from encoding_contract import mutants
from volumes import make_info, write_volume

import ngcore
from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError, StorageError
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.storage import LocalStore, create_chunks, open_chunks, writable_store
from ngcore.volume.chunk_cache import ChunkCache
from ngcore.volume.scale import ScaleArray

SIZE = (23, 18, 11)
CHUNK = (4, 3, 5)
SPECS = {
    "boxes": ShardingSpec(3, "identity", 0, 3, "gzip", "gzip"),
    "one shard": ShardingSpec(9, "identity", 0, 0, "raw", "gzip"),
    "minishards": ShardingSpec(1, "identity", 2, 3, "raw", "raw"),
    "scattered": ShardingSpec(0, "murmurhash3_x86_128", 3, 2, "gzip", "raw"),
}
WHOLE_BOXES = ShardingSpec(3, "identity", 0, 5, "gzip", "gzip")
every_spec = pytest.mark.parametrize("spec", list(SPECS.values()), ids=list(SPECS))


def noise(seed=0):
    """Return voxels of which no chunk is like another, but some are zeros."""
    voxels = np.random.default_rng(seed).integers(1, 99, (*SIZE, 1), np.uint8)
    voxels[8:16, :6] = 0
    return voxels


def info_of(spec):
    return make_info(noise(), chunk_sizes=(CHUNK,), voxel_offset=(-3, 1, 0), sharding=spec)


def shard_files(folder):
    return {path.name: path.read_bytes() for path in (folder / "1_1_1").iterdir()}


def encoded(cell):
    return repr(cell).encode() * 3


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "volume")


@every_spec
class TestEverySharding:
    def test_volume_comes_back(self, tmp_path, spec):
        write_volume(tmp_path, noise(), info_of(spec))
        np.testing.assert_array_equal(ngcore.open(tmp_path).scales[0][...], noise())

    def test_bytes_do_not_depend_on_the_order_of_arrival_or_on_memory(self, tmp_path, spec):
        write_volume(tmp_path / "0", noise(), info_of(spec))
        expected = shard_files(tmp_path / "0")
        for seed in range(1, thorough.amount(3, 50)):
            folder = tmp_path / str(seed)
            write_volume(folder, noise(), info_of(spec), shuffled=seed, memory=(seed - 1) * 100)
            assert shard_files(folder) == expected

    def test_bytes_do_not_depend_on_threads(self, tmp_path, spec):
        write_volume(tmp_path / "serial", noise(), info_of(spec))
        info = info_of(spec)
        grid = info.scales[0].grid
        for seed in range(thorough.amount(2, 30)):
            store = LocalStore(tmp_path / f"threads {seed}")
            writer = create_chunks(store, info, 0, memory=500)
            cells = list(grid.cells())
            random.Random(seed).shuffle(cells)
            failures = []

            def work(cells, writer=writer, failures=failures):
                try:
                    for cell in cells:
                        chunk = noise()[grid.bounds(cell).slices((-3, 1, 0))]
                        writer.write(cell, chunk.tobytes("F") if chunk.any() else None)
                except BaseException as error:
                    failures.append(error)

            threads = [threading.Thread(target=work, args=(cells[n::4],)) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            writer.finish()
            assert not failures
            assert shard_files(store.path) == shard_files(tmp_path / "serial")

    def test_chunks_of_zeros_are_left_out_and_every_shard_is_there(self, store, spec):
        info = info_of(spec)
        writer = create_chunks(store, info, 0)
        for cell in info.scales[0].grid.cells():
            writer.write(cell, None)
        writer.finish()
        grid = info.scales[0].grid
        expected = {spec.file_name(spec.locate(grid.chunk_id(cell))[0]) for cell in grid.cells()}
        assert shard_files(store.path) == dict.fromkeys(expected, bytes(16 << spec.minishard_bits))
        assert open_chunks(store, info, 0).read((0, 0, 0)) is None

    def test_shard_file_that_is_not_there_holds_zeros(self, store, spec):
        reader = open_chunks(store, info_of(spec), 0)
        assert reader.read((0, 0, 0)) is None

    def test_chunk_that_came_twice_is_refused(self, store, spec):
        writer = create_chunks(store, info_of(spec), 0)
        writer.write((1, 0, 0), b"1")
        with pytest.raises(InputError, match="written twice"):
            writer.write((1, 0, 0), None)
        writer.abort()

    def test_missing_chunks_are_an_error_of_finish(self, store, spec):
        info = info_of(spec)
        writer = create_chunks(store, info, 0)
        for cell in list(info.scales[0].grid.cells())[1:]:
            writer.write(cell, encoded(cell))
        with pytest.raises(InputError, match="1 shards of 1_1_1 lack chunks"):
            writer.finish()
        with pytest.raises(InputError, match="lack chunks"):
            writer.finish(whole=False)
        writer.abort()

    def test_damaged_shards_never_crash(self, tmp_path, spec):
        write_volume(tmp_path, noise(), info_of(spec))
        for path in sorted((tmp_path / "1_1_1").iterdir())[:2]:
            data = path.read_bytes()
            for mutant in mutants(data, thorough.amount(20, 1000)):
                path.write_bytes(mutant)
                with contextlib.suppress(FormatError):
                    ngcore.open(tmp_path).scales[0][...]
            path.write_bytes(data)

    def test_shard_cut_short_anywhere_is_refused(self, tmp_path, spec):
        write_volume(tmp_path, np.ones((*SIZE, 1), np.uint8), info_of(spec))
        path = sorted((tmp_path / "1_1_1").iterdir())[0]
        data = path.read_bytes()
        for length in range(0, len(data), 1 + len(data) // 100):
            path.write_bytes(data[:length])
            with pytest.raises(FormatError, match=f"^1_1_1/{path.name} in "):
                ngcore.open(tmp_path).scales[0][...]


class FarStore(LocalStore):
    """A folder that says it is far away, and notes what it is asked for."""

    is_remote = True

    def __init__(self, path):
        super().__init__(path)
        self.asked = []

    def get_sized(self, name, start, stop):
        self.asked.append((name, start, stop))
        return super().get_sized(name, start, stop)


def far_scale(folder, info, workers):
    store = FarStore(folder)
    return store, ScaleArray(store, info, 0, workers=workers, cache=ChunkCache(1 << 20))


@every_spec
class TestFarShards:
    def test_boxes_come_back_whatever_is_kept_of_them(self, tmp_path, spec):
        write_volume(tmp_path, noise(), info_of(spec))
        _, scale = far_scale(tmp_path, info_of(spec), 4)
        draw = random.Random(0)
        for _ in range(thorough.amount(40, 1000)):
            ends = [sorted(draw.sample(range(size + 1), 2)) for size in SIZE]
            box = tuple(slice(*pair) for pair in ends)
            np.testing.assert_array_equal(scale[box], noise()[box])

    def test_each_index_is_asked_for_once_however_many_threads_wait(self, tmp_path, spec):
        write_volume(tmp_path, noise(), info_of(spec))
        store, scale = far_scale(tmp_path, info_of(spec), 8)
        grid = info_of(spec).scales[0].grid
        list(scale.blocks(workers=8))
        shards = {name for name, _, _ in store.asked}
        indexes = [request for request in store.asked if request[2] <= spec.shard_index_size]
        assert len(indexes) == len(set(indexes)) == len(shards)
        assert len(store.asked) == len(set(store.asked))
        minishards = {spec.locate(grid.chunk_id(cell)) for cell in grid.cells()}
        chunks = sum(noise()[grid.bounds(c).slices((-3, 1, 0))].any() for c in grid.cells())
        assert len(store.asked) <= len(shards) + len(minishards) + chunks

    def test_chunks_side_by_side_take_one_request(self, tmp_path, spec):
        write_volume(tmp_path, noise(), info_of(spec))
        store, scale = far_scale(tmp_path, info_of(spec), 4)
        np.testing.assert_array_equal(scale[...], noise())
        # Chunks of these sizes fit in one request for each shard; one index for each minishard.
        grid = info_of(spec).scales[0].grid
        minishards = {spec.locate(grid.chunk_id(cell)) for cell in grid.cells()}
        shards = {shard for shard, _ in minishards}
        assert len(store.asked) <= 2 * len(shards) + len(minishards)


@pytest.mark.parametrize("name", ["boxes", "one shard"])
def test_a_damaged_chunk_among_others_is_named(tmp_path, name):
    info = info_of(SPECS[name])
    write_volume(tmp_path, noise(), info)
    store = LocalStore(tmp_path)
    stored = open_chunks(store, info, 0).read_stored((3, 4, 1))
    paths = (tmp_path / "1_1_1").iterdir()
    [path] = [path for path in paths if stored in path.read_bytes()]
    # The last byte but four is of the checksum of its gzip.
    path.write_bytes(path.read_bytes().replace(stored, stored[:-5] + b"?" + stored[-4:]))
    chunk = info.scales[0].grid.name((3, 4, 1))
    for box in (np.s_[...], np.s_[12:16, 12:15, 5:10], np.s_[9:17, 13:18]):
        with pytest.raises(FormatError, match=rf"{path.name} in .*: chunk {chunk}: "):
            far_scale(tmp_path, info, 4)[1][box]


def test_shard_is_written_as_soon_as_it_is_complete(store):
    info = info_of(WHOLE_BOXES)
    grid = info.scales[0].grid
    writer = create_chunks(store, info, 0)
    for cell in grid.cells():
        if max(cell) <= 1:
            assert list(store.list()) == []
            writer.write(cell, encoded(cell))
    assert list(store.list()) == ["1_1_1/00.shard"]
    reader = open_chunks(store, info, 0)
    assert reader.read((1, 1, 1)) == encoded((1, 1, 1))
    with pytest.raises(InputError, match="chunks of 1_1_1 are missing"):
        writer.finish()
    writer.finish(whole=False)


def test_chunk_of_a_shard_that_is_written_is_refused(store):
    writer = create_chunks(store, info_of(WHOLE_BOXES), 0)
    for cell in np.ndindex(2, 2, 2):
        writer.write(cell, b"chunk")
    with pytest.raises(InputError, match="written twice"):
        writer.write((0, 0, 0), b"chunk")
    writer.abort()


def test_gzip_of_shards_is_rfc_1952(store):
    info = info_of(SPECS["one shard"])
    writer = create_chunks(store, info, 0)
    for cell in info.scales[0].grid.cells():
        writer.write(cell, encoded(cell))
    writer.finish()
    assert open_chunks(store, info, 0).read_stored((0, 0, 0)) == gzip.compress(encoded((0, 0, 0)))


def test_memory_is_bounded_and_room_in_the_spool_is_used_again(store, tmp_path):
    # 4 shards of 8 chunks each, side by side, whose slabs arrive one after the other.
    voxels = np.zeros((2, 2, 64, 1), np.uint8)
    spec = ShardingSpec(3, "identity", 0, 5)
    info = make_info(voxels, chunk_sizes=((1, 1, 1),), sharding=spec)
    writer = create_chunks(store, info, 0, memory=1000, spool_dir=tmp_path)
    for z in range(64):
        for x, y in np.ndindex(2, 2):
            writer.write((x, y, z), bytes([1 + z]) * 3)
    writer.finish()
    reader = open_chunks(store, info, 0)
    for z in range(64):
        assert reader.read((1, 0, z)) == bytes([1 + z]) * 3

    writer = create_chunks(
        LocalStore(tmp_path / "big"), info, 0, memory=10_000, spool_dir=tmp_path
    )
    largest = 0
    for z in range(64):
        for x, y in np.ndindex(2, 2):
            writer.write((x, y, z), random.Random(z).randbytes(5000))
            largest = max(largest, writer._spool.size if writer._spool is not None else 0)
            assert writer._free_memory >= 0
    assert 0 < largest <= 8 * 8192
    writer.finish()
    assert writer._free_memory == 10_000


def test_shard_that_can_not_be_written_is_a_storage_error(store):
    store.put("1_1_1", b"a file where the folder should be")
    writer = create_chunks(store, info_of(WHOLE_BOXES), 0)
    *cells, last = np.ndindex(2, 2, 2)
    for cell in cells:
        writer.write(cell, encoded(cell))
    with pytest.raises(StorageError, match=r"can't write .*00\.shard"):
        writer.write(last, encoded(last))
    writer.abort()


def test_abort_leaves_no_temporary_file(store, tmp_path):
    folder = tmp_path / "spool"
    folder.mkdir()
    writer = create_chunks(store, info_of(SPECS["boxes"]), 0, memory=0, spool_dir=folder)
    writer.write((0, 0, 0), b"chunk")
    writer.abort()
    writer.abort()
    assert list(folder.iterdir()) == []
    assert list(store.list()) == []


def test_cell_that_is_not_on_the_grid_is_refused(store):
    with pytest.raises(InputError, match="no chunk"):
        create_chunks(store, info_of(SPECS["boxes"]), 0).write((99, 0, 0), b"chunk")
    with pytest.raises(InputError, match="no chunk"):
        open_chunks(store, info_of(SPECS["boxes"]), 0).read((99, 0, 0))


class TestForeignShards:
    """A shard file put together by hand: one minishard, the chunk (0, 0, 0)."""

    SPEC = ShardingSpec(6, "identity", 0, 0, "raw", "gzip")
    VOXELS = np.arange(64, dtype=np.uint8).reshape((4, 4, 4, 1), order="F")
    INFO = make_info(VOXELS, chunk_sizes=((4, 4, 4),), sharding=SPEC)

    def put(self, store, data, index=None, range_=None):
        table = struct.pack("<3Q", 0, 0, len(data)) if index is None else index
        start, stop = range_ or (len(data), len(data) + len(table))
        store.put("1_1_1/0.shard", struct.pack("<2Q", start, stop), data, table)
        return open_chunks(store, self.INFO, 0)

    def test_sound_one_is_read(self, store):
        voxels = self.VOXELS.tobytes("F")
        assert self.put(store, gzip.compress(voxels)).read((0, 0, 0)) == voxels

    def test_zlib_stream_is_named(self, store):
        reader = self.put(store, zlib.compress(self.VOXELS.tobytes("F")))
        with pytest.raises(
            FormatError, match=r"^1_1_1/0\.shard in .*: chunk 0-4_0-4_0-4: a zlib stream"
        ):
            reader.read((0, 0, 0))
        assert zlib.decompress(reader.read_stored((0, 0, 0))) == self.VOXELS.tobytes("F")

    def test_bomb_is_refused(self, store):
        reader = self.put(store, gzip.compress(bytes(100_000_000))[:1000])
        with pytest.raises(FormatError, match="more than the 64 bytes"):
            reader.read((0, 0, 0))

    def test_chunk_larger_than_any_is_not_even_read(self, store):
        reader = self.put(store, bytes(100_000))
        with pytest.raises(FormatError, match="100000 bytes, but at most 64 are expected"):
            reader.read((0, 0, 0))

    def test_chunk_listed_without_data_is_absent(self, store):
        assert self.put(store, b"").read((0, 0, 0)) is None

    def test_ranges_outside_of_the_file_are_refused(self, store):
        most = 2**64 - 1
        for start, size in ((0, 10**6), (most, 1), (10**6, 0), (0, most), (most, most)):
            reader = self.put(store, b"data", index=struct.pack("<3Q", 0, start, size))
            with pytest.raises(FormatError, match=r"^1_1_1/0\.shard in "):
                reader.read((0, 0, 0))
        for range_ in ((0, 10**6), (5, 4), (most - 3, most), (0, most)):
            reader = self.put(store, b"data", range_=range_)
            with pytest.raises(FormatError, match=r"^1_1_1/0\.shard in "):
                reader.read((0, 0, 0))

    def test_index_whose_gzip_is_a_bomb_is_refused(self, store):
        spec = ShardingSpec(6, "identity", 0, 0, "gzip", "raw")
        info = make_info(self.VOXELS, chunk_sizes=((4, 4, 4),), sharding=spec)
        bomb = gzip.compress(bytes(1_000_000))
        store.put("1_1_1/0.shard", struct.pack("<2Q", 0, len(bomb)), bomb)
        with pytest.raises(FormatError, match="minishard 0"):
            open_chunks(store, info, 0).read((0, 0, 0))


def test_shard_index_of_many_minishards_is_read_in_parts(tmp_path):
    spec = ShardingSpec(0, "murmurhash3_x86_128", 14, 0, "gzip", "raw")
    write_volume(tmp_path, noise(), info_of(spec))
    np.testing.assert_array_equal(ngcore.open(tmp_path).scales[0][...], noise())


def test_readers_are_shared_by_threads(tmp_path):
    write_volume(tmp_path, noise(), info_of(SPECS["scattered"]))
    scale = ngcore.open(tmp_path).scales[0]
    failures = []

    def work():
        if not np.array_equal(scale[...], noise()):
            failures.append("other voxels")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


class _Slow:
    """Counts how many requests are on their way at once."""

    def __init__(self, monkeypatch, store):
        self.most, self._now, self._lock = 0, 0, threading.Lock()
        for name in ("get_buffer", "get_sized"):
            monkeypatch.setattr(type(store), name, self._counted(getattr(type(store), name)))

    def _counted(self, get):
        def counted(*args):
            with self._lock:
                self._now += 1
                self.most = max(self.most, self._now)
            time.sleep(0.005)
            try:
                return get(*args)
            finally:
                with self._lock:
                    self._now -= 1

        return counted


@pytest.mark.parametrize(
    "spec", [ShardingSpec(3, "identity", 0, 9), ShardingSpec(3, "identity", 9, 0)]
)
def test_indexes_of_shards_far_away_are_read_many_at_once(monkeypatch, spec):
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    voxels = np.empty((64, 64, 64, 1), np.uint8)
    info = make_info(voxels, chunk_sizes=((4, 4, 4),), sharding=spec)
    store = writable_store(f"memory://indexes{spec.shard_bits}/v")
    store.put("info", info.to_json().encode())
    writer = create_chunks(store, info, 0)
    for cell in info.scales[0].grid.cells():
        writer.write(cell, bytes(64) if cell[0] == cell[1] and not cell[2] % 2 else None)
    writer.finish()
    slow = _Slow(monkeypatch, store)
    present = ngcore.open(store.location).scales[0].present
    assert sorted(present) == [(x, x, z) for x in range(16) for z in range(0, 16, 2)]
    assert 4 < slow.most <= 32  # 16 of each kind of index
