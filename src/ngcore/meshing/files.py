"""The files of multi-resolution meshes: one or two per segment, or shards.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import numpy as np

from ngcore.codecs import gzip
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.mesh_multilod import MultilodInfo, MultilodManifest, empty_manifest
from ngcore.precomputed.names import EMPTY_MANIFEST_NAME
from ngcore.precomputed.shard_index import layout_shard, parse_minishard_index, parse_shard_index
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.volume.seal import EntriesDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ngcore.meshing.pieces import PieceFiles, Place
    from ngcore.precomputed.shard_index import ShardLayout
    from ngcore.storage import LocalStore
    from ngcore.transaction.journal import Journal

_SHARD_BYTES = 64 << 20
_MINISHARD_ENTRIES = 256
"""The client reads the index of a minishard as a whole: with so many, 6 KiB that compress well."""
_MAX_INDEX = 1 << 30
_INDEX = re.compile(r"([0-9]+)\.index")


class MeshFiles:
    """Makes the meshes of segments, in any order, from any thread, and writes their files.

    What an earlier run has made is not made again.

    Parameters
    ----------
    store : LocalStore
        The folder of unfinished work.
    folder : str
        The one in it for the files.
    journal : Journal
        Of what is whole in it.
    pieces : PieceFiles or None
        Where meshes wait for their shards; None for files of their own.
    """

    def __init__(
        self, store: LocalStore, folder: str, journal: Journal, pieces: PieceFiles | None
    ) -> None:
        self._store = store
        self._folder = folder
        self._journal = journal
        self._pieces = pieces
        self._kept: dict[int, Place] = {}
        self._lock = threading.Lock()

    def make(
        self, labels: Sequence[int], encode: Callable[[int], tuple[bytes, bytes] | None]
    ) -> None:
        """Make the meshes of some segments, which are the same together in every run.

        Parameters
        ----------
        labels : sequence of int
        encode : callable
            Returns the manifest and the fragments of a segment; None if nothing is left of it.

        Raises
        ------
        StorageError
            The disk is full, or failed.
        """
        if self._pieces is None:
            for label in labels:
                self._make_files(label, encode)
            return
        file = f"labels/{labels[0]}"
        places = self._pieces.find(file)
        if places is None:
            meshes = [(label, mesh) for label in labels if (mesh := encode(label)) is not None]
            places = self._pieces.put(
                file, [(label, fragments, manifest) for label, (manifest, fragments) in meshes]
            )
        with self._lock:
            self._kept.update(places)

    def _make_files(self, label: int, encode: Callable[[int], tuple[bytes, bytes] | None]) -> None:
        names = f"{self._folder}/{label}", f"{self._folder}/{label}.index"
        if all(map(self._journal.is_written, names)):
            return
        mesh = encode(label)
        if mesh is None:
            return
        for name, data in zip(names, reversed(mesh), strict=True):
            self._store.put(name, data)
            self._journal.add(name)
        self._journal.checkpoint_if_due()

    def finish(self) -> ShardingSpec | None:
        """Write the shards, if meshes go into any, and return how they are laid out.

        Files of their own get one more, for web servers: the manifest of a segment without a mesh.
        """
        if self._pieces is None:
            self._store.put(f"{self._folder}/{EMPTY_MANIFEST_NAME}", empty_manifest())
            return None
        spec = _choose_sharding(self._kept)
        labels = np.sort(np.fromiter(self._kept, np.uint64, len(self._kept)))
        shards, _ = spec.locate_many(labels)
        for shard in range(1 << spec.shard_bits):
            name = f"{self._folder}/{spec.file_name(shard)}"
            if not self._journal.is_written(name):
                self._write_shard(spec, name, labels[shards == shard].tolist())
                self._journal.add(name)
                self._journal.checkpoint_if_due()
        return spec

    def _write_shard(self, spec: ShardingSpec, name: str, labels: list[int]) -> None:
        places = [self._kept[label] for label in labels]
        sizes = {label: at.stop - at.middle for label, at in zip(labels, places, strict=True)}
        leads = {label: at.middle - at.start for label, at in zip(labels, places, strict=True)}
        self._store.put_parts(name, self._parts(layout_shard(spec, sizes, leads)))

    def _parts(self, layout: ShardLayout) -> Iterator[bytes]:
        assert self._pieces is not None
        yield layout.header
        for label in layout.ids:
            yield from self._pieces.get(self._kept[label])
        yield layout.trailer


def meshed_labels(store: LocalStore) -> tuple[tuple[int, ...], str]:
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
    info = MultilodInfo.from_json(parse_object(store.get("info") or b""))
    labels, digest = [], EntriesDigest()
    meshes = _in_files(store) if info.sharding is None else _in_shards(store, info.sharding)
    for label, manifest, fragments in meshes:
        labels.append(label)
        digest.add(label, manifest, [fragments])
    return tuple(sorted(labels)), str(digest)


def _in_files(store: LocalStore) -> Iterator[tuple[int, bytes, bytes]]:
    for name in store.list():
        match = _INDEX.fullmatch(name)
        if match is not None:
            yield int(match[1]), store.get(name) or b"", store.get(match[1]) or b""


def _in_shards(store: LocalStore, spec: ShardingSpec) -> Iterator[tuple[int, bytes, bytes]]:
    for shard in range(1 << spec.shard_bits):
        name = spec.file_name(shard)
        size = store.size(name)
        if size is None:
            continue
        header = store.get(name, 0, spec.shard_index_size) or b""
        for start, stop in parse_shard_index(header, spec, file_size=size).tolist():
            data = store.get(name, start, stop) or b""
            if data and spec.minishard_index_encoding == "gzip":
                data = gzip.decompress(data, max_size=_MAX_INDEX)
            index = parse_minishard_index(data, spec, file_size=size)
            for label, first, last in np.column_stack(
                [index.ids, index.starts, index.stops]
            ).tolist():
                manifest = store.get(name, first, last) or b""
                # Fragments end where their manifest starts.
                length = MultilodManifest.from_bytes(manifest).data_size
                yield label, manifest, store.get(name, first - length, first) or b""


def _choose_sharding(kept: dict[int, Place]) -> ShardingSpec:
    """Choose shards of some 64 MiB, and small minishards.

    Labels are hashed: neighbouring ones are often a few of many, or all that there are.
    """
    size = sum(place.stop - place.start for place in kept.values())
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
