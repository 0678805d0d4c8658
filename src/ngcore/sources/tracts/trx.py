"""TRX files, through trx-python: streamlines, and groups of them.

https://github.com/tee-ar-ex/trx-spec/blob/master/specifications.md
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, MissingExtraError
from ngcore.sources.tracts.base import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_BLOCK_POINTS = 1 << 20


@contextlib.contextmanager
def _without_talk() -> Iterator[None]:
    """Keep trx-python's own errors off stderr, which it logs before it raises them.

    `logging.error` sets up the root logger where that has no handler, for good.
    """
    root, nothing = logging.getLogger(), logging.NullHandler()
    root.addHandler(nothing)
    try:
        yield
    finally:
        root.removeHandler(nothing)


class TrxTracts:
    """A ``.trx`` file; see `Tracts`.

    Raises
    ------
    MissingExtraError
        trx-python is not installed.
    FormatError
        It is damaged.
    """

    def __init__(self, path: Path) -> None:
        try:
            from trx import trx_file_memmap
        except ImportError as error:
            raise MissingExtraError(
                f"{path}: TRX needs trx-python; run: pip install 'ngcore-neuroglancer[tracts]'"
            ) from error
        self.path = path
        try:
            with _without_talk():
                self._file: Any = trx_file_memmap.load(str(path))
            streamlines = self._file.streamlines
            offsets = np.asarray(streamlines._offsets).astype(np.int64).reshape(-1)  # noqa: SLF001
            lengths = np.asarray(streamlines._lengths).astype(np.int64).reshape(-1)  # noqa: SLF001
            self._points = streamlines._data  # noqa: SLF001
            groups = {
                str(name): np.asarray(rows).astype(np.int64).reshape(-1)
                for name, rows in self._file.groups.items()
            }
        except Exception as error:  # of zipfile, json, NumPy and trx-python
            text = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise FormatError(f"{path}: not a valid TRX file: {text}") from error
        count = len(lengths)
        self._offsets = np.append(
            offsets[:count], offsets[count - 1] + lengths[-1] if count else 0
        )
        size = len(self._points)
        is_sound = (np.diff(self._offsets) >= 0).all() and self._offsets[-1] <= size
        if not is_sound or (self._offsets < 0).any():
            raise FormatError(
                f"{path}: its offsets do not fit its {size} points; download or copy it again"
            )
        for name, rows in groups.items():
            if rows.size and (rows.min() < 0 or rows.max() >= count):
                raise FormatError(
                    f"{path}: the group {name!r} refers to a streamline that does not exist"
                )
        self.groups = groups

    def close(self) -> None:
        """Remove what trx-python unpacked; see `Tracts.close`."""
        # Its own `close` unmaps arrays that are still in use, so only its folder is removed.
        unpacked = getattr(self._file, "_uncompressed_folder_handle", None)
        self._points = self._file = None
        if unpacked is not None:
            with contextlib.suppress(OSError):
                unpacked.cleanup()

    def lines(self) -> Iterator[Lines]:
        """Yield some streamlines at a time; see `Tracts.lines`."""
        offsets, first, count = self._offsets, 0, len(self._offsets) - 1
        while first < count:
            limit = offsets[first] + _BLOCK_POINTS
            stop = max(first + 1, int(np.searchsorted(offsets, limit, side="right")) - 1)
            stop = min(stop, count)
            start, end = int(offsets[first]), int(offsets[stop])
            # A copy: what trx-python maps goes with `close`.
            points = np.array(self._points[start:end], np.float32).reshape(-1, 3)
            yield Lines(points, offsets[first : stop + 1] - start)
            first = stop
