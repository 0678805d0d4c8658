"""A folder of TIFF slices into a precomputed volume with tifffile and tensorstore alone.

The peer of `ngcore convert FOLDER OUT`, as a whole process. Arguments: folder, destination, and
the `info` whose scales and shards it writes. Scales are made with `ts.downsample`, each from the
one before; a slab is as thick as a shard, so that no shard is written twice.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tensorstore as ts
import tifffile


def main(folder: str, dest: str, info_path: str) -> None:
    """Write scale 0 slab by slab, then every scale from the one before."""
    info = json.loads(Path(info_path).read_text())
    files = sorted(Path(folder).glob("*.tif"))
    finer = None
    for scale in info["scales"]:
        spec = {
            "driver": "neuroglancer_precomputed",
            "kvstore": {"driver": "file", "path": dest},
            "multiscale_metadata": {
                name: info[name] for name in ("type", "data_type", "num_channels")
            },
            "scale_metadata": {
                "size": scale["size"],
                "resolution": scale["resolution"],
                "chunk_size": scale["chunk_sizes"][0],
                "encoding": scale["encoding"],
                "sharding": scale["sharding"],
            },
            "create": True,
        }
        store = ts.open(spec).result()
        depth = store.chunk_layout.write_chunk.shape[2]
        for start in range(0, scale["size"][2], depth):
            stop = min(start + depth, scale["size"][2])
            if finer is None:
                slab = tifffile.imread(files[start:stop], ioworkers=None)
                store[:, :, start:stop, 0].write(np.transpose(slab, (2, 1, 0))).result()
            else:
                coarse = ts.downsample(finer, [2, 2, 2, 1], "mean")
                store[:, :, start:stop].write(coarse[:, :, start:stop]).result()
        finer = store


if __name__ == "__main__":
    main(*sys.argv[1:])
