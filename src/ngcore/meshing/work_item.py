"""What a worker does of the meshes of a volume, in whatever process and on whatever machine.

Items share nothing but the volume's store. What an item leaves appears whole, with the same bytes
each time, so one may be done twice, even at once, where a worker was taken for lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.arrays.triangles import Surface
from ngcore.errors import MissingExtraError
from ngcore.meshing.blocks import Piece, find_surfaces, join_pieces
from ngcore.meshing.files import read_shard
from ngcore.meshing.libraries import check_libraries
from ngcore.meshing.octree import encode_levels
from ngcore.meshing.pieces import Place, find_pieces, get_pieces, put_pieces
from ngcore.precomputed.shard_index import layout_shard_of
from ngcore.transaction.shared_work import check_is_wanted, make_durable, this_process
from ngcore.volume.seal import EntriesDigest
from ngcore.work.threads import map_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ngcore.meshing.pieces import Pieces
    from ngcore.precomputed.chunks import Box, Vec3
    from ngcore.precomputed.shard_index import ShardOrder
    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.storage import Store
    from ngcore.storage.stored_path import StoredPath

_AT_ONCE = 16
"""Pieces that are asked of a bucket at once."""


@dataclass(frozen=True, slots=True)
class Job:
    """What all items of a run have in common; picklable.

    Attributes
    ----------
    store : Store
        The volume's.
    run : bytes
        For items with the same ones the volume is opened once.
    shared : StoredPath or None
        What is there while the run is; None in processes that end with it.
    syncs : bool
        Make each file durable before it is reported.
    """

    store: Store
    run: bytes
    shared: StoredPath | None = None
    syncs: bool = False

    def check(self) -> None:
        """Raise StorageError where the run is over."""
        if self.shared is not None:
            check_is_wanted(self.shared)

    def written(self, *names: str) -> None:
        """See to it that files may be reported."""
        if self.syncs:
            make_durable(self.store, names)


class BlockItem(NamedTuple):
    """Find the surfaces in a block; `is_trusted`: an earlier run may have done so."""

    job: Job
    cell: Vec3
    file: str
    is_trusted: bool
    scale: int
    box: Box
    wanted: frozenset[int] | None


class LabelItem(NamedTuple):
    """Make the meshes of some labels, for shards or as files of their own.

    Attributes
    ----------
    job : Job
    file : str or None
        Where they wait for their shards.
    folder : str
        Where their own files lie.
    trusted : frozenset of str
        Names of files that an earlier run may have written.
    sources : list of (label, source)
        A surface in nanometres that was given, or where the pieces lie that blocks have of it.
    resolution : sequence of float, in nanometres
    """

    job: Job
    file: str | None
    folder: str
    trusted: frozenset[str]
    sources: list[tuple[int, Surface | list[tuple[Box, Place]]]]
    resolution: Sequence[float]


class ShardItem(NamedTuple):
    """Lay down a shard of meshes."""

    job: Job
    name: str
    is_trusted: bool
    spec: ShardingSpec
    meshes: Pieces


@dataclass
class Made:
    """What an item has made: files, meshes that wait in one, labels of those that don't.

    `first` is the first label that it was to make.
    """

    first: int
    files: list[str] = field(default_factory=list)
    waiting: Pieces | None = None
    labels: list[int] = field(default_factory=list)
    digest: int = 0


def check_worker() -> None:
    """Raise MissingExtraError where this process lacks a library that meshes need."""
    try:
        check_libraries()
    except MissingExtraError as error:
        raise MissingExtraError(f"the worker on {this_process()}: {error}") from error


def find_block(item: BlockItem) -> tuple[Vec3, Pieces]:
    """Find the surfaces of all labels in a block; return where they lie."""
    job, file = item.job, item.file
    job.check()
    pieces = find_pieces(job.store, file) if item.is_trusted else None
    if pieces is None:
        location = job.store.location
        found = find_surfaces(job.run, location, item.scale, item.box, item.wanted)
        job.check()
        data = [(piece.label, piece.vertices, piece.triangles) for piece in found]
        pieces = put_pieces(job.store, file, data)
        job.written(file)
    return item.cell, pieces


def make_labels(item: LabelItem) -> Made:
    """Make the meshes of some labels."""
    job, file = item.job, item.file
    job.check()
    if file is None:
        return _make_files(item)
    waiting = find_pieces(job.store, file) if file in item.trusted else None
    if waiting is None:
        meshes = [
            (label, mesh)
            for label, source in item.sources
            if (mesh := _encoded(job.store, label, source, item.resolution)) is not None
        ]
        job.check()
        waiting = put_pieces(
            job.store, file, [(label, data, manifest) for label, (manifest, data) in meshes]
        )
        job.written(file)
    return Made(item.sources[0][0], [file], waiting)


def _make_files(item: LabelItem) -> Made:
    store, digest, made = item.job.store, EntriesDigest(), Made(item.sources[0][0])
    for label, source in item.sources:
        names = f"{item.folder}/{label}", f"{item.folder}/{label}.index"
        data = manifest = None
        if item.trusted.issuperset(names):
            data, manifest = map(store.get, names)
        if data is None or manifest is None:
            mesh = _encoded(store, label, source, item.resolution)
            if mesh is None:
                continue
            item.job.check()
            manifest, data = mesh
            for name, content in zip(names, (data, manifest), strict=True):
                store.put(name, content)
        digest.add(label, manifest, [data])
        made.labels.append(label)
        made.files += names
    item.job.written(*made.files)
    made.digest = digest.sum
    return made


def _encoded(
    store: Store,
    label: int,
    source: Surface | list[tuple[Box, Place]],
    resolution: Sequence[float],
) -> tuple[bytes, bytes] | None:
    """Return manifest and fragments of a label; None if nothing is left of it."""
    if isinstance(source, Surface):
        return encode_levels(source, min(resolution))

    def piece(found: tuple[Box, Place]) -> Piece:
        box, place = found
        return Piece(label, box, *get_pieces(store, place))

    pieces = map_ahead(piece, source, _AT_ONCE) if store.is_remote else map(piece, source)
    vertices, triangles = join_pieces(pieces, np.divide(resolution, min(resolution)))
    if not len(triangles):
        return None
    return encode_levels(Surface(vertices * np.asarray(resolution), triangles), min(resolution))


def write_shard(item: ShardItem) -> Made:
    """Write a shard, or look what is in one that an earlier run has written."""
    job, name, meshes = item.job, item.name, item.meshes
    job.check()
    digest = EntriesDigest()
    if item.is_trusted and job.store.size(name) is not None:
        for label, manifest, data in read_shard(job.store, name, item.spec):
            digest.add(label, manifest, [data])
    else:
        starts, middles, stops = meshes.ends.T
        layout = layout_shard_of(item.spec, meshes.labels, stops - middles, middles - starts)
        job.store.put_parts(name, _parts(job.store, layout, meshes, digest))
        job.written(name)
    labels = meshes.labels.tolist()
    return Made(next(iter(labels), 0), [name], labels=labels, digest=digest.sum)


def _parts(
    store: Store, layout: ShardOrder, meshes: Pieces, digest: EntriesDigest
) -> Iterator[bytes]:
    def pieces(index: int) -> tuple[int, bytes, bytes]:
        return int(meshes.labels[index]), *get_pieces(store, meshes.place(index))

    order = layout.order.tolist()
    found = map_ahead(pieces, order, _AT_ONCE) if store.is_remote else map(pieces, order)
    yield layout.header
    for label, data, manifest in found:
        digest.add(label, manifest, [data])
        yield data
        yield manifest
    yield layout.trailer
