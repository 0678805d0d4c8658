"""From one scale to all of them: `info_fullres.json` becomes `info`.

The one scale says size, resolution and voxel_offset; key and chunk sizes follow from the rule in
`ngcore.precomputed.scales`.
"""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.precomputed.encodings import make_encoding
from ngcore.precomputed.info import VolumeInfo, info_warnings
from ngcore.precomputed.json_members import (
    check_integers,
    check_lengths,
    check_object,
    dump,
    fail,
    inside,
    parse_object,
    take,
)
from ngcore.precomputed.scales import DEFAULT_CHUNK_SIDE, pyramid_scales
from ngcore.storage import Store, is_url, open_store, writable_store
from ngcore.transaction.changes import Transaction
from ngcore.transaction.output_file import check_output_folder

logger = logging.getLogger(__name__)

_NARROWER_INTEGERS = ("uint8", "int8", "uint16", "int16", "int32")
_NAMED_FOLDERS = ("mesh", "skeletons", "segment_properties")
_MADE_HERE = ("key", "size", "resolution", "voxel_offset", "chunk_sizes")


def generate_scales_info(
    fullres: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    target_chunk_size: int | None = None,
    max_scales: int | None = None,
    type: str | None = None,  # noqa: A002 - the option's name
    encoding: str | None = None,
) -> VolumeInfo:
    """Write the `info` of a volume with every scale.

    Where an `info` already exists, what other steps have put beside the scales stays: the
    folders of meshes, skeletons and segment properties.

    Parameters
    ----------
    fullres : path
        JSON of an `info` file with one scale, of which size and resolution are enough.
    dest : path
        Folder for `info`; made if it is not there.
    target_chunk_size : int
        Side of a chunk of cubic voxels, a power of two; others hold about as many voxels. By
        default 64, or less where a chunk with all its channels would have more than 4 MiB.
    max_scales : int, optional
        How many scales at most; by default until every axis fits in one chunk.
    type : {"image", "segmentation"}, optional
        By default what `fullres` says, else segmentation if compressed so, else image.
    encoding : str, optional
        By default what `fullres` says, else raw.

    Returns
    -------
    VolumeInfo
        What was written.

    Raises
    ------
    FormatError
        If `fullres` is no such JSON; the message names the place in it.
    InputError
        If there is no such volume, such as one of compressed labels that are fractions.
    """
    path = os.fspath(fullres)
    document = _read(path)
    store = writable_store(dest)

    def made() -> VolumeInfo:
        folders = _named_folders(store)
        try:
            return _with_scales(document, folders, target_chunk_size, max_scales, type, encoding)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    for warning in info_warnings(made()):
        logger.warning("%s: %s", path, warning)
    check_output_folder(dest)
    with Transaction(store) as change:
        info = made()  # again: another command may have named a folder since
        sides = {"target_chunk_size": target_chunk_size, "max_scales": max_scales}
        kind = {"type": info.type, "encoding": info.scales[0].encoding}
        change.record("generate-scales-info", {**sides, **kind})
        change.put("info", info.to_json().encode())
    return info


def _read(path: str) -> bytes:
    if is_url(path):
        folder, _, name = path.rpartition("/")
        document = open_store(folder).get(name)
        if document is None:
            raise InputNotFoundError(
                f"no file {path}; volume-to-raw-chunks --generate-info writes it"
            )
        return document
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"no file {path}; volume-to-raw-chunks --generate-info writes it"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path} can't be read: {error.strerror}; pass the file info_fullres.json"
        ) from error


def _named_folders(store: Store) -> dict[str, Any]:
    """Return the folders that the `info` to be replaced names; nothing if it is invalid."""
    try:
        members = parse_object(store.get("info") or b"{}")
    except FormatError:
        return {}
    return {name: members[name] for name in _NAMED_FOLDERS if isinstance(members.get(name), str)}


def _with_scales(
    document: bytes,
    folders: dict[str, Any],
    target_chunk_size: int | None,
    max_scales: int | None,
    volume_type: str | None,
    encoding: str | None,
) -> VolumeInfo:
    members = {**folders, **parse_object(document)}
    given = take(members, "scales")
    if not isinstance(given, list) or not given:
        fail("scales", "an array with one scale", given)
    if len(given) > 1:
        logger.warning(
            "only the first of the %d scales is used; the others are computed", len(given)
        )
    with inside("scales[0]"):
        full = dict(check_object(given[0], "scale"))
        size = check_integers(take(full, "size"), "size", 1)
        resolution = check_lengths(take(full, "resolution"), "resolution")
        offset = check_integers(full.get("voxel_offset", (0, 0, 0)), "voxel_offset", None)
    encoding = encoding or full.get("encoding", "raw")
    is_compressed = encoding == "compressed_segmentation"
    members.setdefault("type", "segmentation" if is_compressed else "image")
    if volume_type is not None:
        members["type"] = volume_type
    if is_compressed and members.get("data_type") in _NARROWER_INTEGERS:
        members["data_type"] = "uint32"
    block_size = full.pop("compressed_segmentation_block_size", (8, 8, 8))
    full = {name: value for name, value in full.items() if name not in _MADE_HERE}
    full["encoding"] = encoding
    if is_compressed:
        full["compressed_segmentation_block_size"] = block_size
    voxel_bytes = None
    if target_chunk_size is None:
        voxel_bytes = _voxel_bytes(members)
    scales: list[dict[str, Any]] = [
        {
            "key": level.key,
            "size": level.size,
            "resolution": level.resolution,
            "voxel_offset": level.voxel_offset,
            "chunk_sizes": [level.chunk_size],
            **full,
        }
        for level in pyramid_scales(
            size,
            resolution,
            offset,
            target=target_chunk_size or DEFAULT_CHUNK_SIDE,
            max_scales=max_scales,
            voxel_bytes=voxel_bytes,
        )
    ]
    info = VolumeInfo.from_json(dump({**members, "scales": scales}))
    for scale in info.scales:
        make_encoding(info, scale)  # raises where the encoding can't hold such voxels
    return info


def _voxel_bytes(members: dict[str, Any]) -> int | None:
    """Return the bytes of a voxel with all its channels; None where the members are unsound."""
    data_type, channels = members.get("data_type"), members.get("num_channels")
    if data_type in DATA_TYPES and isinstance(channels, int) and channels > 0:
        return int(np.dtype(data_type).itemsize * channels)
    return None
