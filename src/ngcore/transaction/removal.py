"""What a volume, or a run that was killed, has in a place, removed; what is not theirs stays.

Chunks and shards are known by their names, meshes, skeletons, properties and annotations by name
and content (`ngcore.transaction.kinds`).
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ngcore.errors import DestinationError, FormatError, StorageError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.names import VOLUME_TYPE
from ngcore.storage.local import WORK_FOLDER, WRONG_FOLDER, LocalStore
from ngcore.transaction.journal import PLAN, read_plan
from ngcore.transaction.kinds import annotation_files, files_of_kind
from ngcore.transaction.presence import is_chunk_file
from ngcore.transaction.stale import remove_stale
from ngcore.transaction.work_folder import remove_left_behind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ngcore.storage.base import Store

_FOLDERS = ("mesh", "skeletons", "segment_properties")


def replaced_infos(store: Store) -> list[dict[str, Any]]:
    """Return the infos of all that is replaced: a volume, and those left unfinished."""
    texts = [("info", store.get("info"))]
    unfinished = read_plan(store)
    if unfinished is not None:
        documents = [unfinished["info"], *unfinished.get("replaces", [])]
        texts += [(PLAN, json.dumps(document).encode()) for document in documents]
        if isinstance(unfinished.get("keeps"), str):
            texts.append((PLAN, unfinished["keeps"].encode()))
    old = []
    for name, text in texts:
        if text is None:
            continue
        try:
            members = parse_object(text)
            if str(members.get("@type", VOLUME_TYPE)).lower() == VOLUME_TYPE:
                VolumeInfo.from_json(text)
        except FormatError as error:
            raise DestinationError(
                f"{store.location}/{name} is damaged, so --overwrite can't tell what to remove "
                f"({error}); remove the folder by hand"
            ) from error
        if members not in old:
            old.append(members)
    return old


def remove_volume_files(store: Store, info: VolumeInfo) -> None:
    """Remove the chunks and shards that `info` names, and the folders this empties.

    Files that are not chunks or shards of it stay, and so do meshes, skeletons and properties.

    Raises
    ------
    DestinationError, StorageError
        If a file can't be removed.
    """
    with _one_line_errors():
        for scale in info.scales:
            # A key may lead out of the volume's folder: what lies there is not ours.
            if _is_inside(store, scale.key):
                start = len(scale.key) + 1
                names = store.list(f"{scale.key}/")
                store.delete_all(name for name in names if is_chunk_file(scale, name[start:]))
                if isinstance(store, LocalStore):
                    remove_stale(store.path / scale.key, is_locked=True, below=True)
                store.prune(scale.key)


def remove_named_folders(store: Store, members: Mapping[str, Any]) -> None:
    """Remove the meshes, skeletons and properties that the members of an `info` name.

    Raises
    ------
    DestinationError, StorageError
        If a file can't be removed.
    """
    for kind in _FOLDERS:
        folder = members.get(kind)
        if isinstance(folder, str):
            remove_kind(store, folder, kind)


def remove_kind(store: Store, folder: str, kind: str) -> None:
    """Remove the files of one kind from a folder, and the folder if that empties it.

    One that lies elsewhere is another volume's too, and stays.

    Raises
    ------
    DestinationError, StorageError
        If a file can't be removed.
    """
    if not _is_inside(store, folder):
        return
    with _one_line_errors():
        for name in list(files_of_kind(store, folder, kind)):
            store.delete(name)
        if isinstance(store, LocalStore):
            remove_stale(store.path / folder, is_locked=True)
        store.prune(folder)


def remove_layer(store: Store, members: Mapping[str, Any]) -> None:
    """Remove what the members of an `info` name: of a volume, annotations or skeletons.

    Raises
    ------
    DestinationError, StorageError
        If a file can't be removed.
    """
    kind = str(members.get("@type", VOLUME_TYPE)).lower()
    if isinstance(members.get("files"), str):  # of one that is unfinished, which has no `info`
        _remove_claimed(store, re.compile(members["files"]))
    elif kind == "neuroglancer_annotations_v1":
        indexes = [members.get("by_id"), *members.get("relationships", [])]
        for index in (*indexes, *members.get("spatial", [])):
            folder = index.get("key") if isinstance(index, dict) else None
            if isinstance(folder, str) and _is_inside(store, folder):
                with _one_line_errors():
                    for name in list(annotation_files(store, folder)):
                        store.delete(name)
                    store.prune(folder)
    elif kind == "neuroglancer_skeletons":
        with _one_line_errors():
            for name in list(files_of_kind(store, "", "skeletons")):
                store.delete(name)
        remove_named_folders(store, members)
    else:
        remove_volume_files(store, VolumeInfo.from_json(json.dumps(members)))
        remove_named_folders(store, members)


def _remove_claimed(store: Store, names: re.Pattern[str]) -> None:
    """Remove files of some names, and numbered ones and shards in folders of such names."""
    with _one_line_errors():
        for entry in store.entries():
            if names.fullmatch(entry) is None:
                continue
            if store.size(entry) is not None:
                store.delete(entry)
                continue
            store.delete_all([*annotation_files(store, entry)])
            for name in list(files_of_kind(store, entry, "segment_properties")):
                store.delete(name)
            store.prune(entry)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (StorageError, OSError) as error:
        cause = error.__cause__ if isinstance(error, StorageError) else error
        what = f"the old files can't be removed: {error}"
        if getattr(cause, "errno", None) in WRONG_FOLDER:
            raise DestinationError(
                f"{what}; make it writable, or choose another folder"
            ) from error
        raise StorageError(f"{what}; fix that, or choose another folder") from error


def remove_temporary_files(store: Store, members: Mapping[str, Any]) -> None:
    """Remove what a run that was killed left half-written; the volume is locked.

    A worker that was taken for lost may still be at work: what goes by itself meanwhile is gone.
    """
    if not isinstance(store, LocalStore):
        store.delete_unfinished()  # what is put in a bucket is there whole or not at all
        return
    path = store.path
    remove_left_behind(path / WORK_FOLDER)
    for entry in store.entries(WORK_FOLDER):
        if (path / WORK_FOLDER / entry).is_dir():
            store.delete_folder(f"{WORK_FOLDER}/{entry}")
    remove_stale(path, is_locked=True, below="scales" not in members)  # another kind of layer
    remove_stale(path / WORK_FOLDER, is_locked=True)
    for folder in _folders(members):
        if _is_inside(store, folder):
            remove_stale(path / folder, is_locked=True, below=True)


def _folders(members: Mapping[str, Any]) -> Iterator[str]:
    scales = members.get("scales")
    for scale in scales if isinstance(scales, list) else []:
        yield scale["key"]
    for kind in _FOLDERS:
        if isinstance(members.get(kind), str):
            yield members[kind]


def _is_inside(store: Store, folder: str) -> bool:
    """Whether a folder lies in a place, and not above or beside it, nor behind a link."""
    if isinstance(store, LocalStore):
        return store.path.resolve() in (store.path / folder).resolve().parents
    return ".." not in folder.split("/") and folder not in ("", ".")
