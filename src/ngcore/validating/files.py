"""Files of a volume as they are listed and read while nothing in them is trusted."""

from __future__ import annotations

import errno
import os
import posixpath
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import StorageError
from ngcore.storage import LocalStore, Store
from ngcore.storage.base import max_stored_size
from ngcore.storage.local import WORK_FOLDER
from ngcore.transaction.journal import MESH_WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage import ReadableStore
    from ngcore.storage.zip_store import ZipStore


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


def walk_files(
    store: Store | ZipStore, folder: str, *, depth: int = 0, skip: Collection[str] = ()
) -> Iterator[str]:
    """Yield the names of files in a folder, relative to it, in the order the system has them.

    Hidden files too. Nothing is held but the folders that are being read, so a folder may have any
    number of files.

    Parameters
    ----------
    store : Store
        In a bucket or a zip, hidden files are left out.
    folder : str
        Its name in the store.
    depth : int
        How many levels of folders in it are looked into; folders below are yielded by their names.
    skip : collection of str
        Names directly in the folder that are not looked at.

    Raises
    ------
    StorageError
        A folder can't be read.
    """
    if not isinstance(store, LocalStore):
        start = len(folder) + 1
        names = (name[start:] for name in store.list(f"{folder}/"))
        yield from (name for name in names if name.split("/", 1)[0] not in skip)
        return
    try:
        yield from _walk(store.path / folder, "", depth, skip)
    except OSError as error:
        raise StorageError(
            f"can't list {error.filename}: {error.strerror}; check its access rights"
        ) from error


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


def _walk(path: Path, prefix: str, depth: int, skip: Collection[str] = ()) -> Iterator[str]:
    try:
        entries = os.scandir(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return  # nothing can lie there
        raise
    with entries:
        for entry in entries:
            if entry.name in skip:
                continue
            if depth and _is_folder(entry):
                yield from _walk(path / entry.name, f"{prefix}{entry.name}/", depth - 1)
            else:
                yield prefix + entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link to itself
        return False
