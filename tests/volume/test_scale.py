"""Blocks, threads, the cache of chunks and pickles of an open volume."""

from __future__ import annotations

import gzip
import itertools
import math
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import amount
from volumes import labels, make_info, write_volume

import ngcore
from ngcore.errors import FormatError, InputError
from ngcore.storage import LocalStore
from ngcore.volume.chunk_cache import ChunkCache
from ngcore.volume.scale import ScaleArray

SHAPE = (37, 22, 19, 1)
OFFSET = (-5, 0, 7)
ENCODINGS = ["raw", "compressed_segmentation", "png"]


@pytest.fixture(scope="module", params=ENCODINGS)
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    voxels = labels(SHAPE, "uint16" if request.param == "png" else "uint32")
    members = {"encoding": request.param, "chunk_sizes": ((16, 8, 8),), "voxel_offset": OFFSET}
    if request.param == "compressed_segmentation":
        members["compressed_segmentation_block_size"] = (8, 8, 8)
    info = make_info(voxels, **members)
    write_volume(folder, voxels, info)
    return folder, voxels


@settings(max_examples=amount(20, 500), deadline=None)
@given(data=st.data())
def test_reads_after_one_another_agree_whatever_was_kept(folder, data):
    path, voxels = folder
    cache_bytes = data.draw(st.sampled_from([0, 200, 3000, 1 << 20]))
    scale = ngcore.open(path, cache_bytes=cache_bytes).scales[0]
    for _ in range(4):
        index = tuple(
            slice(*sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))), data.draw(steps))
            for n, steps in zip(SHAPE[:3], [st.integers(1, 3)] * 3, strict=True)
        )
        np.testing.assert_array_equal(scale[index], voxels[index])


class SpanStore(LocalStore):
    """Notes how many bytes it is asked for."""

    bytes_read = 0

    def get_sized(self, name, start, stop):
        found = super().get_sized(name, start, stop)
        self.bytes_read += 0 if found is None else len(found[0])
        return found


class TestPartsOfRawChunks:
    """Without a cache, no more of a raw file is read than from the first to the last voxel."""

    CHUNK = (16, 8, 8)

    @pytest.fixture
    def written(self, tmp_path):
        voxels = labels((*SHAPE[:3], 3), "uint16")
        info = make_info(voxels, encoding="raw", chunk_sizes=(self.CHUNK,), voxel_offset=OFFSET)
        write_volume(tmp_path, voxels, info)
        return tmp_path, voxels

    def scale_of(self, folder):
        store = SpanStore(folder)
        return store, ScaleArray(store, ngcore.open(folder).info, 0)

    def test_only_their_bytes_are_read(self, written):
        folder, voxels = written
        store, scale = self.scale_of(folder)
        index = (slice(18, 23, 2), slice(9, 12), slice(1, 7, 3), slice(1, 2))
        np.testing.assert_array_equal(scale[index], voxels[index])
        assert store.bytes_read == 2 * (3 * 128 + 2 * 16 + 4 + 1)  # planes, rows, voxels
        np.testing.assert_array_equal(scale[20, 10, 4], voxels[20, 10, 4])

    def test_gzipped_absent_and_nested_chunks_are_read_as_ever(self, written):
        folder, voxels = written
        chunks = sorted((folder / "1_1_1").iterdir())
        data = chunks[0].read_bytes()
        chunks[0].with_name(f"{chunks[0].name}.gz").write_bytes(gzip.compress(data))
        chunks[0].unlink()
        nested = folder / "1_1_1" / chunks[1].name.replace("_", "/")
        nested.parent.mkdir(parents=True)
        chunks[1].rename(nested)
        absent = ngcore.open(folder).info.scales[0].grid.cell_of_name(chunks[2].name)
        chunks[2].unlink()
        box = tuple(slice(n * s, n * s + s) for n, s in zip(absent, self.CHUNK, strict=True))
        expected = voxels.copy()
        expected[box] = 0
        _, scale = self.scale_of(folder)
        np.testing.assert_array_equal(scale[1:36, 1:21, 1:18], expected[1:36, 1:21, 1:18])

    @pytest.mark.parametrize("change", [-2, 2])
    def test_a_file_of_another_size_is_damaged_although_the_part_is_there(self, written, change):
        folder, voxels = written
        first = folder / "1_1_1" / "-5-11_0-8_7-15"
        data = first.read_bytes() + b"\0\0"
        first.write_bytes(data[: len(data) - 2 + change])
        _, scale = self.scale_of(folder)
        with pytest.raises(FormatError, match=r"chunk 1_1_1/-5-11_0-8_7-15 .* has 6144 bytes"):
            scale[2:5, 2:5, 2:5]
        np.testing.assert_array_equal(scale[17:20, 2:5, 2:5], voxels[17:20, 2:5, 2:5])


def test_blocks_fill_an_array_of_the_shape_of_the_scale(folder):
    path, voxels = folder
    filled = np.zeros(SHAPE, voxels.dtype)
    for box, block in ngcore.open(path).scales[0].blocks(workers=3):
        assert block.flags.f_contiguous
        assert filled[box].shape == block.shape
        filled[box] += block
    np.testing.assert_array_equal(filled, voxels)


def test_blocks_can_be_left_early_and_raise_what_is_wrong(folder):
    path, _ = folder
    blocks = ngcore.open(path).scales[0].blocks()
    next(blocks)
    blocks.close()
    with pytest.raises(InputError, match="workers must be 1 or more, got 0"):
        next(ngcore.open(path).scales[0].blocks(workers=0))


def test_a_damaged_chunk_is_named_whichever_way_it_is_read(tmp_path):
    voxels = labels(SHAPE, "uint32")
    write_volume(tmp_path, voxels, make_info(voxels, chunk_sizes=((16, 8, 8),)))
    (tmp_path / "1_1_1" / "16-32_8-16_0-8").write_bytes(b"damaged")
    scale = ngcore.open(tmp_path).scales[0]
    for read in (lambda: scale[:], lambda: scale[20, 10], lambda: list(scale.blocks())):
        with pytest.raises(FormatError, match="16-32_8-16_0-8"):
            read()
    np.testing.assert_array_equal(scale[:16], voxels[:16])


def test_large_reads_use_several_threads(tmp_path, monkeypatch):
    voxels = np.ones((128, 128, 128, 1), np.uint8)
    write_volume(tmp_path, voxels, make_info(voxels, chunk_sizes=((32, 32, 32),)))
    by_four = ngcore.open(tmp_path, workers=4).scales[0]
    by_one = ngcore.open(tmp_path, workers=1).scales[0]
    asked, used, two = itertools.count(), set(), threading.Barrier(2)
    original = LocalStore.get

    def get(self, *args):
        if next(asked) < 2:
            two.wait(timeout=60)  # nobody passes before a second thread is here, too
        used.add(threading.get_ident())
        return original(self, *args)

    monkeypatch.setattr(LocalStore, "get", get)
    np.testing.assert_array_equal(by_four[:], voxels)
    assert next(asked) == math.prod(by_four.info.grid.shape)
    used.clear()
    np.testing.assert_array_equal(by_one[:], voxels)
    assert used == {threading.get_ident()}


def _first_voxels(scale):
    return scale[:3, :4, :5]


def test_scales_and_volumes_pickle_before_and_after_reading(folder):
    path, voxels = folder
    volume = ngcore.open(path)
    for _ in range(2):
        again = pickle.loads(pickle.dumps(volume))
        scale = pickle.loads(pickle.dumps(volume.scales[0]))
        np.testing.assert_array_equal(again.scales[0][5:30], voxels[5:30])
        np.testing.assert_array_equal(scale[5:30], voxels[5:30])
        volume.scales[0][3:9, 2, 1]
    with ProcessPoolExecutor(1) as pool:
        there = pool.submit(_first_voxels, volume.scales[0]).result()
    np.testing.assert_array_equal(there, voxels[:3, :4, :5])


def test_many_threads_read_one_scale(folder):
    path, voxels = folder
    scale = ngcore.open(path, cache_bytes=2000).scales[0]
    with ThreadPoolExecutor(8) as pool:
        planes = list(pool.map(lambda z: scale[:, :, z], [*range(SHAPE[2])] * 3))
    for z, plane in zip([*range(SHAPE[2])] * 3, planes, strict=True):
        np.testing.assert_array_equal(plane, voxels[:, :, z])


@settings(max_examples=amount(30, 500), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=40))
def test_the_cache_stays_within_its_bytes(puts):
    cache = ChunkCache(100)
    for cell, size in puts:
        cache.put(0, (cell, 0, 0), bytes(size))
        kept = [cache.get(0, (number, 0, 0)) for number in range(10)]
        assert sum(len(found[0]) for found in kept if found is not None) <= 100
        assert cache.get(0, (cell, 0, 0)) is not None


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"workers": True}, {"cache_bytes": -1}, {"cache_bytes": True}]
)
def test_options_of_open_that_make_no_sense_are_refused(folder, options):
    with pytest.raises(InputError, match=f"{next(iter(options))} must be"):
        ngcore.open(folder[0], **options)
