"""The files of multi-resolution meshes: one or two per segment, or shards.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from ngcore.codecs import gzip
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.mesh_multilod import MultilodInfo, MultilodManifest
from ngcore.precomputed.shard_index import parse_minishard_index, parse_shard_index
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.volume.seal import EntriesDigest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.storage import Store

_SHARD_BYTES = 64 << 20
_MINISHARD_ENTRIES = 256
"""The client reads the index of a minishard as a whole: with so many, 6 KiB that compress well."""
_MAX_INDEX = 1 << 30
_INDEX = re.compile(r"([0-9]+)\.index")


def meshed_labels(store: Store, folder: str) -> tuple[tuple[int, ...], str]:
    """Return the segments that have a mesh in a folder of multi-resolution ones, ascending.

    Returns
    -------
    labels : tuple of int
    digest : str
        Of their meshes; see `ngcore.volume.seal.EntriesDigest`.

    Raises
    ------
    FormatError, StorageError
        It is damaged, or can't be read.
    """
    info = MultilodInfo.from_json(parse_object(store.get(f"{folder}/info") or b""))
    labels, digest = [], EntriesDigest()
    spec = info.sharding
    meshes = _in_files(store, folder) if spec is None else _in_shards(store, folder, spec)
    for label, manifest, fragments in meshes:
        labels.append(label)
        digest.add(label, manifest, [fragments])
    return tuple(sorted(labels)), str(digest)


def _in_files(store: Store, folder: str) -> Iterator[tuple[int, bytes, bytes]]:
    for name in store.list(f"{folder}/"):
        match = _INDEX.fullmatch(name[len(folder) + 1 :])
        if match is not None:
            yield (
                int(match[1]),
                store.get(name) or b"",
                store.get(name.removesuffix(".index")) or b"",
            )


def _in_shards(
    store: Store, folder: str, spec: ShardingSpec
) -> Iterator[tuple[int, bytes, bytes]]:
    for shard in range(1 << spec.shard_bits):
        yield from read_shard(store, f"{folder}/{spec.file_name(shard)}", spec)


def read_shard(store: Store, name: str, spec: ShardingSpec) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield segment, manifest and fragments of each mesh in a shard, which may be absent.

    Raises
    ------
    FormatError, StorageError
        It is damaged, or can't be read.
    """
    size = store.size(name)
    if size is None:
        return
    header = store.get(name, 0, spec.shard_index_size) or b""
    for start, stop in parse_shard_index(header, spec, file_size=size).tolist():
        data = store.get(name, start, stop) or b""
        if data and spec.minishard_index_encoding == "gzip":
            data = gzip.decompress(data, max_size=_MAX_INDEX)
        index = parse_minishard_index(data, spec, file_size=size)
        for label, first, last in np.column_stack([index.ids, index.starts, index.stops]).tolist():
            manifest = store.get(name, first, last) or b""
            # Fragments end where their manifest starts.
            length = MultilodManifest.from_bytes(manifest).data_size
            yield label, manifest, store.get(name, first - length, first) or b""


def choose_sharding(count: int, size: int) -> ShardingSpec:
    """Choose shards of some 64 MiB, and small minishards, for so many meshes and bytes of them.

    Labels are hashed: neighbouring ones are often a few of many, or all that there are.
    """
    shard_bits = max(0, -(-size // _SHARD_BYTES) - 1).bit_length()
    minishards = -(-count // (_MINISHARD_ENTRIES << shard_bits))
    return ShardingSpec(
        preshift_bits=0,
        hash="murmurhash3_x86_128",
        minishard_bits=max(0, minishards - 1).bit_length(),
        shard_bits=shard_bits,
        minishard_index_encoding="gzip",
        data_encoding="raw",
    )
