"""No false alarm on valid volumes, whoever wrote them."""

import damage
import numpy as np
import peers
import pytest
from thorough import amount

from ngcore.validating.validate import validate

SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 1,
    "minishard_bits": 2,
    "shard_bits": 3,
}


def errors(folder):
    reports = [validate(folder, quick=quick) for quick in (False, True)]
    return [
        str(finding)
        for report in reports
        for finding in report.findings
        if finding.severity == "error"
    ]


def write_pyramid(folder, voxels, method, offset=(0, 0, 0), **options):
    """Write four scales, each made by tensorstore from the one before."""
    tensorstore = pytest.importorskip("tensorstore")
    resolution, offset = np.array([4, 4, 40]), np.array(offset)
    for factors in ((2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2)):
        peers.write_with_tensorstore(
            folder,
            voxels,
            resolution=resolution.tolist(),
            voxel_offset=offset.tolist(),
            chunk_size=(16, 16, 16),
            **options,
        )
        array = tensorstore.array(np.ascontiguousarray(voxels))
        voxels = np.asarray(tensorstore.downsample(array, [*factors, 1], method).read().result())
        resolution, offset = resolution * factors, offset // factors


def voxels_of(kind, seed):
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(30, 70, 3), 1)
    match kind:
        case "image":
            return damage.image(seed)[..., np.newaxis]
        case "labels":
            return damage.labels(seed)[..., np.newaxis]
        case "noise":
            return rng.integers(0, 256, shape).astype(np.uint8)
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("seed", range(amount(1, 3)))
@pytest.mark.parametrize("kind", ["image", "labels", "noise", "floats"])
@pytest.mark.parametrize("method", ["mean", "mode", "stride", "median", "min", "max"])
def test_volumes_of_tensorstore_are_sound(tmp_path, method, kind, seed):
    options = {"volume_type": "segmentation" if kind == "labels" else "image"}
    if kind == "labels" and method != "stride":
        options |= {
            "encoding": "compressed_segmentation",
            "compressed_segmentation_block_size": [8, 8, 8],
        }
    if method in ("mean", "mode", "min"):
        hashed = "identity" if method == "mean" else "murmurhash3_x86_128"
        encoding = "raw" if method == "min" else "gzip"
        options["sharding"] = SHARDING | {
            "hash": hashed,
            "minishard_index_encoding": encoding,
            "data_encoding": encoding,
        }
    offset = np.random.default_rng(seed).integers(-3, 4, 3) * (seed % 2)
    write_pyramid(tmp_path, voxels_of(kind, seed), method, offset, **options)
    assert not errors(tmp_path)


@pytest.mark.parametrize("compress", ["gzip", False])
@pytest.mark.parametrize("kind", ["image", "labels", "noise", "floats"])
def test_volumes_of_cloudvolume_are_sound(tmp_path, kind, compress):
    peers.write_with_cloudvolume(
        tmp_path,
        voxels_of(kind, 0),
        resolution=(4, 4, 40),
        voxel_offset=(-7, 3, 0),
        chunk_size=(16, 16, 16),
        encoding="compressed_segmentation" if kind == "labels" else "raw",
        volume_type="segmentation" if kind == "labels" else "image",
        compress=compress,
    )
    assert not errors(tmp_path)
