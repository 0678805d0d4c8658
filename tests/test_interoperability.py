"""What others write is read, and what ngcore writes others read."""

from __future__ import annotations

import numpy as np
import peers
import pytest
from volumes import labels, make_info, write_volume

import ngcore
from ngcore.arrays.data_types import DATA_TYPES
from ngcore.precomputed.sharding import ShardingSpec, choose_sharding

OFFSET = (-37, 5, -1)
SIZE = (75, 40, 21)
CHUNK = (32, 16, 8)
IMAGE_TYPES = [name for name in DATA_TYPES if name != "uint64"]

SHARDINGS = {
    "identity gzip": ShardingSpec(1, "identity", 2, 2, "gzip", "gzip"),
    "identity raw": ShardingSpec(3, "identity", 0, 3, "raw", "raw"),
    "murmurhash gzip": ShardingSpec(0, "murmurhash3_x86_128", 3, 2, "gzip", "gzip"),
    "murmurhash index raw": ShardingSpec(2, "murmurhash3_x86_128", 1, 0, "raw", "gzip"),
    "murmurhash index gzip": ShardingSpec(1, "murmurhash3_x86_128", 4, 1, "gzip", "raw"),
}
BLOCK = {"compressed_segmentation_block_size": (4, 8, 8)}


def image(dtype, channels=1):
    x, y, z, channel = np.indices((*SIZE, channels))
    return np.asfortranarray((3 * x + 7 * y + z + 50 * channel - 20).astype(dtype))


def encodings():
    """Yield (voxels, encoding, members of the scale, mean error allowed) of every kind."""
    for dtype in IMAGE_TYPES:
        yield pytest.param(image(dtype), "raw", {}, 0, id=f"raw {dtype}")
    yield pytest.param(image("uint8", 3), "raw", {}, 0, id="raw uint8 3 channels")
    yield pytest.param(image("float32", 2), "raw", {}, 0, id="raw float32 2 channels")
    for channels in (1, 2, 3, 4):
        yield pytest.param(image("uint8", channels), "png", {}, 0, id=f"png uint8 {channels}")
    yield pytest.param(image("uint16"), "png", {}, 0, id="png uint16")
    smooth = image("uint8") // 2
    yield pytest.param(smooth, "jpeg", {}, 2, id="jpeg grey")
    yield pytest.param(np.repeat(smooth, 3, axis=3), "jpeg", {}, 2, id="jpeg colour")
    for dtype in ("uint32", "uint64"):
        yield pytest.param(
            labels((*SIZE, 1), dtype), "compressed_segmentation", BLOCK, 0, id=f"labels {dtype}"
        )


def assert_close(voxels, expected, mean_error=0):
    assert voxels.dtype == expected.dtype
    assert voxels.shape == expected.shape
    if mean_error:
        assert np.abs(voxels.astype(int) - expected.astype(int)).mean() < mean_error
    else:
        np.testing.assert_array_equal(voxels, expected)


def skip_what_cloudvolume_lacks(encoding, voxels):
    if encoding == "png":
        pytest.importorskip("pyspng")
        if voxels.dtype == np.uint16:
            pytest.skip("CloudVolume has no png of 16 bits")
    if encoding in ("png", "jpeg") and voxels.shape[3] > 1:
        # Neuroglancer and tensorstore agree that pixels are interleaved.
        pytest.skip("CloudVolume takes interleaved pixels for planes")


@pytest.mark.parametrize(("voxels", "encoding", "members", "mean_error"), list(encodings()))
class TestEncodings:
    def test_tensorstore_writes_and_ngcore_reads(
        self, tmp_path, voxels, encoding, members, mean_error
    ):
        peers.write_with_tensorstore(
            tmp_path,
            voxels,
            voxel_offset=OFFSET,
            chunk_size=CHUNK,
            encoding=encoding,
            **members,
            **({"jpeg_quality": 95} if encoding == "jpeg" else {}),
        )
        scale = ngcore.open(tmp_path).scales[0]
        assert scale.voxel_offset == OFFSET
        assert_close(scale[...], voxels, mean_error)

    def test_ngcore_writes_and_tensorstore_reads(
        self, tmp_path, voxels, encoding, members, mean_error
    ):
        info = make_info(
            voxels, chunk_sizes=(CHUNK,), voxel_offset=OFFSET, encoding=encoding, **members
        )
        write_volume(tmp_path, voxels, info)
        assert_close(peers.read_with_tensorstore(tmp_path), voxels, mean_error)

    def test_ngcore_writes_and_cloudvolume_reads(
        self, tmp_path, voxels, encoding, members, mean_error
    ):
        skip_what_cloudvolume_lacks(encoding, voxels)
        info = make_info(
            voxels, chunk_sizes=(CHUNK,), voxel_offset=OFFSET, encoding=encoding, **members
        )
        write_volume(tmp_path, voxels, info, gzip=True)
        assert_close(peers.read_with_cloudvolume(tmp_path), voxels, mean_error)


@pytest.mark.parametrize("compress", ["gzip", False])
@pytest.mark.parametrize(
    ("voxels", "encoding", "mean_error"),
    [
        (image("int16"), "raw", 0),
        (image("uint8", 3), "raw", 0),
        (image("uint8"), "png", 0),
        (image("uint8") // 2, "jpeg", 2),
        (labels((*SIZE, 1), "uint64"), "compressed_segmentation", 0),
    ],
)
def test_cloudvolume_writes_and_ngcore_reads(tmp_path, voxels, encoding, mean_error, compress):
    skip_what_cloudvolume_lacks(encoding, voxels)
    peers.write_with_cloudvolume(
        tmp_path,
        voxels,
        voxel_offset=OFFSET,
        chunk_size=CHUNK,
        encoding=encoding,
        compress=compress,
        volume_type="segmentation" if encoding == "compressed_segmentation" else "image",
    )
    assert_close(ngcore.open(tmp_path).scales[0][...], voxels, mean_error)


@pytest.mark.parametrize("sharding", list(SHARDINGS.values()), ids=list(SHARDINGS))
@pytest.mark.parametrize(
    ("voxels", "encoding", "members"),
    [
        (image("uint8", 3), "raw", {}),
        (labels((*SIZE, 1), "uint64"), "compressed_segmentation", BLOCK),
    ],
    ids=["raw", "labels"],
)
class TestShards:
    def test_tensorstore_writes_and_ngcore_reads(
        self, tmp_path, sharding, voxels, encoding, members
    ):
        peers.write_with_tensorstore(
            tmp_path,
            voxels,
            voxel_offset=OFFSET,
            chunk_size=CHUNK,
            encoding=encoding,
            sharding=sharding.to_json(),
            **members,
        )
        assert_close(ngcore.open(tmp_path).scales[0][...], voxels)

    @pytest.mark.parametrize(
        "read", [peers.read_with_tensorstore, peers.read_with_cloudvolume], ids=["ts", "cv"]
    )
    def test_ngcore_writes_and_others_read(
        self, tmp_path, sharding, voxels, encoding, members, read
    ):
        info = make_info(
            voxels,
            chunk_sizes=(CHUNK,),
            voxel_offset=OFFSET,
            encoding=encoding,
            sharding=sharding,
            **members,
        )
        write_volume(tmp_path, voxels, info, shuffled=1, memory=1000)
        assert_close(read(tmp_path), voxels)


@pytest.mark.parametrize("gzip", [True, False])
@pytest.mark.parametrize("size", [(75, 40, 21), (300, 3, 1), (1, 1, 1), (20, 20, 20)])
def test_shardings_that_ngcore_chooses_are_read_by_others(tmp_path, size, gzip):
    voxels = np.random.default_rng(0).integers(0, 9, (*size, 1), np.uint8)
    # Whole chunks of zeros, which are left out.
    voxels[: size[0] // 2] = 0
    chunk_size = (4, 3, 5)
    info = make_info(voxels, chunk_sizes=(chunk_size,))
    sharding = choose_sharding(info.scales[0].grid.shape, gzip=gzip)
    info = make_info(voxels, chunk_sizes=(chunk_size,), sharding=sharding)
    write_volume(tmp_path, voxels, info, shuffled=0)
    assert_close(ngcore.open(tmp_path).scales[0][...], voxels)
    assert_close(peers.read_with_tensorstore(tmp_path), voxels)
    assert_close(peers.read_with_cloudvolume(tmp_path), voxels)


def test_tensorstore_leaves_out_chunks_of_zeros_and_they_are_read(tmp_path):
    voxels = image("uint16")
    voxels[32:] = 0
    peers.write_with_tensorstore(tmp_path, voxels, chunk_size=CHUNK)
    assert not list((tmp_path / "1_1_1").glob("32-*"))
    assert_close(ngcore.open(tmp_path).scales[0][...], voxels)
