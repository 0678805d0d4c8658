import gzip

import numpy as np
import pytest
import thorough
from volume_files import read_all, save_nifti, voxels

from ngcore.errors import FormatError
from ngcore.sources import open_source
from ngcore.sources.volumes.gzip_stream import COMPRESSED_BLOCK_BYTES, GzipStream

SHAPE = (40, 30, 20)
VALUES = voxels(SHAPE, "u1")


@pytest.fixture
def path(tmp_path):
    return save_nifti(tmp_path / "volume.nii.gz", VALUES)


def read(path):
    return read_all(open_source(path))[..., 0]


def test_several_members_are_one_stream(path):
    data = gzip.decompress(path.read_bytes())
    parts = [data[:100], data[100:101], b"", data[101:9000], data[9000:]]
    path.write_bytes(b"".join(map(gzip.compress, parts)))
    np.testing.assert_array_equal(read(path), VALUES)


def test_bytes_after_the_voxels_inside_the_stream_are_passed_over(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"x" * 500_000))
    np.testing.assert_array_equal(read(path), VALUES)


@pytest.mark.parametrize("place", [-8, -5, -4, -1])
def test_a_wrong_checksum_or_length_in_the_trailer_is_found(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"volume\.nii\.gz: corrupt gzip stream near byte \d+"):
        read(path)


def test_the_checksum_is_checked_by_a_spool_too(tmp_path, path):
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    path.write_bytes(data)
    with open_source(path) as source, pytest.raises(FormatError, match="corrupt gzip"):
        source.spooled(tmp_path / "spool")
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("size", [1, 512, 3 * COMPRESSED_BLOCK_BYTES])
def test_zeros_that_fill_up_the_file_are_passed_over(path, size):
    path.write_bytes(path.read_bytes() + bytes(size))
    np.testing.assert_array_equal(read(path), VALUES)


@pytest.mark.parametrize(
    "tail",
    [b"garbage", b"\0x", b"\0" * 512 + b"\x1f\x8b", bytes(COMPRESSED_BLOCK_BYTES) + b"x", b"\x1f"],
)
def test_what_follows_the_last_member_is_refused(path, tail):
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + tail)
    with pytest.raises(FormatError, match=rf"ends at byte {size}, but {len(tail)} bytes follow"):
        read(path)


def test_garbage_across_the_edge_of_a_block_is_refused(path):
    plain = gzip.decompress(path.read_bytes())
    room = COMPRESSED_BLOCK_BYTES - len(gzip.compress(plain)) - 64
    noise = np.random.default_rng(0).bytes(room)
    for extra in range(thorough.amount(60, 90)):
        data = gzip.compress(plain + noise[: room - 60 + extra], compresslevel=0)
        path.write_bytes(data + b"\x1f\x8c")
        with pytest.raises(FormatError, match="2 bytes follow"):
            read(path)


def test_flipped_bits_are_found_wherever_they_are(path):
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(thorough.amount(60, 3000)):
        place = int(rng.integers(10, len(data)))
        bad = bytearray(data)
        bad[place] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bad)
        with pytest.raises(FormatError, match=r"volume\.nii\.gz: "):
            read(path)


def test_a_stream_cut_anywhere_is_truncated(path):
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for length in {1, 2, 5, 10, len(data) - 1, len(data) - 8, *rng.integers(20, len(data), 30)}:
        path.write_bytes(data[:length])
        with pytest.raises(FormatError, match=r"volume\.nii\.gz: (truncated|not gzip)"):
            read(path)


def test_a_stream_that_ends_before_the_voxels_do_is_truncated(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1000]))
    with pytest.raises(FormatError, match=r"truncated: it decompresses to 23352 bytes"):
        read(path)


def test_random_bytes_are_no_gzip(path):
    path.write_bytes(b"not gzip at all" * 100)
    with pytest.raises(FormatError, match="not gzip"):
        read(path)


def test_a_stream_goes_forward_and_skips(path):
    plain = gzip.decompress(path.read_bytes())
    stream = GzipStream(path, "volume")
    buffer = bytearray(10)
    stream.read_into(5000, memoryview(buffer))
    assert buffer == plain[5000:5010]
    assert stream.position == 5010
    with pytest.raises(ValueError, match="was passed"):
        stream.read_into(0, memoryview(buffer))
    stream.close()
