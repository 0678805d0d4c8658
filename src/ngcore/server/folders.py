"""Folders and URLs in the precomputed format: what lies there, and the layer that shows it.

A volume, a folder of meshes, of annotations or of skeletons are told apart by the `@type` of their
`info`.
"""

from __future__ import annotations

import json
import logging
import math
import os
import posixpath
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError, NgcoreError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.mesh_legacy import decode_fragment, decode_manifest
from ngcore.precomputed.names import (
    ANNOTATIONS_TYPE,
    LEGACY_MESH_TYPE,
    MULTILOD_MESH_TYPE,
    SKELETONS_TYPE,
    VOLUME_TYPE,
)
from ngcore.previewing.appearance import NOTHING_ASKED
from ngcore.server.annotation_shaders import members_of
from ngcore.server.layers import ObjectLayer
from ngcore.server.skeleton_look import bytes_of_skeletons, look_at_skeletons
from ngcore.server.survey import survey_volume
from ngcore.storage import Store, open_store, parts_of_zip, place_in, split_place
from ngcore.storage.completeness import refuse_unfinished
from ngcore.storage.zip_store import names_in_zip
from ngcore.volume.read import Volume
from ngcore.volume.segment_colours import hex_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.previewing.appearance import Asked
    from ngcore.previewing.samples import Corner
    from ngcore.server.layers import Layer
    from ngcore.storage import ReadableStore

logger = logging.getLogger(__name__)

_MAX_INFO = 16 << 20
_MOST_FRAGMENTS = 64
_DEFAULT_SURFACE = (230, 190, 150)
_HEAVY_BYTES = 500_000
"""Of skeletons: some 15,000 vertices, which take a processor half a second in each panel."""
_DEFAULT_POINTS = (255, 220, 0)


def find_volumes(place: str | os.PathLike[str]) -> dict[str, str]:
    """Return what a place holds by URL path: itself, under "", or the folders and zips in it.

    Parameters
    ----------
    place : path or URL
        A folder, a zip file, or a folder in a bucket.
    """
    if has_info(place):
        return {"": os.fspath(place)}
    store = open_store(place)
    names = store.entries() if isinstance(store, Store) else ()
    found = {name: place_in(place, name) for name in sorted(names) if not name.startswith(".")}
    return {name: path for name, path in found.items() if has_info(path)}


def has_info(place: str | os.PathLike[str]) -> bool:
    """Whether something in the precomputed format is in a folder, a zip file, or a bucket."""
    zipped = parts_of_zip(os.fspath(place))
    if zipped is None:
        return open_store(place).size("info") is not None
    parent, name = split_place(zipped[0])
    return posixpath.join(zipped[1], "info") in names_in_zip(open_store(parent), name)


def source_of(url: str, place: str | os.PathLike[str]) -> str:
    """Return Neuroglancer's source for a folder or zip file, published at a URL."""
    if parts_of_zip(os.fspath(place)) is not None:
        return f"{url}|zip:|neuroglancer-precomputed:"
    return f"precomputed://{url}"


def layer_of(store: ReadableStore, name: str, url: str, asked: Asked = NOTHING_ASKED) -> Layer:
    """Return a layer that shows what lies in a store.

    Parameters
    ----------
    store : ReadableStore
        Of a folder, a zip or a URL.
    name : str
        Of the layer.
    url : str
        The source of the layer.
    asked : Asked

    Raises
    ------
    NgcoreError
        Nothing is there, it is damaged, or of a kind that Neuroglancer's layers don't show.
    """
    info = _info_of(store)
    kind = str(info.get("@type", VOLUME_TYPE))
    if kind == VOLUME_TYPE:
        return survey_volume(open_volume(store), name, url, asked)
    if kind not in _OBJECTS:
        raise InputError(
            f"{store.location} holds {kind}, which is not a layer by itself; pass the volume that "
            "it belongs to"
        )
    _refuse_image_settings(asked, name)
    return _OBJECTS[kind](store, info, name, url, asked)


def check_layer_info(store: ReadableStore) -> None:
    """Check that the `info` of a layer can be read, and that of a volume keeps the format's rules.

    Raises
    ------
    NgcoreError
        It is not so.
    """
    if _info_of(store).get("@type", VOLUME_TYPE) == VOLUME_TYPE:
        open_volume(store)


def open_volume(store: ReadableStore) -> Volume:
    """Open the volume in a store.

    Raises
    ------
    InputNotFoundError, FormatError
        There is none, or its `info` is damaged.
    """
    document = store.get_whole("info", _MAX_INFO)
    if document is None:
        refuse_unfinished(store)
        raise InputNotFoundError(f"no volume in {store.location}: there is no info file")
    try:
        return Volume(store, VolumeInfo.from_json(document))
    except FormatError as error:
        raise FormatError(f"{store.location}/info: {error}") from error


def _info_of(store: ReadableStore) -> dict[str, Any]:
    document = store.get_whole("info", _MAX_INFO)
    if document is None:
        refuse_unfinished(store)
        raise InputNotFoundError(
            f"nothing to show at {store.location!r}: there is no info file; pass a folder that "
            "ngcore has written, or a file that it can convert"
        )
    try:
        return parse_object(document)
    except FormatError as error:
        raise FormatError(f"{store.location}/info: {error}") from error


def _refuse_image_settings(asked: Asked, name: str) -> None:
    given = {
        "colormap": asked.colour_map,
        "min": asked.low,
        "max": asked.high,
        "volume": asked.channel,
    }
    for setting, value in given.items():
        if value is not None:
            raise InputError(f"{name}: {setting} is for images; leave it out")


def _meshes(
    store: ReadableStore, _: dict[str, Any], name: str, url: str, asked: Asked
) -> ObjectLayer:
    """Return the layer of a folder of meshes; those of single resolution are all shown."""
    segments, bounds = _legacy_segments(store)
    colour = asked.colour or _DEFAULT_SURFACE
    members: dict[str, Any] = {
        "segments": [str(segment) for segment in segments],
        "segmentDefaultColor": hex_of(colour),
        "tab": "segments",
    }
    if asked.opacity is not None:
        members["objectAlpha"] = asked.opacity
    return ObjectLayer(name, url, "segmentation", bounds, members=members, asked=asked)


def _legacy_segments(store: ReadableStore) -> tuple[list[int], tuple[Corner, Corner] | None]:
    """Return the segments of a folder of meshes of single resolution, and where they lie."""
    lister = getattr(store, "list", None)
    if lister is None:  # a web server
        return [], None
    names = (name.removesuffix(".gz") for name in lister() if ":" in name)
    segments = sorted(int(x.partition(":")[0]) for x in names if x.partition(":")[0].isdigit())
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for segment in segments[:_MOST_FRAGMENTS]:
        try:
            manifest = store.get(f"{segment}:0") or b'{"fragments": []}'
            for fragment in decode_manifest(manifest)[:_MOST_FRAGMENTS]:
                mesh = decode_fragment(store.get(fragment) or b"", fragment)
                low = np.minimum(low, mesh.vertices_nm.min(axis=0))
                high = np.maximum(high, mesh.vertices_nm.max(axis=0))
        except NgcoreError as error:
            logger.warning(
                "%s is shown, but its meshes could not be read: %s", store.location, error
            )
    if not np.isfinite(low).all():
        return segments, None
    return segments, (tuple(low.tolist()), tuple(high.tolist()))


def _annotations(
    store: ReadableStore, info: dict[str, Any], name: str, url: str, asked: Asked
) -> ObjectLayer:
    colour = asked.colour or _DEFAULT_POINTS
    members: dict[str, Any] = {"annotationColor": hex_of(colour), "tab": "rendering"}
    members |= members_of(store, json.dumps(info), asked)
    return ObjectLayer(
        name, url, "annotation", _annotation_bounds(info), members=members, asked=asked
    )


def _annotation_bounds(info: dict[str, Any]) -> tuple[Corner, Corner] | None:
    """Return the bounds that the info of annotations states, in nanometres."""
    try:
        names = list(info["dimensions"])
        order = [names.index(axis) for axis in ("x", "y", "z")]
        scales = [float(info["dimensions"][axis][0]) * 1e9 for axis in ("x", "y", "z")]
        low, high = (
            [float(info[bound][place]) * scale for place, scale in zip(order, scales, strict=True)]
            for bound in ("lower_bound", "upper_bound")
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    if not all(map(math.isfinite, (*low, *high))):
        return None
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _skeletons(
    store: ReadableStore, info: dict[str, Any], name: str, url: str, asked: Asked
) -> ObjectLayer:
    segments, bounds, attributes = look_at_skeletons(store, info)
    is_heavy = bytes_of_skeletons(store) > _HEAVY_BYTES
    rendering: dict[str, Any] = {"mode2d": "lines"}
    members: dict[str, Any] = {
        "segments": segments,
        "skeletonRendering": rendering,
        "tab": "segments",
    }
    if asked.colour is not None:
        members["segmentDefaultColor"] = hex_of(asked.colour)
    elif "orientation" in attributes:
        # Red, green and blue for right, front and top, as tracts are drawn.
        rendering["shader"] = "void main() {\n  emitRGB(abs(orientation));\n}\n"
    if asked.opacity is not None:
        members["objectAlpha"] = asked.opacity
    return ObjectLayer(
        name, url, "segmentation", bounds, members=members, asked=asked, is_heavy=is_heavy
    )


_OBJECTS: dict[str, Callable[[ReadableStore, dict[str, Any], str, str, Asked], ObjectLayer]] = {
    LEGACY_MESH_TYPE: _meshes,
    MULTILOD_MESH_TYPE: _meshes,
    ANNOTATIONS_TYPE: _annotations,
    SKELETONS_TYPE: _skeletons,
}
