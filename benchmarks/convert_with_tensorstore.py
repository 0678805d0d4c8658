"""The same conversion with tensorstore alone, as a whole process: the peer of `ngcore convert`.

Arguments: source (.nii or .npy), destination, image | segmentation, sharded | unsharded, scales.
"""

import sys
from pathlib import Path

import numpy as np
import tensorstore as ts

SHARDING = {
    "@type": "neuroglancer_uint64_sharded_v1",
    "preshift_bits": 9,
    "hash": "identity",
    "minishard_bits": 0,
    "shard_bits": 0,
    "minishard_index_encoding": "gzip",
    "data_encoding": "gzip",
}


def read(path: Path) -> np.ndarray:
    """Map the voxels of a file; a NIfTI one here is 512^3 or so of uint8 after 352 bytes."""
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r")
    side = round((path.stat().st_size - 352) ** (1 / 3))
    return np.memmap(path, np.uint8, "r", 352, (side,) * 3, "F")


def main(source: str, dest: str, kind: str, layout: str, scales: str) -> None:
    """Write scale 0, then every scale from the one before."""
    voxels = read(Path(source))
    is_label = kind == "segmentation"
    finer = None
    for index in range(int(scales)):
        scale = {
            "size": [-(-length >> index) for length in voxels.shape],
            "resolution": [8 << index] * 3,
            "chunk_size": [64, 64, 64],
            "encoding": "compressed_segmentation" if is_label else "raw",
        }
        if is_label:
            scale["compressed_segmentation_block_size"] = [8, 8, 8]
        if layout == "sharded":
            scale["sharding"] = SHARDING
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": dest},
            "multiscale_metadata": {
                "type": kind,
                "data_type": voxels.dtype.name,
                "num_channels": 1,
            },
            "scale_metadata": scale,
            "create": True,
        }
        store = ts.open(spec).result()
        if finer is None:
            store[..., 0].write(voxels).result()
        else:
            method = "mode" if is_label else "mean"
            store.write(ts.downsample(finer, [2, 2, 2, 1], method)).result()
        finer = store


if __name__ == "__main__":
    main(*sys.argv[1:])
