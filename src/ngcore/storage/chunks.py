"""The reader and the writer that fit a scale: sharded, or a file for each chunk.

They are imported when one is asked for, as few runs need all four.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.precomputed.encodings import make_encoding
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage.base import ChunkReader, ChunkWriter, Layout, ReadableStore, Store


def open_chunks(store: ReadableStore, info: VolumeInfo, scale_index: int) -> ChunkReader:
    """Return what finds the chunks of a scale, sharded or in whichever layout each lies.

    Parameters
    ----------
    store : Store
        The volume's folder.
    info : VolumeInfo
    scale_index : int

    Raises
    ------
    InputError
        ngcore can't read the scale's encoding.
    """
    scale = info.scales[scale_index]
    x, y, z = (min(pair) for pair in zip(scale.chunk_size, scale.size, strict=True))
    max_size = make_encoding(info, scale).max_encoded_size((x, y, z, info.num_channels))
    if scale.sharding is not None:
        from ngcore.storage.sharded_reader import ShardedReader

        return ShardedReader(store, scale, scale.sharding, max_size)
    from ngcore.storage.chunk_files import ChunkFileReader

    return ChunkFileReader(store, scale, max_size)


def create_chunks(
    store: Store,
    info: VolumeInfo,
    scale_index: int,
    *,
    layout: Layout = "flat",
    gzip: bool = False,
    memory: int = 64 << 20,
    spool_dir: str | os.PathLike[str] | None = None,
    may_be_stale: bool | None = None,
    written: Callable[[str], None] | None = None,
    in_background: bool = False,
) -> ChunkWriter:
    """Return what puts the chunks of a scale where they belong.

    Parameters
    ----------
    store : Store
        The volume's folder.
    info : VolumeInfo
    scale_index : int
    layout : "flat" or "nested"
    gzip : bool
        How chunk files lie, and whether they are gzipped. A sharded scale says it itself, and
        needs neither.
    memory : int, in bytes
        Sharded: how much of encoded chunks may wait in memory for their shard to be complete.
    spool_dir : path, optional
        Sharded: where the temporary file for the others is; by default in a local store's folder,
        else in the system's folder for temporary files.
    may_be_stale : bool, optional
        Not sharded: whether there may be copies of chunks in another layout, to be removed;
        default look.
    written : callable, optional
        Called with the name of each file that is complete, from any thread.
    in_background : bool
        To a bucket, several are on their way while the next ones are made: what was written is
        safe when `finish` returns, not before.

    Raises
    ------
    InputError
        ngcore can't write the scale's encoding, or there is no such layout.
    """
    scale = info.scales[scale_index]
    if scale.sharding is None:
        from ngcore.storage.chunk_files import ChunkFileWriter

        return ChunkFileWriter(
            store,
            info,
            scale,
            layout,
            gzipped=gzip,
            may_be_stale=may_be_stale,
            written=written,
            in_background=in_background,
        )
    if spool_dir is None and isinstance(store, LocalStore) and store.path.is_dir():
        spool_dir = store.path
    folder = Path(spool_dir) if spool_dir is not None else None
    from ngcore.storage.sharded_writer import ShardedWriter

    return ShardedWriter(
        store,
        scale,
        scale.sharding,
        memory=memory,
        spool_dir=folder,
        written=written,
        in_background=in_background,
    )
