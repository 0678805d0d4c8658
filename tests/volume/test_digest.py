import hashlib
import itertools
import random
import struct
import threading
import zlib

import numpy as np
import pytest

from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.volume.seal import ScaleDigest, digested

SIDE = 8


def scale_of(encoding="raw", size=(20, 17, 9), chunk=SIDE):
    block = (8, 8, 8) if encoding == "compressed_segmentation" else None
    return ScaleInfo(
        key="1_1_1",
        size=size,
        resolution=(1, 1, 1),
        chunk_sizes=((chunk,) * 3,),
        encoding=encoding,
        compressed_segmentation_block_size=block,
    )


def digest_of(chunks, scale=None, data_type="uint8"):
    scale = scale or scale_of()
    digest = ScaleDigest(VolumeInfo("image", data_type, 1, (scale,)), scale)
    for cell, content in chunks:
        digest.add(cell, content)
    return str(digest)


def random_chunks(seed=0):
    rng = np.random.default_rng(seed)
    return [(cell, rng.bytes(SIDE**3)) for cell in itertools.product(range(3), range(3), range(2))]


def test_digest_is_the_same_for_every_order_of_chunks():
    chunks = random_chunks()
    expected = digest_of(chunks)
    assert len(expected) == 32
    for seed in range(5):
        random.Random(seed).shuffle(chunks)
        assert digest_of(chunks) == expected


def test_digest_is_the_same_from_many_threads():
    chunks = random_chunks()
    scale = scale_of()
    digest = ScaleDigest(VolumeInfo("image", "uint8", 1, (scale,)), scale)
    threads = [threading.Thread(target=digest.add, args=chunk) for chunk in chunks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert str(digest) == digest_of(chunks)


def test_chunks_of_zeros_are_as_absent_ones():
    chunks = random_chunks()
    assert digest_of([*chunks[1:], (chunks[0][0], bytes(SIDE**3))]) == digest_of(chunks[1:])


def test_every_single_bit_counts():
    chunks = random_chunks()[:2]
    expected = digest_of(chunks)
    cell, content = chunks[0]
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        assert digest_of([(cell, bytes(changed)), chunks[1]]) != expected


@pytest.mark.parametrize("size", [1, 9, 4099])
def test_the_digest_is_what_the_provenance_says_it_is(size):
    content = np.random.default_rng(size).bytes(size)
    hashed = struct.pack("<QQI", 1, size, zlib.crc32(content))
    term = int.from_bytes(hashlib.blake2b(hashed, digest_size=16).digest(), "little")
    expected = (int(digest_of([]), 16) + term) % 2**128
    assert int(digest_of([((1, 0, 0), content)]), 16) == expected


def test_words_that_swap_places_count():
    (cell, content), _ = random_chunks()[:2]
    swapped = content[8:16] + content[:8] + content[16:]
    assert digest_of([(cell, swapped)]) != digest_of([(cell, content)])


def test_chunks_that_swap_places_count():
    (one, first), (two, second) = random_chunks()[:2]
    assert digest_of([(one, first), (two, second)]) != digest_of([(one, second), (two, first)])


@pytest.mark.parametrize("other", [scale_of(size=(20, 17, 8)), scale_of(chunk=7)])
def test_sizes_count_even_where_there_are_zeros_only(other):
    assert digest_of([], other) != digest_of([])
    assert digest_of([], data_type="int8") != digest_of([])


def test_voxels_count_as_a_raw_chunk_holds_them_whatever_the_encoding():
    voxels = np.arange(6, dtype=np.uint32).reshape(3, 2, 1, 1)
    raw = voxels.astype("<u4").tobytes(order="F")
    for order in "CF":
        content = digested(scale_of("compressed_segmentation"), b"", np.array(voxels, order=order))
        assert bytes(content) == raw
    assert digested(scale_of(), raw, voxels) == raw


def test_jpeg_files_count_as_they_are():
    assert digested(scale_of("jpeg"), b"file", np.zeros((1, 1, 1, 1), np.uint8)) == b"file"
