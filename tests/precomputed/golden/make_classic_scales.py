"""Ask neuroglancer-scripts 1.2 for the scales of some volumes, and keep its answers.

Run with an interpreter that has ``neuroglancer-scripts==1.2.0``; it writes classic_scales.json.
No case brings an axis down to one voxel or has a voxel_offset: there ngcore differs on purpose.
Nor is any so anisotropic that neuroglancer-scripts fails, as it does for (1, 300000, 1000000) nm.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

CASES = [
    # size, resolution in nm, target chunk size
    ((1024, 1024, 1024), (1000, 1000, 1000), 64),
    ((1000, 800, 600), (8, 8, 40), 64),
    ((4000, 3000, 500), (4, 4, 40), 64),
    ((999, 1001, 77), (8, 8, 8), 32),
    ((512, 512, 100), (500, 500, 3000), 64),
    ((512, 512, 100), (500, 600, 750), 64),
    ((512, 100, 512), (488.28125, 6000, 488.28125), 64),
    ((300, 5000, 4000), (25, 1, 1), 64),
    ((300, 5000, 4000), (100, 10, 1), 64),
    ((20000, 20000, 700), (1, 1, 1000), 64),
    ((700, 20000, 20000), (1000000, 1, 1), 64),
    ((20000, 400, 20000), (1, 30, 1000000), 64),
    ((20000, 400, 20000), (1, 900, 1000000), 32),
    ((200, 200, 200), (700000, 700000, 700000), 64),
    ((2000, 2000, 200), (333330.0, 333330.0, 1000000), 128),
    ((333, 333, 333), (1, 2, 3), 8),
    ((333, 333, 333), (0.3, 0.5, 0.7), 16),
    ((64, 64, 64), (1, 1, 1), 1),
]


def ask(size: tuple, resolution: tuple, target: int) -> dict:
    full = {
        "type": "image",
        "data_type": "uint8",
        "num_channels": 1,
        "scales": [
            {"size": size, "resolution": resolution, "encoding": "raw", "voxel_offset": [0, 0, 0]}
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "info_fullres.json")
        source.write_text(json.dumps(full), "utf-8")
        command = Path(sys.executable).with_name("generate-scales-info")
        options = ["--target-chunk-size", str(target)]
        subprocess.run([command, source, folder, *options], check=True)
        scales = json.loads(Path(folder, "info").read_text("utf-8"))["scales"]
    return {
        "size": size,
        "resolution": resolution,
        "target": target,
        "scales": [
            {name: scale[name] for name in ("size", "resolution", "chunk_sizes")}
            for scale in scales
        ],
    }


if __name__ == "__main__":
    answers = "[\n" + ",\n".join(json.dumps(ask(*case)) for case in CASES) + "\n]\n"
    Path(__file__).with_name("classic_scales.json").write_text(answers, "utf-8")
