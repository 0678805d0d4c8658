"""Memory of what is on its way to a bucket: bounded, and counted into `--memory`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import peak_memory
import pytest
from thorough import amount

import ngcore
from ngcore.storage import open_store, uploads
from ngcore.storage.objects.parts import PART_BYTES, pieces_of
from ngcore.storage.uploads import UPLOAD_BYTES, Room

MEBIBYTE = 1 << 20
UPLOADING = (
    peak_memory.SCRIPT
    + """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from ngcore.storage import open_store

store, (count, size) = open_store(sys.argv[1]), map(int, sys.argv[2:])

data = os.urandom(1 << 16)

def parts():
    for _ in range(size >> 16):
        yield data

store.put("small", b"first")
before = peak_bytes()
with ThreadPoolExecutor(count) as pool:
    list(pool.map(lambda number: store.put_parts(str(number), parts()), range(count)))
print(before, peak_bytes())
"""
)
WAITING = (
    peak_memory.SCRIPT
    + """
import os, sys
from functools import partial
from ngcore.storage import open_store
from ngcore.storage.uploads import Uploads

store, (count, size) = open_store(sys.argv[1]), map(int, sys.argv[2:])

store.put_chunk("small", b"first", media_type="image/png", is_gzipped=False)
before = peak_bytes()
uploads = Uploads(count)
for number in range(count):
    data = os.urandom(size)
    put = partial(store.put_chunk, str(number), data, media_type="image/png", is_gzipped=False)
    uploads.submit(put, size)
uploads.finish()
print(before, peak_bytes())
"""
)
CONVERTING = (
    peak_memory.SCRIPT
    + """
import sys
from ngcore.cli import run

status = run(sys.argv[1:])
print(status, peak_bytes())
"""
)


def output_of(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(number) for number in done.stdout.split()]


@pytest.fixture(params=["s3", "gs"])
def url(request):
    """The URL of a bucket of each kind that a server can be started of."""
    return (
        request.getfixturevalue("place").url
        if request.param == "s3"
        else (request.getfixturevalue("gcs_url"))
    )


def test_uploads_at_once_take_no_more_memory_than_they_may(url):
    count, size = amount(4, 8), amount(24, 200) * MEBIBYTE
    before, peak = output_of(UPLOADING, url, count, size)
    store = open_store(url)
    assert sorted(store.size(name) for name in store.list()) == [5, *[size] * count]
    assert peak - before <= UPLOAD_BYTES + 8 * MEBIBYTE


def test_chunks_on_their_way_are_held_once(url):
    count, size = 10, 7 * MEBIBYTE
    before, peak = output_of(WAITING, url, count, size)
    store = open_store(url)
    assert sorted(store.size(name) for name in store.list()) == [5, *[size] * count]
    assert peak - before <= UPLOAD_BYTES + size + 8 * MEBIBYTE  # one is made while they go


def test_what_waits_and_what_is_sent_share_one_room():
    may_end, sent = threading.Event(), []
    waiting = uploads.Uploads(1)

    def send():
        with uploads.room_to_send(UPLOAD_BYTES // 2):  # it has waited for room before
            may_end.wait(10)
            sent.append("a chunk")

    def send_parts():
        with uploads.room_to_send(UPLOAD_BYTES // 2):
            sent.append("a shard")

    for _ in range(2):
        waiting.submit(send, UPLOAD_BYTES // 2)
    thread = threading.Thread(target=send_parts)
    thread.start()
    thread.join(0.2)
    assert not sent
    may_end.set()
    thread.join(10)
    waiting.finish()
    assert sorted(sent) == ["a chunk", "a chunk", "a shard"]


def test_room_is_given_back_where_no_thread_can_be_started(monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(2):  # a third would wait for ever
            with pytest.raises(RuntimeError, match="can't start"):
                uploads.Uploads(1).submit(lambda: None, UPLOAD_BYTES // 2)
    with uploads._ROOM._changed:
        assert uploads._ROOM._free == UPLOAD_BYTES


@pytest.mark.parametrize("options", [[], ["--no-sharding"]][: amount(0, 2)])
def test_a_conversion_to_a_bucket_stays_within_its_memory(place, tmp_path, options):
    random = np.random.default_rng(0)
    voxels = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (512, 512, 512))
    for plane in np.moveaxis(voxels, 2, 0):
        plane[...] = random.integers(0, 256, plane.shape, np.uint8)
    arguments = ["convert", tmp_path / "a.npy", f"{place.url}/v", "--memory", "256M"]
    arguments += ["--resolution", "8,8,8", "--workers", "2", *options]
    status, peak = output_of(CONVERTING, *arguments)
    assert status == 0
    assert peak <= 256 * MEBIBYTE


@pytest.mark.parametrize("executor", [None, "local"])
def test_the_plan_of_a_conversion_to_a_bucket_counts_uploads(place, tmp_path, executor):
    voxels = np.zeros((300, 300, 300), np.uint8)
    given = {"resolution": (8, 8, 8), "memory": "2G", "workers": 2, "executor": executor}
    here = ngcore.estimate(voxels, dest=tmp_path / "v", **given)
    there = ngcore.estimate(voxels, dest=f"{place.url}/v", **given)
    assert there.memory_bytes - here.memory_bytes == UPLOAD_BYTES
    with pytest.raises(ngcore.InputError, match="pass at least memory="):
        ngcore.convert(voxels, f"{place.url}/v", **{**given, "memory": "128M"})
    assert place.objects() == {}


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0, 5, 0],
        [PART_BYTES],
        [PART_BYTES, 1],
        [1, PART_BYTES],
        [3 * PART_BYTES + 7, 9, 2 * PART_BYTES],
        [PART_BYTES // 3] * 7,
    ],
)
def test_pieces_hold_the_bytes_of_the_parts_in_their_order(sizes):
    parts = [os.urandom(size) for size in sizes]
    pieces = [bytes(piece) for piece in pieces_of(parts)]
    assert b"".join(pieces) == b"".join(parts)
    assert all(len(piece) == PART_BYTES for piece in pieces[:-1])
    assert all(pieces)


def test_room_goes_to_who_waits_when_it_is_given_back():
    room = Room(10)
    with room.taken(8) as keep:
        keep(3)
        keep(9)  # no more than before
        room.take(7)
        room.give(7)
    with room.taken(99):  # alone
        pass
    room.take(10)
