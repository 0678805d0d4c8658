"""Volumes made with ngcore's own encodings and stores, for tests that need one on disk."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.precomputed.encodings import make_encoding
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.storage import LocalStore, create_chunks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3


def labels(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> NDArray[Any]:
    """Return blocks of a few labels, zero among them, with ids that fill the type."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, np.iinfo(dtype).max, 9, dtype=dtype, endpoint=True)
    ids[0] = 0
    x, y, z, *channel = np.indices(shape)
    blocks = x // 5 + 2 * (y // 7) + 3 * (z // 4) + sum(channel)
    return np.asfortranarray(ids[blocks % len(ids)])


def make_info(
    voxels: NDArray[Any], *, volume_type: str = "image", **scale_members: Any
) -> VolumeInfo:
    """Return the info of a volume of one scale that holds these voxels."""
    members = {"key": "1_1_1", "size": voxels.shape[:3], "resolution": (1, 1, 1)}
    scale = ScaleInfo(**(members | scale_members))
    return VolumeInfo(volume_type, str(voxels.dtype), voxels.shape[3], (scale,))


def write_volume(
    path: Path,
    voxels: NDArray[Any],
    info: VolumeInfo,
    *,
    shuffled: int | None = None,
    encoded: Callable[[bytes, Vec3], bytes] = lambda data, _: data,
    **options: Any,
) -> None:
    """Write a volume of one scale; chunks in the order of a seed, if `shuffled` gives one."""
    store, scale = LocalStore(path), info.scales[0]
    store.put("info", info.to_json().encode())
    encoding = make_encoding(info, scale)
    writer = create_chunks(store, info, 0, **options)
    cells = list(scale.grid.cells())
    if shuffled is not None:
        random.Random(shuffled).shuffle(cells)
    for cell in cells:
        chunk = voxels[scale.grid.bounds(cell).slices(scale.voxel_offset)]
        writer.write(cell, encoded(encoding.encode(chunk), cell) if chunk.any() else None)
    writer.finish()
