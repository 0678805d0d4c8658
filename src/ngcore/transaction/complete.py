"""Whether a complete volume is the one that `--resume` asks for.

Only what a conversion writes counts. Other commands add names of regions and meshes to `info`, and
their own steps to `provenance`; that makes it no other volume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.errors import DestinationError, FormatError
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.names import PROVENANCE_NAME, TRANSFORM_NAME
from ngcore.storage import LocalStore
from ngcore.volume.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage.base import Store


def check_is_same(
    store: Store,
    info: VolumeInfo,
    side_files: Mapping[str, bytes],
    provenance: Provenance,
    has_changed: Callable[[int], bool],
) -> None:
    """Refuse a place whose `info` is of another volume, or older than the source.

    Parameters
    ----------
    store : Store
        The volume.
    info : VolumeInfo
        What would be written.
    side_files : mapping of str to bytes
        What would be written beside it.
    provenance : Provenance
        Likewise.
    has_changed : callable
        Tells whether the source was changed after a moment, in nanoseconds of the system's time.

    Raises
    ------
    DestinationError
        It is.
    """
    where = store.location
    is_same = (
        _has_members(store.get("info"), info)
        and _is_same_work(store.get(PROVENANCE_NAME), provenance)
        and store.get(TRANSFORM_NAME) == side_files[TRANSFORM_NAME]
    )
    if not is_same:
        raise DestinationError(
            f"{where} holds a volume of another source or other options; "
            "pass --overwrite to replace it, or choose another folder"
        )
    # Not that of `info`, which other commands write anew.
    if isinstance(store, LocalStore) and has_changed(
        (store.path / TRANSFORM_NAME).stat().st_mtime_ns
    ):
        raise DestinationError(
            f"the source has changed since {where} was finished; "
            "pass --overwrite to convert it again, or choose another folder"
        )


def _is_same_work(found: bytes | None, wanted: Provenance) -> bool:
    try:
        return Provenance.from_json(found or b"").is_same_work(wanted)
    except FormatError:
        return False


def _has_members(found: bytes | None, info: VolumeInfo) -> bool:
    """Whether an info file says all that `info` does, and perhaps more."""
    try:
        members = parse_object(found or b"")
    except FormatError:
        return False
    wanted = parse_object(info.to_json().encode())
    return all(members.get(name) == value for name, value in wanted.items())
