from __future__ import annotations

import os
import random
import threading

import pytest

from ngcore.errors import StorageError
from ngcore.storage.spool import Spool


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path)
    yield spool
    spool.close()


def test_pieces_come_back_in_any_order(spool):
    rng = random.Random(0)
    pieces = [rng.randbytes(size) for size in (0, 1, 4095, 4096, 4097, 100_000, 5)]
    places = [spool.put(piece) for piece in pieces]
    for piece, place in reversed(list(zip(pieces, places, strict=True))):
        assert spool.get(place) == piece


def test_room_that_is_given_back_is_used_again(spool):
    rng = random.Random(1)
    held = {}
    for number in range(2000):
        piece = rng.randbytes(rng.randrange(30_000))
        held[number] = piece, spool.put(piece)
        if len(held) > 10:
            piece, place = held.pop(rng.choice(list(held)))
            assert spool.get(place) == piece
            spool.free(place)
    for piece, place in held.values():
        assert spool.get(place) == piece
    assert spool.size <= 12 * (30_000 + 4096)


def test_pages_in_a_row_are_one_run_whoever_gave_them_back(spool):
    places = [spool.put(bytes(size)) for size in (50_000, 0, 4096, 1, 70_000, 1)]
    assert places[:3] == [(50_000, 0, 13), (0,), (4096, 13, 1)]
    assert places[3:] == [(1, 14, 1), (70_000, 15, 18), (1, 33, 1)]
    for number in (4, 1, 0, 3, 2):
        spool.free(places[number])
    assert spool.put(bytes(33 * 4096)) == (33 * 4096, 0, 33)
    assert spool.put(bytes(5000)) == (5000, 34, 2)


def test_a_piece_may_lie_in_several_runs(spool):
    rng = random.Random(2)
    places = [spool.put(bytes(4096)) for _ in range(9)]
    for place in places[::2]:
        spool.free(place)
    piece = rng.randbytes(26_000)
    place = spool.put(piece)
    assert spool.get(place) == piece
    assert spool.size == 11 * 4096
    assert all(spool.get(place) == bytes(4096) for place in places[1::2])


def test_file_is_hidden_and_gone_after_close(spool, tmp_path):
    spool.put(b"piece")
    assert all(path.name.startswith(".") for path in tmp_path.iterdir())
    spool.close()
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_made_before_the_first_piece(tmp_path):
    Spool(tmp_path / "not" / "there").close()


def test_folder_that_is_not_there_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match=r"can't write a temporary file in .*nowhere: No such"):
        Spool(tmp_path / "nowhere").put(b"piece")


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="systems without pwrite")
def test_full_disk_is_named(spool, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageError, match="No space left on device"):
        spool.put(b"piece")


def test_systems_without_pwrite_seek(spool, monkeypatch):
    monkeypatch.delattr(os, "pwrite", raising=False)
    monkeypatch.delattr(os, "pread", raising=False)
    places = [spool.put(bytes([number]) * 9000) for number in range(5)]
    spool.free(places.pop(1))
    places.append(spool.put(b"\x05" * 20_000))
    assert [spool.get(place)[:1] for place in places] == [b"\0", b"\2", b"\3", b"\4", b"\5"]


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="systems without pwrite")
def test_short_writes_and_reads_are_carried_on(spool, monkeypatch):
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:1000], at))
    monkeypatch.setattr(os, "pread", lambda file, size, at: read(file, min(size, 777), at))
    piece = random.Random(0).randbytes(10_000)
    assert spool.get(spool.put(piece)) == piece


def test_threads_share_a_spool(spool):
    failures = []

    def work(seed):
        rng = random.Random(seed)
        for _ in range(200):
            piece = rng.randbytes(rng.randrange(20_000))
            place = spool.put(piece)
            if spool.get(place) != piece:
                failures.append(place)
            spool.free(place)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert spool.size <= 4 * (20_000 + 4096)
