"""Whether what is absent was written once: ngcore writes every shard and every chunk file.

Where `provenance` has ngcore's digest of a scale, what is missing of it was lost. Volumes of
others leave out zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.errors import FormatError, InputNotFoundError, StorageError
from ngcore.precomputed.json_members import parse_object
from ngcore.storage.base import Store
from ngcore.storage.local import WORK_FOLDER

if TYPE_CHECKING:
    from ngcore.storage.base import ReadableStore

_MAX_BYTES = 64 << 20


def refuse_unfinished(store: ReadableStore) -> None:
    """Refuse a place that has no `info` because what writes it has not ended.

    Raises
    ------
    InputNotFoundError
        It is a folder, or one in a bucket, in which a run has begun.
    """
    if isinstance(store, Store) and store.size(f"{WORK_FOLDER}/plan.json") is not None:
        raise InputNotFoundError(
            f"not a precomputed volume yet: {store.location} is unfinished; continue what writes "
            "it with --resume, or start it again with --overwrite"
        )


def is_by_ngcore(store: ReadableStore, key: str) -> bool:
    """Whether ngcore wrote all of a scale, by the volume's `provenance`.

    Parameters
    ----------
    store : ReadableStore
        The volume's.
    key : str
        The scale's.
    """
    try:
        document = store.get_whole("provenance", _MAX_BYTES)
        steps = parse_object(document or b"{}").get("processing")
    except (FormatError, StorageError):
        return False
    for step in steps if isinstance(steps, list) else ():
        method = step.get("method") if isinstance(step, dict) else None
        digests = method.get("digests") if isinstance(method, dict) else None
        scales = digests.get("scales") if isinstance(digests, dict) else None
        if isinstance(scales, dict) and key in scales:
            return True
    return False
