"""neuroglancer-scripts 1.2, the classic pipeline that ours is held against, as processes."""

from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from volume_files import save_nifti

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


_RUN_STEPS = """
import importlib, json, sys
for command, *arguments in json.loads(sys.argv[1]):
    name = command.replace("-", "_")
    module = importlib.import_module(f"neuroglancer_scripts.scripts.{name}")
    status = module.main([command, *arguments])
    assert status in (None, 0, 4), command  # 4: a data type that it does not support
"""


def neuroglancer_scripts(*steps: tuple[object, ...]) -> None:
    """Run some of its commands in one process; skip the test where it is not installed.

    Parameters
    ----------
    steps : tuple
        Each the name of a command, then its arguments.
    """
    if importlib.util.find_spec("neuroglancer_scripts") is None:
        pytest.skip("neuroglancer-scripts is not installed")
    lines = [[str(part) for part in step] for step in steps]
    done = subprocess.run(
        [sys.executable, "-c", _RUN_STEPS, json.dumps(lines)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def write_sharded(folder: Path, image: NDArray[Any], bits: str) -> None:
    """Write a sharded volume of one scale, of voxels of a millimetre.

    Parameters
    ----------
    folder : path
        Not there yet; a file beside it is written too.
    image : ndarray, shape (x, y, z)
    bits : str
        Of minishards, of shards and of the preshift, such as ``1,1,0``.
    """
    source = save_nifti(folder.with_suffix(".nii"), image, np.eye(4))
    step = "volume-to-precomputed"
    full = folder / "info_fullres.json"
    neuroglancer_scripts(
        (step, "--generate-info", source, folder, "--sharding", bits),
        ("generate-scales-info", full, folder, "--target-chunk-size", 16),
    )
    info = json.loads((folder / "info").read_text())
    del info["scales"][1:]
    (folder / "info").write_text(json.dumps(info))
    neuroglancer_scripts((step, source, folder))


def decompressed_chunks(volume: Path) -> list[dict[str, bytes]]:
    """Return the chunk files of each scale, by flat name, not gzipped any more."""
    scales: list[dict[str, Any]] = json.loads((volume / "info").read_text())["scales"]
    return [_chunks_in(volume / scale["key"]) for scale in scales]


def _chunks_in(folder: Path) -> dict[str, bytes]:
    chunks = {}
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            name = path.relative_to(folder).as_posix().replace("/", "_")
            if name.endswith(".gz"):
                name, data = name.removesuffix(".gz"), gzip.decompress(data)
            assert name not in chunks, f"{path} occurs twice"
            chunks[name] = data
    return chunks
