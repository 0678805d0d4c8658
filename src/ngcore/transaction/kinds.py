"""Which files of a folder are meshes, skeletons, properties or annotations, by name and content.

Nothing else is ever removed with them: notes of a user, a scale, a picture may lie there too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.names import (
    COLOURS_NAME,
    EMPTY_MANIFEST_NAME,
    LEGACY_MESH_TYPE,
    MULTILOD_MESH_TYPE,
    SEGMENT_PROPERTIES_TYPE,
    SKELETONS_TYPE,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ngcore.storage.base import Store

_SHARD = r"[0-9a-f]+\.shard"
_MANIFEST = r"[0-9]+:[0-9]+"
_INDEX = r"[0-9]+\.index"
_NUMBER = r"[0-9]+"
_CELL = r"[0-9]+_[0-9]+_[0-9]+"
_INFO_TYPES = {
    "mesh": (LEGACY_MESH_TYPE, MULTILOD_MESH_TYPE),
    "skeletons": (SKELETONS_TYPE,),
    "segment_properties": (SEGMENT_PROPERTIES_TYPE,),
}
_MAX_JSON = 64 << 20
_MAX_WHOLE = 1 << 30
_INDEX_HEADER = 28


def files_of_kind(store: Store, folder: str, kind: str) -> Iterator[str]:
    """Yield the names of files in a folder that are of a kind, `info` first.

    Parameters
    ----------
    store : Store
    folder : str
        Empty for the store itself.
    kind : str
        ``mesh``, ``skeletons`` or ``segment_properties``.
    """
    prefix = f"{folder}/" if folder else ""
    names = {name.rpartition("/")[2]: name for name in store.list(prefix)}
    is_one = {"mesh": _is_mesh, "skeletons": _is_skeleton, "segment_properties": _is_properties}
    for last in sorted(names, key=lambda name: (name.removesuffix(".gz") != "info", name)):
        name = names[last]
        if name != prefix + last:
            continue  # in a folder below
        plain = last.removesuffix(".gz")
        if plain == "info":
            if _has_type(store, name, _INFO_TYPES[kind]):
                yield name
        elif is_one[kind](store, name, plain):
            yield name


def annotation_files(store: Store, folder: str) -> Iterator[str]:
    """Yield the names of files in a folder of an index of annotations."""
    for name in store.list(f"{folder}/"):
        plain = name[len(folder) + 1 :].removesuffix(".gz")
        if any(re.fullmatch(known, plain) for known in (_NUMBER, _CELL, _SHARD)):
            yield name


def _is_mesh(store: Store, name: str, plain: str) -> bool:
    if plain == "provenance":
        return _is_json(store, name)
    if plain == EMPTY_MANIFEST_NAME or re.fullmatch(_INDEX, plain):
        return (store.size(name) or 0) >= _INDEX_HEADER
    if re.fullmatch(_SHARD, plain):
        return _is_shard(store, name)
    if re.fullmatch(_MANIFEST, plain):
        return _is_json(store, name)
    if re.fullmatch(_NUMBER, plain):
        start = store.get(name, 0, 5)
        return start in (b"", b"DRACO") or _is_json(store, name) or _is_fragment(store, name)
    return _is_fragment(store, name)


def _is_skeleton(store: Store, name: str, plain: str) -> bool:
    if re.fullmatch(_SHARD, plain):
        return _is_shard(store, name)
    return re.fullmatch(_NUMBER, plain) is not None and _matches(store, name, _is_skeleton_data)


def _is_properties(store: Store, name: str, plain: str) -> bool:
    return plain == COLOURS_NAME and _is_json(store, name)


def _is_fragment(store: Store, name: str) -> bool:
    return _matches(store, name, _is_fragment_data)


def _is_fragment_data(data: bytes) -> bool:
    rest = len(data) - 4 - 12 * int.from_bytes(data[:4], "little")
    return len(data) >= 4 and rest >= 0 and rest % 12 == 0


def _is_skeleton_data(data: bytes) -> bool:
    vertices, edges = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
    return len(data) >= 8 + 12 * vertices + 8 * edges


def _is_shard(store: Store, name: str) -> bool:
    head, size = store.get(name, 0, 16), store.size(name)
    if head is None or size is None or len(head) < 16:
        return False
    start, stop = (int.from_bytes(head[at : at + 8], "little") for at in (0, 8))
    return start <= stop <= size


def _has_type(store: Store, name: str, types: tuple[str, ...]) -> bool:
    data = _content(store, name, _MAX_JSON)
    try:
        # A damaged one stands for its kind: it lies where `info` says that such things lie.
        return data is not None and parse_object(data).get("@type", types[0]) in types
    except FormatError:
        return True


def _is_json(store: Store, name: str) -> bool:
    return _matches(store, name, lambda data: data.lstrip()[:1] == b"{")


def _matches(store: Store, name: str, is_one: Callable[[bytes], bool]) -> bool:
    data = _content(store, name, _MAX_WHOLE)
    return data is not None and is_one(data)


def _content(store: Store, name: str, max_size: int) -> bytes | None:
    """Return the bytes of a file, decompressed if it is called so; None if that can't be."""
    try:
        data = store.get_whole(name, max_size)
        if data is None or not name.endswith(".gz"):
            return data
        return gzip.decompress(data, max_size=max_size)
    except FormatError:
        return None
