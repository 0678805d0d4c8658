"""What is there of a place, and of the files of a volume in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ngcore.errors import DestinationError
from ngcore.precomputed.sharding import ShardGrid
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.storage.base import Store


def is_there(store: Store) -> bool:
    """Whether a place is there; what can't be one is refused.

    Raises
    ------
    DestinationError
        It is a file, a URL, or a name that can't be.
    """
    if not isinstance(store, LocalStore):
        refuse_object(store)
        return True
    path = store.path
    try:
        with os.scandir(path):
            return True
    except FileNotFoundError:
        return False
    except NotADirectoryError as error:
        if path.exists():
            raise DestinationError(
                f"{path} is a file; choose a folder that is empty or not there yet"
            ) from error
        return False  # a folder above is a file: the lock says so
    except PermissionError as error:
        raise DestinationError(
            f"{path} can't be read: {error.strerror}; check its access rights"
        ) from error
    except (OSError, ValueError) as error:  # a name that is too long, or has a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise DestinationError(
            f"{str(path)!r} can't be a folder: {reason}; choose another name"
        ) from error


def refuse_object(store: Store) -> None:
    """Refuse a folder of a bucket that is an object, or lies in one: no disk could hold a copy.

    Raises
    ------
    DestinationError
        It is, or does.
    """
    where = store.object_above()
    if where is not None:
        raise DestinationError(f"{where} is a file, not a folder; choose another place")


def lacking(store: Store, info: VolumeInfo) -> str | None:
    """Return what files of a volume that ngcore wrote are not there; None where all are.

    Names are listed and counted, no file is read.

    Returns
    -------
    str or None
        Such as ``3 of the 512 files of 8_8_8``.
    """
    for scale in info.scales:
        expected = scale.grid.count
        if scale.sharding is not None:
            expected = ShardGrid(scale.sharding, scale.grid.shape).count
        start = len(scale.key) + 1
        found = sum(is_chunk_file(scale, name[start:]) for name in store.walk(scale.key))
        if found < expected:
            return f"{expected - found} of the {expected} files of {scale.key}"
    return None


def is_chunk_file(scale: ScaleInfo, name: str) -> bool:
    """Whether a name, in the folder of a scale, is that of one of its chunks or shards."""
    if scale.sharding is None:
        return scale.grid.cell_of_name(name.removesuffix(".gz")) is not None
    stem, _, ending = name.rpartition(".")
    try:
        number = int(stem, 16) if ending == "shard" else -1
    except ValueError:
        return False
    return (
        0 <= number < 1 << scale.sharding.shard_bits and scale.sharding.file_name(number) == name
    )
