"""Planes and boxes one after the other, in any order, beside the same reads of NumPy."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import amount
from volumes import labels, make_info, write_volume

import ngcore
from ngcore.errors import FormatError, VolumeIndexError
from ngcore.storage import LocalStore
from ngcore.volume.chunk_cache import ChunkCache
from ngcore.volume.index import Selection
from ngcore.volume.scale import ScaleArray
from ngcore.volume.slabs import Slabs

SHAPE = (41, 37, 35)
CHUNK = (16, 16, 24)
ENCODINGS = {"raw": ("uint16", 2), "compressed_segmentation": ("uint64", 2), "png": ("uint8", 1)}


class CountingStore(LocalStore):
    """Notes the names of files that are read whole."""

    def __init__(self, path):
        super().__init__(path)
        self.read = []

    def get_whole(self, name, max_size):
        self.read.append(name)
        return super().get_whole(name, max_size)


@pytest.fixture(scope="module", params=list(ENCODINGS))
def written(request, tmp_path_factory):
    dtype, channels = ENCODINGS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    voxels = labels((*SHAPE, channels), dtype)
    members = {"encoding": request.param, "chunk_sizes": (CHUNK,), "voxel_offset": (3, -2, 0)}
    if request.param == "compressed_segmentation":
        members["compressed_segmentation_block_size"] = (8, 8, 8)
    info = make_info(voxels, **members)
    write_volume(folder, voxels, info)
    return folder, voxels, info


def planes(axis, size):
    """Indices of every plane along an axis."""
    return [(*[slice(None)] * axis, number) for number in range(size)]


@st.composite
def walks(draw):
    """Indices one after the other: along an axis, in steps either way, of a part or of all."""
    axis = draw(st.integers(0, 2))
    ends = [
        draw(st.sampled_from([(0, size), (1, size - 3), (size // 2, size // 2 + 1)]))
        for size in SHAPE
    ]
    index = [
        slice(None) if end[1] == size else slice(*end)
        for end, size in zip(ends, SHAPE, strict=True)
    ]
    count, step = draw(st.sampled_from([0, 0, 1, 2, 3])), draw(st.sampled_from([1, -1, 2, -3, 7]))
    start, length = draw(st.integers(0, SHAPE[axis] - 1)), draw(st.integers(1, 20))
    if draw(st.booleans()):
        index.append(draw(st.sampled_from([0, slice(0, 1), slice(None)])))
    if axis == 2 and draw(st.booleans()):
        index = [Ellipsis, *index[2:]] if len(index) == 4 else index
    place = index.index(Ellipsis) + 1 if Ellipsis in index else axis
    found = []
    for number in range(length):
        first = start + number * step
        if not 0 <= first < SHAPE[axis] - count:
            break
        part = slice(first, first + count) if count else first
        found.append((*index[:place], part, *index[place + 1 :]))
    return found


@settings(max_examples=amount(25, 3000), deadline=None)
@given(data=st.data())
def test_any_order_of_reads_gives_what_numpy_gives(written, data):
    folder, voxels, info = written
    cache = ChunkCache(data.draw(st.sampled_from([0, 5_000, 60_000, 1 << 20, 1 << 24])))
    scale = ScaleArray(LocalStore(folder), info, 0, cache=cache)
    for walk in data.draw(st.lists(walks(), min_size=1, max_size=4)):
        for index in walk:
            found = scale[index]
            np.testing.assert_array_equal(found, voxels[index])
            assert found.flags.f_contiguous
            assert cache._bytes <= cache.max_bytes
            found[...] = 99  # it is the caller's: nobody else reads this
    assert cache._bytes == sum(size for _, size in cache._chunks.values())
    again = pickle.loads(pickle.dumps(scale))
    np.testing.assert_array_equal(again[:, 3], voxels[:, 3])


@pytest.mark.parametrize("axis", range(3))
def test_a_walk_reads_each_chunk_once_and_keeps_what_the_cache_may_hold(written, axis):
    folder, voxels, info = written
    store = CountingStore(folder)
    cache = ChunkCache(1 << 20)
    scale = ScaleArray(store, info, 0, cache=cache)
    for index in planes(axis, SHAPE[axis]):
        np.testing.assert_array_equal(scale[index], voxels[index])
        assert cache._bytes <= cache.max_bytes
    names = set(store.read)
    assert len(names) == 3 * 3 * 2
    assert len(store.read) == len(names)


@pytest.mark.parametrize("axis", range(3))
def test_threads_that_walk_at_once_read_what_is_there(written, axis):
    folder, voxels, _ = written
    scale = ngcore.open(folder, cache_bytes=1 << 18).scales[0]
    indices = planes(axis, SHAPE[axis]) * 2 + planes((axis + 1) % 3, 30)
    with ThreadPoolExecutor(4) as pool:
        for index, found in zip(indices, pool.map(scale.__getitem__, indices), strict=True):
            np.testing.assert_array_equal(found, voxels[index])


def test_what_is_no_index_is_refused_in_the_middle_of_a_walk(written):
    folder, voxels, _ = written
    scale = ngcore.open(folder).scales[0]
    for index in planes(0, 3):
        scale[index]
    for wrong in (1.0, True, None, np.array([1, 2]), (1, 2.0), (slice(0, 9.0), 2), [1], "1", 99):
        with pytest.raises(VolumeIndexError):
            scale[wrong]
    for right in (np.int64(1), -40, (1, ...), (..., 0), (1, slice(None), slice(None)), ()):
        np.testing.assert_array_equal(scale[right], voxels[right])


def test_damage_is_named_in_the_middle_of_a_walk(written, tmp_path):
    folder, voxels, info = written
    for path in folder.rglob("*"):
        if path.is_file():
            (tmp_path / path.relative_to(folder)).parent.mkdir(exist_ok=True)
            (tmp_path / path.relative_to(folder)).write_bytes(path.read_bytes())
    name = info.scales[0].grid.name((1, 2, 1))
    damaged = tmp_path / info.scales[0].key / name
    damaged.write_bytes(damaged.read_bytes()[:-3])
    scale = ngcore.open(tmp_path).scales[0]
    for number in range(24):
        np.testing.assert_array_equal(scale[:, :, number], voxels[:, :, number])
    for number in range(24, SHAPE[2]):
        with pytest.raises(FormatError, match=name):
            scale[:, :, number]


def test_two_slabs_are_made_at_once_and_one_is_made_once(written):
    folder, _, info = written
    scale = ScaleArray(LocalStore(folder), info, 0)
    slabs = Slabs(scale, ChunkCache(1 << 24))
    two, made = threading.Barrier(2), []

    def read(voxels, selections):
        two.wait(timeout=60)  # nobody passes before a second slab is being made, too
        made.append(selections[2].start)
        voxels[...] = 1

    def plane(number):
        asked = [Selection(0, 1, size) for size in scale.shape]
        asked[2] = Selection(number, 1, 1)
        return slabs.holding(asked, read)

    side = CHUNK[2]
    assert plane(side - 3) is None  # the first: nobody knows yet which way it goes on
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(plane, [side - 2, side - 1, side, side + 1]))
    assert sorted(made) == sorted({slab.start[2] for slab in found})
