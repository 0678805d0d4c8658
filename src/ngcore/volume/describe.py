"""What there is to say of a volume, or of another kind of layer, without reading its voxels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError, StorageError
from ngcore.precomputed.annotations import AnnotationInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.layer_kinds import kind_name
from ngcore.precomputed.mesh_multilod import MultilodInfo
from ngcore.precomputed.names import (
    ANNOTATIONS_TYPE,
    MULTILOD_MESH_TYPE,
    PROVENANCE_NAME,
    SKELETONS_TYPE,
)
from ngcore.precomputed.skeletons import SkeletonInfo
from ngcore.storage import LocalStore, open_store
from ngcore.volume.provenance import Provenance
from ngcore.volume.read import open as open_volume
from ngcore.volume.world import has_world, world_bounds_mm, world_transform

if TYPE_CHECKING:
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage import ReadableStore

_MAX_INFO = 16 << 20
_MOST_FILES = 200_000
"""Of a folder with more files the bytes are not counted: to look at each takes a while."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a folder holds.

    Attributes
    ----------
    path : str
    kind : str
        ``volume``, or another kind of layer, such as ``skeletons``.
    info : VolumeInfo or None
        Of a volume.
    members : dict
        The members of the `info` file.
    orientation : str or None
        The anatomical directions in which x, y and z of the voxels increase most, such as
        ``RAS``; None where the volume does not say where it lies in the world.
    extent_mm : tuple of two (x, y, z), or None
        The lowest and the highest corner in the world.
    bytes, files : int or None
        Of all that lies in the folder; None where there are too many files, and of URLs.
    sources : tuple of str
        What it was made of, as `provenance` says.
    steps : tuple of str
        What was done to it, in order.
    """

    path: str
    kind: str
    info: VolumeInfo | None
    members: dict[str, Any]
    orientation: str | None = None
    extent_mm: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    bytes: int | None = None
    files: int | None = None
    sources: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds: the members of `info`, and all the rest beside them."""
        rest = {
            name: getattr(self, name)
            for name in ("path", "kind", "orientation", "extent_mm", "bytes", "files", "steps")
        }
        return {**self.members, **rest, "sources": list(self.sources)}


def describe(path: str | os.PathLike[str]) -> Description:
    """Describe a volume, or another kind of layer, without reading its voxels.

    Parameters
    ----------
    path : str or path
        The folder that holds `info`, or its URL.

    Raises
    ------
    InputNotFoundError
        There is no such folder, or no `info` in it.
    FormatError
        `info`, or `transform.json`, breaks the format's rules.
    """
    text = os.fspath(path)
    store = open_store(path) if text else None
    document = None if store is None else store.get_whole("info", _MAX_INFO)
    try:
        name = None if document is None else kind_name(parse_object(document))
    except FormatError as error:
        raise FormatError(f"{text}/info: {error}") from error
    if name is not None and document is not None and store is not None:
        _check(document, text)
        size, files = _size_of(store)
        sources, steps = _history(store)
        return Description(
            text,
            name,
            None,
            parse_object(document),
            bytes=size,
            files=files,
            sources=sources,
            steps=steps,
        )
    volume = open_volume(path)  # or it says what is wrong
    transform = world_transform(volume.store)
    orientation = extent = None
    if transform is not None and has_world(transform):
        low, high = world_bounds_mm(volume.scales[0], transform).round(6).tolist()
        import nibabel  # which brings a lot along

        codes: tuple[str, ...] = nibabel.aff2axcodes(volume.affine)  # type: ignore[no-untyped-call]
        orientation = "".join(codes)
        extent = tuple(low), tuple(high)
    size, files = _size_of(volume.store)
    sources, steps = _history(volume.store)
    return Description(
        text,
        "volume",
        volume.info,
        parse_object(volume.info.to_json()),
        orientation,
        extent,
        size,
        files,
        sources,
        steps,
    )


def _check(document: bytes, where: str) -> None:
    """Refuse the `info` of another kind of layer that breaks the rules of its format."""
    members = parse_object(document)
    try:
        if members["@type"] == ANNOTATIONS_TYPE:
            AnnotationInfo.from_json(document)
        elif members["@type"] == SKELETONS_TYPE:
            SkeletonInfo.from_json(document)
        elif members["@type"] == MULTILOD_MESH_TYPE:
            MultilodInfo.from_json(members)
    except FormatError as error:
        raise FormatError(f"{where}/info: {error}") from error


def _history(store: ReadableStore) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sources and the steps that `provenance` names; none where it is damaged."""
    try:
        known = Provenance.from_json(store.get(PROVENANCE_NAME) or b"{}")
    except (FormatError, StorageError):
        return (), ()
    sources = [known.sources] if isinstance(known.sources, str) else known.sources
    return tuple(map(str, sources)), tuple(step.name for step in known.processing)


def _size_of(store: object) -> tuple[int | None, int | None]:
    """Return the bytes and the number of files of a folder."""
    if not isinstance(store, LocalStore):
        return None, None
    size = files = 0
    try:
        for folder, _, names in os.walk(store.path):
            files += len(names)
            if files > _MOST_FILES:
                return None, None
            with os.scandir(folder) as entries:
                size += sum(entry.stat().st_size for entry in entries if entry.is_file())
    except OSError:
        return None, None
    return size, files
