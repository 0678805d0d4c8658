import json

import numpy as np
from classic_steps import SPEC, chain

from ngcore.classic.scales_info import generate_scales_info
from ngcore.classic.volume_stats import scale_stats


def test_stats_count_what_is_written_and_take_no_time_for_a_petavoxel(tmp_path, image):
    volume = chain(image, tmp_path / "out", target_chunk_size=16)
    stats = scale_stats(tmp_path / "out")
    for scale, counted in zip(volume.scales, stats.scales, strict=True):
        paths = list((tmp_path / "out" / scale.key).rglob("*"))
        assert counted.files == counted.chunks == sum(path.is_file() for path in paths)
        assert counted.folders == sum(path.is_dir() for path in paths)
        assert counted.bytes == np.prod(scale.shape) * 2
    assert stats.bytes == sum(scale.bytes for scale in stats.scales)
    full = {"data_type": "uint64", "num_channels": 1}
    full["scales"] = [{"size": [2**18, 2**17, 2**15], "resolution": [4, 4, 40]}]
    boxes = SPEC.to_json() | {"shard_bits": 30, "preshift_bits": 9}
    hashed = boxes | {"hash": "murmurhash3_x86_128"}
    for sharding in ({}, {"sharding": boxes}, {"sharding": hashed}):
        full["scales"][0] |= sharding
        (tmp_path / "full.json").write_text(json.dumps(full))
        generate_scales_info(tmp_path / "full.json", tmp_path / "big")
        stats = scale_stats(tmp_path / "big")
        assert stats.scales[0].bytes == 2**53
        assert stats.scales[0].chunks == 2**50 // 64**3
