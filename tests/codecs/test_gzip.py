from __future__ import annotations

import contextlib
import gzip as standard_gzip
import os
import random
import subprocess
import sys
import tracemalloc
import zlib
from functools import partial

import pytest

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.work.threads import map_ahead

PLAIN = b"voxels " * 1000


def test_what_is_compressed_comes_back():
    for plain in (b"", b"x", PLAIN, random.Random(0).randbytes(300_000)):
        assert gzip.decompress(gzip.compress(plain), max_size=len(plain)) == plain


def test_parts_make_one_member(monkeypatch):
    monkeypatch.setattr(gzip, "_PART_BYTES", 999)
    parts = [b"", PLAIN, bytearray(b"x"), memoryview(bytes(8000)).cast("I")]
    data = b"".join(gzip.compress_parts(parts))
    assert gzip.decompress(data, max_size=15_001) == PLAIN + b"x" + bytes(8000)
    assert b"".join(gzip.compress_parts([])) == gzip.compress(b"")


@pytest.mark.parametrize("each", [map, partial(map_ahead, workers=3)])
def test_pieces_that_are_compressed_beside_each_other_make_one_member(monkeypatch, each):
    monkeypatch.setattr(gzip, "_PIECE_BYTES", 999)
    parts = [b"", PLAIN, bytearray(b"x"), memoryview(bytes(8000)).cast("I")]
    data = b"".join(gzip.compress_beside(parts, each))
    assert data == b"".join(gzip.compress_beside(parts, map))
    assert gzip.decompress(data, max_size=15_001) == PLAIN + b"x" + bytes(8000)
    assert standard_gzip.decompress(data) == PLAIN + b"x" + bytes(8000)
    nothing = b"".join(gzip.compress_beside([], each))
    assert standard_gzip.decompress(nothing) == gzip.decompress(nothing, max_size=1) == b""


def test_other_programs_read_it():
    assert standard_gzip.decompress(gzip.compress(PLAIN)) == PLAIN


def test_gzip_of_other_programs_is_read():
    assert gzip.decompress(standard_gzip.compress(PLAIN), max_size=7000) == PLAIN


def test_gzip_with_a_file_name_in_its_header_is_read(tmp_path):
    with standard_gzip.open(tmp_path / "named.gz", "wb") as file:
        file.write(PLAIN)
    assert gzip.decompress((tmp_path / "named.gz").read_bytes(), max_size=7000) == PLAIN


def test_header_holds_no_time_no_name_and_no_platform():
    assert gzip.compress(PLAIN)[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


_COMPRESS_MANY = """
import hashlib, random
from ngcore.codecs import gzip
random, digest = random.Random(0), hashlib.sha256()
for _ in range(1000):
    words = [random.randrange(600), 0, random.randrange(70_000)] * random.randrange(1, 200)
    data = b"".join(word.to_bytes(8, "little") for word in words)
    digest.update(gzip.compress(data))
    digest.update(b"".join(gzip.compress_parts([data[:3], data[3:9], data[9:]])))
    digest.update(b"".join(gzip.compress_beside([data], map)))
print(digest.hexdigest())
"""


def test_what_lies_in_memory_does_not_change_a_byte():
    """Addresses are others in each process; glibc fills new memory with the byte named here."""
    digests = set()
    for filler in ("0", "66", "165"):
        environment = {**os.environ, "MALLOC_PERTURB_": filler}
        command = [sys.executable, "-c", _COMPRESS_MANY]
        digests.add(subprocess.check_output(command, env=environment))
    assert len(digests) == 1


def test_every_kind_of_buffer_is_taken():
    for plain in (bytearray(PLAIN), memoryview(PLAIN), memoryview(bytes(8)).cast("I")):
        data = gzip.compress(plain)
        assert gzip.decompress(memoryview(bytearray(data)), max_size=7000) == bytes(plain)


def test_zlib_stream_is_named_as_such():
    for level in (0, 1, 6, 9):
        with pytest.raises(FormatError, match="zlib stream where gzip is expected"):
            gzip.decompress(zlib.compress(PLAIN, level), max_size=7000)


@pytest.mark.parametrize("data", [b"PK\x03\x04....", PLAIN, b"\x1f\x8b\x07" + bytes(50)])
def test_what_is_not_gzip_is_refused(data):
    with pytest.raises(FormatError, match="not gzip"):
        gzip.decompress(data, max_size=7000)


def test_data_cut_short_anywhere_are_refused():
    data = gzip.compress(PLAIN)
    for length in range(len(data)):
        with pytest.raises(FormatError, match="end too early"):
            gzip.decompress(data[:length], max_size=7000)


def test_anything_after_the_end_is_refused():
    data = gzip.compress(PLAIN)
    for junk in (b"\0", b"junk", data):
        with pytest.raises(FormatError, match=f"end at byte {len(data)}"):
            gzip.decompress(data + junk, max_size=70_000)


def test_no_flipped_bit_gives_other_data():
    data = gzip.compress(random.Random(1).randbytes(100) * 3)
    plain = gzip.decompress(data, max_size=300)
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with contextlib.suppress(FormatError):
            assert gzip.decompress(flipped, max_size=300) == plain


def test_reserved_header_flags_are_refused():
    data = bytearray(gzip.compress(PLAIN))
    data[3] |= 0x80
    with pytest.raises(FormatError, match="reserved flags"):
        gzip.decompress(data, max_size=7000)


def test_bound_may_be_larger_than_memory():
    assert gzip.decompress(gzip.compress(PLAIN), max_size=2**96) == PLAIN


def test_bomb_is_refused_without_taking_its_memory():
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="more than the 1000 bytes expected"):
            gzip.decompress(bomb, max_size=1000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
