"""Whether what is absent was written once: ngcore writes every shard and every chunk file.

Where `provenance` has ngcore's digest of a scale, what is missing of it was lost. Volumes of
others leave out zeros.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ngcore.errors import FormatError, InputNotFoundError
from ngcore.precomputed.json_members import parse_object
from ngcore.storage.base import Store
from ngcore.storage.listing import is_listed_name, look_at_names, walk_files
from ngcore.storage.local import WORK_FOLDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.precomputed.chunks import ChunkGrid
    from ngcore.precomputed.info import ScaleInfo
    from ngcore.storage.base import ReadableStore

logger = logging.getLogger(__name__)

_MAX_BYTES = 64 << 20
_NESTED_DEPTH = 2
_HEX = re.compile("[0-9a-f]{1,16}")
_ENDINGS = (".gz", ".br", ".zst", ".zstd")


def refuse_unfinished(store: ReadableStore) -> None:
    """Refuse a place that has no `info` because what writes it has not ended.

    Raises
    ------
    InputNotFoundError
        It is a folder, or one in a bucket, in which a run has begun.
    """
    if isinstance(store, Store) and store.size(f"{WORK_FOLDER}/plan.json") is not None:
        raise InputNotFoundError(
            f"not a precomputed volume yet: {store.location} is unfinished; continue the command "
            "that writes it with --resume, or start it again with --overwrite"
        )


def is_by_ngcore(store: ReadableStore, key: str) -> bool | None:
    """Whether ngcore wrote all of a scale, and nobody changed it since, by the `provenance`.

    Changes that `repair` was told to accept may have left out zeros.

    Parameters
    ----------
    store : ReadableStore
        The volume's.
    key : str
        The scale's.

    Returns
    -------
    bool or None
        None where `provenance` is damaged.

    Raises
    ------
    StorageError
        If `provenance` can't be read.
    """
    try:
        return _is_recorded(store, key)
    except FormatError:
        return None


def was_lost(store: ReadableStore, key: str) -> bool | None:
    """Whether what is missing of a scale was lost; see `is_by_ngcore`.

    Where that can't be told there is an error or a warning, as the store asks for.

    Raises
    ------
    StorageError
        If `provenance` can't be read.
    FormatError
        If it is damaged, and what is lost is refused.
    """
    try:
        return _is_recorded(store, key)
    except FormatError as error:
        line = (
            f"provenance in {store.location}: {error}; files are missing, but it can't tell "
            "whether they were lost: copy it again, or remove it to take them for zeros"
        )
        if store.lost_chunks == "refuse":
            raise FormatError(line) from error
        if store.lost_chunks == "warn":
            logger.warning("%s, which they are read as now", line)
        return None


def _is_recorded(store: ReadableStore, key: str) -> bool:
    document = store.get_whole("provenance", _MAX_BYTES)
    steps = None if document is None else parse_object(document).get("processing")
    for step in reversed(steps) if isinstance(steps, list) else ():
        method = step.get("method") if isinstance(step, dict) else None
        if not isinstance(method, dict):
            continue
        digests = method.get("digests")
        scales = digests.get("scales") if isinstance(digests, dict) else None
        if isinstance(scales, dict) and key in scales:
            return method.get("accept_changes") is not True
    return False


def advice_on_lost(what: str) -> str:
    """Return what to do where a file is gone that ngcore wrote.

    Parameters
    ----------
    what : "chunk" or "shard"
    """
    return (
        f"ngcore writes every {what}: if it was lost, copy it again; if another program left it "
        "out as zeros, make a copy that says so with ngcore repair --accept-changes"
    )


def note_on_names(store: ReadableStore, scale: ScaleInfo) -> str | None:
    """Return a line where nothing of a scale is there, or files by names that nobody reads.

    Parameters
    ----------
    store : ReadableStore
        The volume's. Web servers list nothing: None.
    scale : ScaleInfo
        One that leaves out zeros, as others than ngcore write it.
    """
    from ngcore.storage.zip_store import ZipStore

    if not isinstance(store, Store | ZipStore):
        return None
    if (store.is_remote or isinstance(store, ZipStore)) and not is_listed_name(scale.key):
        return None
    grids = [replace(scale, chunk_sizes=(size,)).grid for size in scale.chunk_sizes]
    if scale.sharding is None:
        what, example = "chunk", grids[0].name((0, 0, 0))
    else:
        what, example = "shard", scale.sharding.file_name(0)
    names = walk_files(store, scale.key, depth=_NESTED_DEPTH)
    visible = (name for name in names if not name.startswith("."))
    seen = look_at_names(visible, lambda name: _is_read(name, scale, grids))
    return seen.note(what, example, "zeros")


def _is_read(name: str, scale: ScaleInfo, grids: Sequence[ChunkGrid]) -> bool:
    if scale.sharding is None:
        stem = next((name[: -len(end)] for end in _ENDINGS if name.endswith(end)), name)
        return any(grid.cell_of_name(stem) is not None for grid in grids)
    digits = name.removesuffix(".shard")
    number = int(digits, 16) if _HEX.fullmatch(digits) else -1
    spec = scale.sharding
    return 0 <= number < 1 << spec.shard_bits and spec.file_name(number) == name
