"""A volume, or another layer, as one zip file that Neuroglancer opens (``OUT.zip|zip:``).

Names in it are those that the client asks for: flat, and not gzipped, as a zip has no
Content-Encoding. Only what `info` describes goes in, `info` and the coarse scales first, in an
order and with bytes that depend on nothing else.
"""

from __future__ import annotations

import logging
import os
import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ngcore.codecs import gzip
from ngcore.codecs.content import BY_ENDING
from ngcore.codecs.zip_file import Entry, ZipParts, needs_zip64
from ngcore.errors import FormatError, InputError, InputNotFoundError, StorageError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.names import LEGACY_MESH_TYPE, VOLUME_TYPE
from ngcore.storage import LocalStore, Store, open_store
from ngcore.storage.completeness import refuse_unfinished
from ngcore.storage.zip_store import ZipStore
from ngcore.transaction.output_file import check_output_file, write_zip_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from ngcore.precomputed.info import ScaleInfo

    Listed = Store | ZipStore

logger = logging.getLogger(__name__)

_SIDE_FILES = ("transform.json", "provenance")
_PIECE = 8 << 20
_MAX_UNPACKED = 1 << 30
_MAX_INFO = 64 << 20
_ENDINGS = ("", ".gz", ".br", ".zst", ".zstd")
_UNPACK = {**BY_ENDING, ".gz": gzip.decompress_members}
_MANIFEST = re.compile(r"\d+")


class _File(NamedTuple):
    """A file of the layer: the name that the client asks for, and the one under which it lies."""

    name: str
    stored: str
    ending: str


def pack(
    volume: str | os.PathLike[str], out: str | os.PathLike[str], *, overwrite: bool = False
) -> None:
    """Write a volume, or another layer, into one zip file that Neuroglancer opens.

    Parameters
    ----------
    volume : str, path or URL
        The folder that holds its `info`.
    out : str or path
        The file to write, `.zip`; it appears whole or not at all.
    overwrite : bool
        Replace `out` if it is there.

    Raises
    ------
    InputError
        There is no `info`, or the files can't be listed, or `out` has another ending.
    FormatError
        `info`, or what is compressed, is damaged.
    DestinationError
        `out` already exists or can't be written.
    StorageError
        Reading or writing fails midway.
    """
    store = open_store(volume)
    if not isinstance(store, Store | ZipStore):
        raise InputError(
            f"{volume}: a web server doesn't list its files; pass a folder, a zip file or a bucket"
        )
    if not os.fspath(out).lower().endswith(".zip"):
        raise InputError(
            f"{os.fspath(out)!r} must end in .zip, by which Neuroglancer recognises it"
        )
    check_output_file(out, overwrite=overwrite, sources=[volume])
    files = list(_files(store))
    parts = ZipParts(
        Entry(file.name, _size(store, file), partial(_pieces, store, file)) for file in files
    )
    write_zip_file(out, parts)
    if needs_zip64(parts.count, parts.size):
        logger.warning(
            "%s has %d files and %.1f GB: over 65,534 files or 4 GB only newer Neuroglancers open "
            "it (zip64); larger chunks or sharding make fewer files",
            out,
            parts.count,
            parts.size / 1e9,
        )


def _files(store: Listed) -> Iterator[_File]:
    document = store.get_whole("info", _MAX_INFO)
    if document is None:
        refuse_unfinished(store)
        raise InputNotFoundError(
            f"{store.location} has no info file; pass the folder of a volume or another layer"
        )
    try:
        members = parse_object(document)
        is_volume = members.get("@type", VOLUME_TYPE) == VOLUME_TYPE and "scales" in members
        info = VolumeInfo.from_json(document) if is_volume else None
    except FormatError as error:
        raise FormatError(f"{store.location}/info: {error}") from error
    yield _File("info", "info", "")
    for name in _SIDE_FILES:
        if store.size(name) is not None:
            yield _File(name, name, "")
    if info is None:
        done = {"info", *_SIDE_FILES}
        yield from (file for file in _folder(store, "") if file.name not in done)
        return
    folders = [info.segment_properties]
    for folder in folders:
        if folder is not None:
            yield from _folder(store, _inside(store, folder))
    for scale in reversed(info.scales):
        yield from _scale(store, scale)
    for folder in (info.mesh, info.skeletons):
        if folder is not None:
            yield from _folder(store, _inside(store, folder))


def _inside(store: Listed, folder: str) -> str:
    if folder.startswith("/") or ".." in folder.split("/"):
        raise InputError(
            f"{store.location}/info: {folder!r} lies outside of the volume, so it can't be "
            "packed; move it into the volume's folder, and change info to match"
        )
    return folder.strip("/")


def _scale(store: Listed, scale: ScaleInfo) -> Iterator[_File]:
    """Yield the chunks or shards of a scale, in the order of their names."""
    key = _inside(store, scale.key)
    found: dict[str, _File] = {}
    for stored in store.list(f"{key}/"):
        inner = stored[len(key) + 1 :]
        if scale.sharding is not None:
            if inner.endswith(".shard") and "/" not in inner:
                found[stored] = _File(stored, stored, "")
            continue
        ending = _ending(inner)
        cell = scale.grid.cell_of_name(inner.removesuffix(ending))
        if cell is None:
            continue
        name = f"{key}/{scale.grid.name(cell)}"
        # Of two, the one that readers take.
        other = found.get(name)
        if other is None or _rank(stored, ending) < _rank(other.stored, other.ending):
            found[name] = _File(name, stored, ending)
    yield from (found[name] for name in sorted(found))


def _rank(stored: str, ending: str) -> tuple[int, int]:
    is_nested = "_" not in stored.rpartition("/")[2]
    usual = [(False, ""), (True, ".gz"), (False, ".gz"), (True, "")]
    kind = (is_nested, ending)
    return (usual.index(kind) if kind in usual else len(usual), _ENDINGS.index(ending))


def _folder(store: Listed, folder: str) -> Iterator[_File]:
    """Yield all files below a folder, `info` first, under the names that the client asks for."""
    prefix = f"{folder}/" if folder else ""
    document = store.get_whole(f"{prefix}info", _MAX_INFO)
    try:
        is_legacy = parse_object(document or b"{}").get("@type") == LEGACY_MESH_TYPE
    except FormatError:
        is_legacy = False
    found: dict[str, _File] = {}
    for stored in store.list(prefix):
        ending = _ending(stored)
        name = stored.removesuffix(ending)
        if is_legacy and _MANIFEST.fullmatch(name.rpartition("/")[2]):
            name += ":0"  # where file systems have no colons in names
        if name not in found or not ending:
            found[name] = _File(name, stored, ending)
    yield from (
        found[name] for name in sorted(found, key=lambda name: (name != f"{prefix}info", name))
    )


def _ending(name: str) -> str:
    return next((ending for ending in _ENDINGS[1:] if name.endswith(ending)), "")


def _size(store: Listed, file: _File) -> int | None:
    """Return the size of a file that goes in as it lies; None of what is unpacked first."""
    if file.ending or (_may_be_encoded(store) and not file.stored.endswith(".shard")):
        return None
    size = store.size(file.stored)
    if size is None:
        raise StorageError(f"{file.stored} in {store.location} was removed while it was packed")
    return size


def _may_be_encoded(store: Listed) -> bool:
    """Whether objects may have a Content-Encoding."""
    return isinstance(store, Store) and store.keeps_names


def _pieces(store: Listed, file: _File) -> Iterator[Buffer]:
    """Yield the bytes of a file as the client is to get them."""
    data: bytes | None
    if file.ending:
        data = store.get(file.stored)
        if data is not None:
            try:
                data = _UNPACK[file.ending](data, max_size=_MAX_UNPACKED)
            except FormatError as error:
                raise FormatError(f"{file.stored} in {store.location}: {error}") from error
    elif _may_be_encoded(store) and not file.stored.endswith(".shard"):
        data = store.get_whole(file.stored, _MAX_UNPACKED)
    elif isinstance(store, LocalStore):
        yield from store.pieces(file.stored)
        return
    else:
        start = 0
        while piece := store.get_buffer(file.stored, start, start + _PIECE):
            yield piece
            start += len(piece)
        return
    if data is None:
        raise StorageError(f"{file.stored} in {store.location} was removed while it was packed")
    yield data
