"""The classic steps in a row, and what their tests start from."""

import json

import numpy as np

import ngcore
from ngcore.classic.chunks_from_source import volume_to_raw_chunks
from ngcore.classic.coarser_scales import compute_scales
from ngcore.classic.fullres_info import generate_fullres_info
from ngcore.classic.scales_info import generate_scales_info
from ngcore.precomputed.sharding import ShardingSpec

AFFINE = np.diag([0.5, 0.5, 1.25, 1])
SPEC = ShardingSpec(
    preshift_bits=3,
    hash="identity",
    minishard_bits=1,
    shard_bits=2,
    minishard_index_encoding="gzip",
    data_encoding="gzip",
)


def make_info(folder, *, scales, data_type="uint8", volume_type="image", **members):
    """Write an info of one's own making; each scale is (size, resolution, offset)."""
    folder.mkdir(exist_ok=True)
    document = {
        "type": volume_type,
        "data_type": data_type,
        "num_channels": 1,
        "scales": [
            {
                "key": f"s{index}",
                "size": size,
                "resolution": resolution,
                "voxel_offset": offset,
                "chunk_sizes": [[16, 12, 9]],
                "encoding": "raw",
                **members,
            }
            for index, (size, resolution, offset) in enumerate(scales)
        ],
    }
    (folder / "info").write_text(json.dumps(document))
    return folder


def chain(source, dest, **scales_options):
    generate_fullres_info(source, dest)
    generate_scales_info(dest / "info_fullres.json", dest, **scales_options)
    volume_to_raw_chunks(source, dest)
    compute_scales(dest)
    return ngcore.open(dest)
