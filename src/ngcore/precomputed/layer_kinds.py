"""What a folder holds, by the `info` in it: a volume, or one of the other kinds of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.json_members import parse_object, shown
from ngcore.precomputed.names import (
    ANNOTATIONS_TYPE,
    LEGACY_MESH_TYPE,
    MULTILOD_MESH_TYPE,
    SEGMENT_PROPERTIES_TYPE,
    SKELETONS_TYPE,
    VOLUME_TYPE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {
    ANNOTATIONS_TYPE: "annotations",
    SKELETONS_TYPE: "skeletons",
    LEGACY_MESH_TYPE: "meshes",
    MULTILOD_MESH_TYPE: "multi-resolution meshes",
    SEGMENT_PROPERTIES_TYPE: "segment properties",
}


def layer_kind(members: Mapping[str, Any]) -> str | None:
    """Return the `@type` of an `info` that is not a volume's; None for a volume's.

    What has scales is a volume, whatever it says.
    """
    kind = members.get("@type", VOLUME_TYPE)
    if "scales" in members or (isinstance(kind, str) and kind.lower() == VOLUME_TYPE):
        return None
    return str(kind)


def kind_name(members: Mapping[str, Any]) -> str | None:
    """Return what a folder holds in words, such as ``annotations (point)``; None for a volume."""
    kind = layer_kind(members)
    if kind is None:
        return None
    if kind not in _NAMES:
        return f"something of type {shown(kind)}"
    detail = members.get("annotation_type")
    more = f" ({shown(detail).strip(chr(34))})" if isinstance(detail, str) else ""
    return f"{_NAMES[kind]}{more}"


def refuse_other_kinds(document: bytes, where: str) -> None:
    """Refuse the `info` of another kind of layer where a volume is wanted.

    Parameters
    ----------
    document : bytes
        The file; what can't be parsed passes, for whoever reads it next says why.
    where : str
        The folder, for messages.

    Raises
    ------
    InputError
        It is of another kind.
    """
    try:
        members = parse_object(document)
    except FormatError:
        return
    name = kind_name(members)
    if name is not None:
        raise InputError(
            f"{where} is a folder of {name}, not a volume; `ngcore validate` checks it, and "
            "Neuroglancer opens it as a source of its own"
        )
