"""Whether a complete volume is the one that `--resume` asks for.

Only what a conversion writes counts. Other commands add names of regions and meshes to `info`, and
their own steps to `provenance`; that makes it no other volume.
"""

from collections.abc import Mapping
from pathlib import Path

from ngcore.errors import DestinationError, FormatError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.transform import TRANSFORM_NAME
from ngcore.storage import LocalStore
from ngcore.volume.provenance import PROVENANCE_NAME, Provenance


def check_is_same(
    path: Path, info: VolumeInfo, side_files: Mapping[str, bytes], source_changed: int
) -> None:
    """Refuse a folder whose `info` is of another volume, or older than the source.

    Parameters
    ----------
    path : Path
        The volume's folder.
    info : VolumeInfo
        What would be written.
    side_files : mapping of str to bytes
        What would be written beside it.
    source_changed : int, in nanoseconds
        When the source was changed last, as the system counts time; 0 if that is not known.

    Raises
    ------
    DestinationError
        It is.
    """
    store = LocalStore(path)
    is_same = (
        _has_members(store.get("info"), info)
        and _is_same_work(store.get(PROVENANCE_NAME), side_files[PROVENANCE_NAME])
        and store.get(TRANSFORM_NAME) == side_files[TRANSFORM_NAME]
    )
    if not is_same:
        raise DestinationError(
            f"{path} holds a volume of another source or other options; "
            "pass --overwrite to replace it, or choose another folder"
        )
    # Not that of `info`, which other commands write anew.
    if source_changed > (path / TRANSFORM_NAME).stat().st_mtime_ns:
        raise DestinationError(
            f"the source has changed since {path} was finished; "
            "pass --overwrite to convert it again, or choose another folder"
        )


def _is_same_work(found: bytes | None, wanted: bytes) -> bool:
    try:
        return Provenance.from_json(found or b"").is_same_work(Provenance.from_json(wanted))
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
