"""Every chunk of a scale that is there, decoded once, on several threads, in bounded memory."""

from __future__ import annotations

import itertools
import math
import os
import threading
from typing import TYPE_CHECKING, Any

from ngcore.work.threads import for_each, map_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ngcore._verbs import Progress
    from ngcore.precomputed.chunks import Box, Vec3
    from ngcore.volume.scale import ScaleArray


def scan_chunks(
    scale: ScaleArray,
    visit: Callable[[NDArray[Any]], None],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Call `visit` with every chunk of a scale, in no order; as many are in memory as threads.

    Chunks of a sparse volume that are known to be absent, and so zeros, are left out.

    Parameters
    ----------
    scale : ScaleArray
    visit : callable
        Takes a chunk, of shape (x, y, z, channel); called from several threads at once.
    workers : int, optional
        Threads; default all cores.
    progress : callable, optional
        Called now and then with (voxels done, voxels in all), by one thread at a time.

    Raises
    ------
    FormatError, StorageError
        A chunk is damaged or can't be read.
    """
    total = math.prod(scale.info.size)
    lock = threading.Lock()
    done = 0

    def work(cell: Vec3) -> None:
        nonlocal done
        chunk = scale.read_chunk(cell)
        visit(chunk)
        with lock:
            done += math.prod(chunk.shape[:3])
            if progress is not None:
                progress(done, total)

    for_each(cells_there(scale), work, workers=workers)
    if progress is not None and done < total:  # chunks that are not there
        progress(total, total)


def cells_there(scale: ScaleArray) -> Iterator[Vec3]:
    """Yield every cell whose chunk may be there: of a sparse volume no others."""
    return scale.info.grid.cells() if scale.present is None else iter(scale.present)


def blocks_there(
    scale: ScaleArray,
) -> Iterator[tuple[tuple[slice, slice, slice], NDArray[Any]]]:
    """Do as `ScaleArray.blocks`, without chunks that are known to be absent."""
    grid = scale.info.grid
    cells, again = itertools.tee(cells_there(scale))
    blocks = map_ahead(scale.read_chunk, cells, os.cpu_count() or 1)
    for cell, block in zip(again, blocks, strict=True):
        yield grid.bounds(cell).slices(scale.voxel_offset), block


def is_empty(scale: ScaleArray, box: Box) -> bool:
    """Whether no chunk that has voxels of a box, in global coordinates, is there.

    False where that is not known without reading; voxels beyond the volume do not count.
    """
    inside = box.intersection(scale.info.bounds)
    if scale.present is None or not inside:
        return not inside
    offset, sides = scale.voxel_offset, scale.chunk_size
    x, y, z = ((a - o) // n for a, o, n in zip(inside.start, offset, sides, strict=True))
    u, v, w = (-((o - b) // n) for b, o, n in zip(inside.stop, offset, sides, strict=True))
    return not scale.present.meets((x, y, z), (u, v, w))
