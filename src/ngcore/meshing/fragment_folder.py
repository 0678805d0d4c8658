"""The folder of a volume in which single fragments lie, and what may not be replaced in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore.codecs import gzip
from ngcore.errors import DestinationError, FormatError, InputError, InputNotFoundError
from ngcore.precomputed.json_members import shown
from ngcore.precomputed.mesh_legacy import (
    decode_fragment,
    decode_manifest,
    encode_mesh_info,
    json_members,
    mesh_info_type,
)
from ngcore.precomputed.names import LEGACY_MESH_TYPE
from ngcore.transaction.mesh_folder import unfinished_meshes
from ngcore.transaction.places import check_own_folder

if TYPE_CHECKING:
    from ngcore.storage.base import Store
    from ngcore.transaction.changes import Transaction

_DEFAULT_FOLDER = "mesh"
_MAX_FRAGMENT = 1 << 32


def check_free(
    change: Transaction, folder: str, name: str, wanted: bytes, *, overwrite: bool
) -> None:
    """Refuse to replace a file that holds something other than what is to be written.

    What is not a fragment or manifest is somebody else's, whatever was asked.
    """
    where = f"{change.location}/{folder}/{name}"
    found = change.get(f"{folder}/{name}")
    if found is None:
        return
    try:
        if name.endswith(".gz"):
            found = gzip.decompress(found, max_size=_MAX_FRAGMENT)
        if found == wanted:
            return
        if wanted.startswith(b"{"):
            decode_manifest(found)
        else:
            decode_fragment(found)
    except FormatError as error:
        if overwrite and wanted.startswith(b"{"):
            return  # so are only manifests called, though this one is damaged
        raise DestinationError(
            f"{where} already exists, but is not a mesh ({error}); choose another name"
        ) from error
    if not overwrite:
        raise DestinationError(
            f"{where} already exists, with other content; pass --overwrite to replace it, or "
            "choose another name"
        )


def read_info(store: Store) -> dict[str, Any]:
    """Return the members of the `info` of a volume that is there."""
    data = store.get("info")
    if data is None:
        raise InputNotFoundError(
            f"{store.location} holds no info; meshes go into a volume that already exists"
        )
    return json_members(data, f"{store.location}/info")


def checked_info(info: dict[str, Any], store: Store) -> dict[str, Any]:
    """Return members of an `info` that is that of a volume, or raise InputError."""
    kind = info.get("@type", "neuroglancer_multiscale_volume")
    if str(kind).lower() != "neuroglancer_multiscale_volume":
        raise InputError(
            f"{store.location}/info is of type {shown(kind)}, not that of a volume; "
            "pass the folder of a volume"
        )
    return info


def fragment_folder(info: dict[str, Any], mesh_dir: str | None, store: Store) -> str:
    """Return the folder for meshes, from the volume's info and what the user asked for."""
    known = info.get("mesh")
    if known is not None and not isinstance(known, str):
        raise FormatError(
            f"{store.location}/info: mesh must be a folder's name, got {shown(known)}"
        )
    if known is not None and mesh_dir not in (None, known):
        raise InputError(
            f"{store.location}/info says that meshes are in {known!r}, not in {mesh_dir!r}; "
            f"pass --mesh-dir {known}"
        )
    folder = known or mesh_dir or _DEFAULT_FOLDER
    if "\\" in folder or any(part in ("", ".", "..") for part in folder.split("/")):
        raise InputError(f"the mesh folder {folder!r} must be a plain path inside of DEST")
    check_folder(info, folder, store)
    return folder


def check_folder(info: dict[str, Any], folder: str, store: Store) -> None:
    """Refuse a folder in which other things lie than single fragments."""
    check_own_folder(info, "mesh", folder, store)
    if (unfinished_meshes(store) or {}).get("folder") == folder:
        raise DestinationError(
            f"{store.location}: `ngcore mesh` fills the folder {folder!r}, or was interrupted; "
            "wait for it, or choose another one with --mesh-dir"
        )
    data = store.get(f"{folder}/info")
    if data is not None:
        name = f"{store.location}/{folder}/info"
        kind = mesh_info_type(data, name)
        if kind != LEGACY_MESH_TYPE:
            raise InputError(
                f"{name} says {kind}, which can't be mixed with single fragments; write these "
                "to another copy of the volume"
            )


def put_mesh_info(change: Transaction, folder: str) -> None:
    """Write the `info` of the folder, unless it has one of its own."""
    if change.get(f"{folder}/info") in (None, encode_mesh_info()):
        change.put(f"{folder}/info", encode_mesh_info())
