"""Files of a volume as they are listed and read while nothing in them is trusted."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.storage import LocalStore
from ngcore.storage.base import max_stored_size
from ngcore.storage.local import WORK_FOLDER
from ngcore.transaction.journal import MESH_WORK_FOLDER

if TYPE_CHECKING:
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage import ReadableStore


_WORK_FOLDERS = {WORK_FOLDER, MESH_WORK_FOLDER}
SIDE_FILES = ("info", "info_fullres.json", "transform.json", "provenance")
"""What lies beside the folders of a volume, perhaps gzipped."""


def names_of_others(info: VolumeInfo, folder: str) -> frozenset[str]:
    """Return the names in a folder of a volume that belong to something else that `info` names.

    A scale may lie beside `info` (its key is ``.``), or meshes in the folder of a scale.
    """
    here = posixpath.normpath(folder)
    named = [*(scale.key for scale in info.scales), info.mesh, info.skeletons]
    places = {posixpath.normpath(name) for name in (*named, info.segment_properties) if name}
    inner = {posixpath.relpath(place, here) for place in places if not place.startswith("../")}
    found = {name.split("/")[0] for name in inner} - {".", ".."}
    if here == ".":
        found |= {name + end for name in SIDE_FILES for end in ("", ".gz")} | _WORK_FOLDERS
    return frozenset(found)


def names_beside(folder: str, name: str) -> str:
    """Return the name of a file in a folder of the store, ``.`` being the store itself."""
    return posixpath.normpath(f"{folder}/{name}")


def read_limited(store: ReadableStore, name: str, max_size: int) -> bytes | None:
    """Return the content of a small file, or of the gzipped ``NAME.gz``; None where it is absent.

    Raises
    ------
    FormatError
        It is larger than `max_size` bytes, or not the gzip that its name says.
    StorageError
        It can't be read.
    """
    data = store.get_whole(name, max_size)
    if data is None and isinstance(store, LocalStore):
        # Web servers show it under its name, or not at all.
        data = store.get(f"{name}.gz", 0, max_stored_size(max_size))
        return None if data is None else gzip.decompress(data, max_size=max_size)
    return data
