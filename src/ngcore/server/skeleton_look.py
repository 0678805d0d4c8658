"""A look at a folder of skeletons: which there are, and where they lie."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.segment_properties import SegmentProperties

if TYPE_CHECKING:
    from ngcore.previewing.samples import Corner
    from ngcore.storage import ReadableStore

_MOST_SHOWN = 1000


def look_at_skeletons(
    store: ReadableStore, info: dict[str, Any]
) -> tuple[list[str], tuple[Corner, Corner] | None, list[str]]:
    """Return the ids of the skeletons as text, their bounds in nm if known, and attributes."""
    attributes = [
        str(item.get("id"))
        for item in info.get("vertex_attributes") or []
        if isinstance(item, dict)
    ]
    ids = _ids(store, info)
    return ids, _bounds(store, info, ids), attributes


def bytes_of_skeletons(store: ReadableStore) -> int:
    """Return the size of a folder's files, all skeletons; 0 where that would be slow to ask."""
    path = getattr(store, "path", None)
    if path is None or not path.is_dir():
        return 0
    return sum(x.stat().st_size for x in path.iterdir() if x.is_file() and x.name != "provenance")


def _ids(store: ReadableStore, info: dict[str, Any]) -> list[str]:
    folder = info.get("segment_properties")
    document = store.get(f"{folder}/info") if isinstance(folder, str) else None
    if document is not None:
        try:
            return [
                str(number) for number in SegmentProperties.from_json(document).ids[:_MOST_SHOWN]
            ]
        except FormatError:
            pass
    path = getattr(store, "path", None)
    if path is None:
        return []
    names = sorted((x.name.removesuffix(".gz") for x in path.iterdir()), key=lambda x: (len(x), x))
    return [name for name in names if name.isdigit()][:_MOST_SHOWN]


def _bounds(
    store: ReadableStore, info: dict[str, Any], ids: list[str]
) -> tuple[Corner, Corner] | None:
    """Return bounds of skeletons that lie in files of their own; None for those in shards."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    transform = np.array(info.get("transform") or [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], float)
    if transform.size != 12:
        return None
    matrix = transform.reshape(3, 4)
    for name in ids if "sharding" not in info else []:
        data = store.get(name)
        if data is None or len(data) < 8:
            continue
        (count,) = struct.unpack_from("<I", data)
        if len(data) < 8 + 12 * count or not count:
            continue
        vertices = np.frombuffer(data, "<f4", 3 * count, offset=8).reshape(-1, 3)
        world = vertices @ matrix[:, :3].T + matrix[:, 3]
        low, high = np.minimum(low, world.min(axis=0)), np.maximum(high, world.max(axis=0))
    if not np.isfinite(low).all():
        return None
    return tuple(low.tolist()), tuple(high.tolist())
