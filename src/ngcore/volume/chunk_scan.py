"""Every chunk of a scale, decoded once, on several threads, in bounded memory."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from ngcore.work.threads import for_each

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3
    from ngcore.volume.scale import ScaleArray

    Progress = Callable[[int, int], None]


def scan_chunks(
    scale: ScaleArray,
    visit: Callable[[NDArray[Any]], None],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Call `visit` with every chunk of a scale, in no order; as many are in memory as threads.

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

    for_each(scale.info.grid.cells(), work, workers=workers)
