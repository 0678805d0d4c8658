"""A folder of skeletons: written to shards, or to a file for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ngcore.annotating.index_files import (
    Part,
    file_order,
    hashed_sharding,
    write_files,
    write_shards,
)
from ngcore.precomputed.segment_properties import NumberProperty, SegmentProperties, TextProperty
from ngcore.precomputed.skeletons import SkeletonInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ngcore.precomputed.skeletons import Skeleton, VertexAttribute
    from ngcore.storage.base import Store
    from ngcore.storage.spool import Place, Spool

PROPERTIES = "segment_properties"
FILES = rf"[0-9]+|[0-9a-f]+\.shard|{PROPERTIES}"
"""Names in the folder of skeletons."""


def write_skeletons(
    skeletons: Iterable[tuple[int, Skeleton]],
    store: Store,
    folder: str,
    spool: Spool,
    *,
    attributes: Sequence[VertexAttribute],
    transform: Sequence[float],
    sharding: bool,
    properties: SegmentProperties | None,
) -> SkeletonInfo:
    """Write skeletons, and return the `info` of their folder, which is not written.

    Parameters
    ----------
    skeletons : iterable of (id, Skeleton)
        In any order; they are taken one by one.
    store : Store
    folder : str
        In the store; ``.`` for the store itself.
    spool : Spool
        Where they wait until all sizes are known.
    attributes, transform
        As in `SkeletonInfo`.
    sharding : bool
    properties : SegmentProperties or None
        Names and numbers of the skeletons.
    """
    plain = SkeletonInfo(tuple(attributes), tuple(transform))
    places: dict[int, tuple[Place, int]] = {}
    for number, skeleton in skeletons:
        data = skeleton.to_bytes(plain)
        places[number] = spool.put(data), len(data)
    ids = np.array(sorted(places), np.uint64)
    spec = None
    if sharding:
        spec = hashed_sharding(len(ids), sum(size for _, size in places.values()))
        ids = ids[np.lexsort((ids, file_order(spec, ids)))]
    parts = (
        Part(np.array([number], np.uint64), np.array([places[number][1]]), [places[number][0]])
        for number in ids.tolist()
    )
    if spec is not None:
        write_shards(parts, store, folder, spec, spool)
    else:
        write_files(parts, store, folder, lambda keys: [str(key) for key in keys.tolist()], spool)
    if properties is not None:
        store.put(f"{folder}/{PROPERTIES}/info", properties.to_json().encode())
    return SkeletonInfo(
        tuple(attributes), tuple(transform), spec, None if properties is None else PROPERTIES
    )


def named(
    names: Mapping[int, str], numbers: Mapping[str, Mapping[int, int]] | None = None
) -> SegmentProperties:
    """Return the properties of skeletons: their names, and numbers of each."""
    ids = sorted(names)
    found = [
        NumberProperty(name, "uint32", tuple(values[number] for number in ids))
        for name, values in (numbers or {}).items()
    ]
    label = TextProperty("label", tuple(names[number] for number in ids))
    return SegmentProperties(tuple(ids), (label, *found))
