"""Volumes that claim more than any machine has: small on disk, endless if they are believed."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from isal import igzip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_MEBIBYTE = 1 << 20


def huge_info(folder: Path) -> None:
    """An info of 2^60 voxels with one chunk."""
    write_volume(folder, size=[2**20] * 3)
    (folder / "1_1_1" / "0-64_0-64_0-64").write_bytes(bytes(64**3))


def info_of_half_a_milliard_chunks(folder: Path) -> None:
    """As many as are still noted one by one."""
    write_volume(folder, size=[64 * 1024, 64 * 1024, 64 * 512])
    (folder / "1_1_1" / "0-64_0-64_0-64").write_bytes(bytes(64**3))


def huge_sharded_info(folder: Path) -> None:
    write_volume(folder, size=[2**20] * 3, sharding=_sharding())
    (folder / "1_1_1" / "0.shard").write_bytes(bytes(16))


def huge_hashed_info(folder: Path) -> None:
    write_volume(folder, size=[2**20] * 3, sharding=_sharding(hash="murmurhash3_x86_128"))
    (folder / "1_1_1" / "0.shard").write_bytes(bytes(16))


def huge_chunk_of_labels(folder: Path) -> None:
    """A chunk of 2^45 voxels in a few bytes: one block, of one label."""
    side = 2**15
    write_volume(
        folder,
        size=[side] * 3,
        chunk_sizes=[[side] * 3],
        data_type="uint64",
        encoding="compressed_segmentation",
        compressed_segmentation_block_size=[side] * 3,
    )
    name = f"0-{side}_0-{side}_0-{side}"
    (folder / "1_1_1" / name).write_bytes(struct.pack("<IIIQ", 1, 2, 2, 7))


def large_chunk_of_labels(folder: Path) -> None:
    """As many voxels as are decoded at all, in a few bytes each, many times."""
    write_volume(
        folder,
        size=[224 * 20, 224, 224],
        chunk_sizes=[[224] * 3],
        data_type="uint64",
        encoding="compressed_segmentation",
        compressed_segmentation_block_size=[224] * 3,
    )
    for x in range(0, 224 * 20, 224):
        name = f"{x}-{x + 224}_0-224_0-224"
        (folder / "1_1_1" / name).write_bytes(struct.pack("<IIIQ", 1, 2, 2, 7))


def bomb(folder: Path) -> None:
    """A gzipped chunk that decompresses to 500 times its size."""
    write_volume(folder, size=[64] * 3)
    (folder / "1_1_1" / "0-64_0-64_0-64.gz").write_bytes(igzip.compress(bytes(128 * _MEBIBYTE)))


def bomb_of_an_honest_size(folder: Path) -> None:
    write_volume(folder, size=[448] * 3, chunk_sizes=[[448] * 3])
    (folder / "1_1_1" / "0-448_0-448_0-448.gz").write_bytes(igzip.compress(bytes(448**3)))


def bomb_of_an_index(folder: Path) -> None:
    spec = _sharding(minishard_index_encoding="gzip")
    write_volume(folder, size=[2**20] * 3, sharding=spec)
    index = igzip.compress(bytes(128 * _MEBIBYTE))
    data = np.array([0, len(index)], "<u8").tobytes() + index
    (folder / "1_1_1" / "0.shard").write_bytes(data)


def index_in_circles(folder: Path) -> None:
    """A million minishards that all point at the same large index, which is the shard index."""
    write_volume(folder, size=[2**15] * 3, sharding=_sharding(minishard_bits=20))
    ranges = np.zeros((2**20, 2), "<u8")
    ranges[:, 1] = 24 * 1000
    (folder / "1_1_1" / "0.shard").write_bytes(ranges.tobytes() + bytes(24 * 1000))


def index_of_a_huge_sparse_file(folder: Path) -> None:
    write_volume(folder, size=[2**15] * 3, sharding=_sharding(minishard_bits=30))
    with (folder / "1_1_1" / "0.shard").open("wb") as file:
        file.truncate(17 << 30)


def entries_that_overlap(folder: Path) -> None:
    """A million ids that all have the same two mebibytes."""
    write_volume(folder, size=[2**15] * 3, sharding=_sharding(data_encoding="gzip"))
    count = 2**20
    size = 2 * _MEBIBYTE
    table = np.zeros((3, count), "<u8")
    table[0, 1:] = 1
    table[1, 1:] = 2**64 - size
    table[2] = size
    data = bytes(size) + table.tobytes()
    header = np.array([size, len(data)], "<u8").tobytes()
    (folder / "1_1_1" / "0.shard").write_bytes(header + data)


def deep_info(folder: Path) -> None:
    (folder / "info").write_text('{"scales": ' + "[" * 100_000 + "]" * 100_000 + "}")


def large_info(folder: Path) -> None:
    (folder / "info").write_text('{"scales": [' + "0," * 3_000_000 + "0]}")


def folder_in_circles(folder: Path) -> None:
    write_volume(folder, size=[64] * 3)
    (folder / "1_1_1" / "again").symlink_to(folder / "1_1_1", target_is_directory=True)


def file_without_end(folder: Path) -> None:
    write_volume(folder, size=[64] * 3)
    (folder / "1_1_1" / "0-64_0-64_0-64").symlink_to("/dev/zero")


ATTACKS: tuple[Callable[[Path], None], ...] = (
    huge_info,
    info_of_half_a_milliard_chunks,
    huge_sharded_info,
    huge_hashed_info,
    huge_chunk_of_labels,
    large_chunk_of_labels,
    bomb,
    bomb_of_an_honest_size,
    bomb_of_an_index,
    index_in_circles,
    index_of_a_huge_sparse_file,
    entries_that_overlap,
    deep_info,
    large_info,
    folder_in_circles,
    file_without_end,
)


HARMLESS = ("large_chunk_of_labels", "bomb_of_an_honest_size")
"""Those that are valid volumes, if large ones."""


def _sharding(**members: Any) -> dict[str, Any]:
    return {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 0,
        "hash": "identity",
        "minishard_bits": 0,
        "shard_bits": 0,
        "minishard_index_encoding": "raw",
        "data_encoding": "raw",
        **members,
    }


def write_volume(folder: Path, *, data_type: str = "uint8", **members: Any) -> None:
    """Write an info of one scale, and the folder of the scale."""
    scale = {
        "key": "1_1_1",
        "resolution": [1, 1, 1],
        "chunk_sizes": [[64, 64, 64]],
        "encoding": "raw",
        **members,
    }
    info = {
        "type": "segmentation" if data_type == "uint64" else "image",
        "data_type": data_type,
        "num_channels": 1,
        "scales": [scale],
    }
    (folder / "1_1_1").mkdir()
    (folder / "info").write_text(json.dumps(info))
