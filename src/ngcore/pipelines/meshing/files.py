"""The files of multi-resolution meshes: one or two per segment, or shards.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.formats.shard_index import layout_shard
from ngcore.formats.sharding import ShardingSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.formats.shard_index import ShardLayout
    from ngcore.storage import LocalStore
    from ngcore.storage.spool import Place, Spool

_SHARD_BYTES = 64 << 20
_MINISHARD_ENTRIES = 256
"""The client reads the index of a minishard as a whole: with so many, 6 KiB that compress well."""


class _Kept(NamedTuple):
    place: Place
    manifest_size: int


class MeshFiles:
    """Takes the meshes of segments in any order, from any thread, and writes their files.

    Parameters
    ----------
    store : LocalStore
        The folder of meshes.
    spool : Spool or None
        Where meshes wait for their shards; None for files of their own.
    """

    def __init__(self, store: LocalStore, spool: Spool | None) -> None:
        self._store = store
        self._spool = spool
        self._kept: dict[int, _Kept] = {}
        self._labels: set[int] = set()
        self._lock = threading.Lock()

    @property
    def labels(self) -> tuple[int, ...]:
        """The segments whose meshes were taken, ascending."""
        return tuple(sorted(self._labels))

    def add(self, label: int, manifest: bytes, fragments: bytes) -> None:
        """Take a segment's mesh.

        Raises
        ------
        StorageError
            The disk is full, or failed.
        """
        if self._spool is None:
            self._store.put(str(label), fragments)
            self._store.put(f"{label}.index", manifest)
        else:
            kept = _Kept(self._spool.put(fragments + manifest), len(manifest))
            with self._lock:
                self._kept[label] = kept
        with self._lock:
            self._labels.add(label)

    def finish(self) -> ShardingSpec | None:
        """Write the shards, if meshes go into any, and return how they are laid out."""
        if self._spool is None:
            return None
        spec = _choose_sharding(self._kept)
        labels = np.sort(np.fromiter(self._kept, np.uint64, len(self._kept)))
        shards, _ = spec.locate_many(labels)
        for shard in range(1 << spec.shard_bits):
            self._write_shard(spec, shard, labels[shards == shard].tolist())
        return spec

    def _write_shard(self, spec: ShardingSpec, shard: int, labels: list[int]) -> None:
        sizes = {label: self._kept[label].manifest_size for label in labels}
        leads = {label: self._kept[label].place[0] - sizes[label] for label in labels}
        layout = layout_shard(spec, sizes, leads)
        self._store.put_parts(spec.file_name(shard), self._parts(layout))

    def _parts(self, layout: ShardLayout) -> Iterator[bytes]:
        assert self._spool is not None
        yield layout.header
        for label in layout.ids:
            yield self._spool.get(self._kept[label].place)
        yield layout.trailer


def _choose_sharding(kept: dict[int, _Kept]) -> ShardingSpec:
    """Choose shards of some 64 MiB, and small minishards.

    Labels are hashed: neighbouring ones are often a few of many, or all that there are.
    """
    size = sum(one.place[0] for one in kept.values())
    shard_bits = max(0, -(-size // _SHARD_BYTES) - 1).bit_length()
    minishards = -(-len(kept) // (_MINISHARD_ENTRIES << shard_bits))
    return ShardingSpec(
        preshift_bits=0,
        hash="murmurhash3_x86_128",
        minishard_bits=max(0, minishards - 1).bit_length(),
        shard_bits=shard_bits,
        minishard_index_encoding="gzip",
        data_encoding="raw",
    )
