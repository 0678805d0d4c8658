"""Mends `info`: what everybody can see is meant, and Neuroglancer rejects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.json_members import dump, parse_object
from ngcore.precomputed.names import VOLUME_TYPE

if TYPE_CHECKING:
    from ngcore.repairing.changes import Changes

_FOLDERS = ("mesh", "skeletons", "segment_properties")
_OPTIONAL = ("sharding", "compressed_segmentation_block_size", "voxel_offset", "hidden")
_BLOCK_SIZE = "compressed_segmentation_block_size"


def mend_info(document: bytes, name: str, changes: Changes) -> tuple[VolumeInfo, bytes]:
    """Return the info of a volume, and the file's content: as it is, if nothing needs repair.

    Raises
    ------
    FormatError
        Something else is wrong with it.
    """
    try:
        members = parse_object(document)
    except FormatError as error:
        raise FormatError(f"{name}: {error}; fix that by hand first") from error
    before = sum(changes.counts.values())
    _repair_volume(members, changes)
    scales = members.get("scales")
    if isinstance(scales, list):
        for scale in scales:
            if isinstance(scale, dict):
                _repair_scale(scale, changes)
        _sort_scales(scales, changes)
    is_repaired = sum(changes.counts.values()) > before
    content = dump(members).encode() if is_repaired else document
    try:
        return VolumeInfo.from_json(content), content
    except FormatError as error:
        raise FormatError(f"{name}: {error}; fix that by hand first") from error


def _repair_volume(members: dict[str, Any], changes: Changes) -> None:
    _drop_nulls(members, _FOLDERS, changes)
    if members.get("@type", VOLUME_TYPE) != VOLUME_TYPE and "scales" in members:
        members["@type"] = VOLUME_TYPE
        changes.add("type tag")
    kind = members.get("type")
    if "num_channels" not in members and isinstance(kind, str) and kind.lower() == "segmentation":
        members["num_channels"] = 1
        changes.add("channels")


def _repair_scale(scale: dict[str, Any], changes: Changes) -> None:
    _drop_nulls(scale, _OPTIONAL, changes)
    encoding = scale.get("encoding")
    is_labels = isinstance(encoding, str) and encoding.lower() == "compressed_segmentation"
    if _BLOCK_SIZE in scale and isinstance(encoding, str) and not is_labels:
        del scale[_BLOCK_SIZE]
        changes.add("block size")


def _drop_nulls(members: dict[str, Any], names: tuple[str, ...], changes: Changes) -> None:
    for name in names:
        if name in members and members[name] is None:
            del members[name]
            changes.add("null")


def _sort_scales(scales: list[Any], changes: Changes) -> None:
    """Put scales in order, where there is an order in which no axis gets finer."""
    try:
        ordered = sorted(scales, key=lambda scale: [float(n) for n in scale["resolution"]])
        resolutions = [[float(n) for n in scale["resolution"]] for scale in ordered]
    except (KeyError, TypeError, ValueError):
        return
    axes = list(zip(*resolutions, strict=False))
    if all(list(axis) == sorted(axis) for axis in axes) and any(
        one is not other for one, other in zip(ordered, scales, strict=True)
    ):
        scales[:] = ordered
        changes.add("order")
