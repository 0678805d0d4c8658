"""Checks a folder of skeletons, each to its last byte: the client itself checks no length."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from ngcore.errors import FormatError, StorageError
from ngcore.precomputed.segment_properties import SegmentProperties
from ngcore.precomputed.skeletons import Skeleton, SkeletonInfo
from ngcore.storage import LocalStore
from ngcore.storage.listing import walk_files
from ngcore.validating.entries import check_entries
from ngcore.validating.files import names_beside, read_limited
from ngcore.validating.properties import check_properties

if TYPE_CHECKING:
    from ngcore.validating.scale import Basis

_ID = re.compile(r"[0-9]{1,20}")
_MAX_JSON = 16 << 20
_MAX_SKELETON = 256 << 20


def check_skeletons(basis: Basis, folder: str, *, properties: str | None = None) -> int:
    """Check every skeleton of a folder; return how many there are.

    Parameters
    ----------
    basis : Basis
    folder : str
        Its name in the store; ``.`` is the store itself.
    properties : str or None
        The folder of segment properties that the volume names, if it is a volume's.
    """
    name = names_beside(folder, "info")
    try:
        document = read_limited(basis.store, name, _MAX_JSON)
        if document is None:
            basis.findings.error("skeletons", name, "is missing, and no reader works without it")
            return 0
        info = SkeletonInfo.from_json(document)
    except FormatError as error:
        basis.findings.error_in_json("skeletons", name, error)
        return 0
    if info.segment_properties is not None:
        properties = names_beside(folder, info.segment_properties)
        check_properties(basis, properties)

    seen: set[int] = set()

    def check(segment: int, data: bytes) -> None:
        seen.add(segment)
        Skeleton.from_bytes(data, info)

    if info.sharding is not None:
        count = check_entries(
            basis, folder, info.sharding, "skeletons", check, max_size=_MAX_SKELETON
        )
    else:
        for segment in _segments(basis, folder, properties):
            basis.work.submit(partial(_check_file, basis, folder, segment, info))
            seen.add(int(segment))
        basis.work.drain()
        count = len(seen)
    if info.segment_properties is not None and not basis.quick:
        _check_named(basis, folder, names_beside(folder, info.segment_properties), seen)
    return count


def _check_named(basis: Basis, folder: str, properties: str, seen: set[int]) -> None:
    """Warn of segments that the properties of these very skeletons name, and that have none."""
    try:
        document = read_limited(basis.store, f"{properties}/info", _MAX_JSON) or b""
        lost = sorted(set(SegmentProperties.from_json(document).ids) - seen)
    except FormatError:
        return  # said already
    if lost:
        basis.findings.warning(
            "skeletons",
            folder,
            f"{len(lost)} segments that {properties}/info names have no skeleton, such as "
            f"{lost[0]}",
        )


def _segments(basis: Basis, folder: str, properties: str | None) -> list[str]:
    """Return the names of skeleton files; a web server lists none, but names of segments help."""
    if isinstance(basis.store, LocalStore):
        names = {name.removesuffix(".gz") for name in walk_files(basis.store, folder)}
        return sorted(name for name in names if _ID.fullmatch(name))
    try:
        document = (
            read_limited(basis.store, f"{properties}/info", _MAX_JSON) if properties else b""
        )
        ids = SegmentProperties.from_json(document or b"").ids
    except FormatError:
        basis.findings.warning(
            "unchecked", folder, "skeletons can't be listed, and no properties name segments"
        )
        return []
    return [str(i) for i in ids if basis.store.size(names_beside(folder, str(i))) is not None]


def _check_file(basis: Basis, folder: str, segment: str, info: SkeletonInfo) -> None:
    name = names_beside(folder, segment)
    if basis.quick:
        return
    try:
        data = read_limited(basis.store, name, _MAX_SKELETON)
        Skeleton.from_bytes(data or b"", info)
    except (FormatError, StorageError) as error:
        basis.findings.error("skeletons", name, error)
