"""TrackVis files (``.trk``): the header as nibabel understands it, streamlines read in blocks.

http://trackvis.org/docs/?subsect=fileformat
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError
from ngcore.sources.tracts.base import Lines, warn_of_count
from ngcore.sources.tracts.headers import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_HEADER_BYTES = 1000
_WORD = 4
_BLOCK_WORDS = 4 << 20
_MOST_VALUES = 10_000


class TrackVisFile:
    """A ``.trk`` file; see `Tracts`.

    Raises
    ------
    FormatError
        Its header is damaged.
    """

    def __init__(self, path: Path) -> None:
        from nibabel.streamlines import trk

        self.path = path
        self.groups: dict[str, NDArray[np.int64]] = {}
        header = read_header(path)
        to_world: Any = trk.get_affine_trackvis_to_rasmm
        try:
            self._affine = np.asarray(to_world(header), np.float64)
            self._stated = header.get("nb_streamlines")
            self._scalars = int(header["nb_scalars_per_point"])
            self._properties = int(header["nb_properties_per_streamline"])
            self._order = str(header["endianness"])
        except Exception as error:  # nibabel's own, of many kinds
            raise FormatError(f"{path}: not a valid TrackVis header: {error}") from error
        values = (self._scalars, self._properties)
        if not np.isfinite(self._affine).all() or not all(0 <= n <= _MOST_VALUES for n in values):
            raise FormatError(f"{path}: not a valid TrackVis header: {values} values, no affine")

    def close(self) -> None:
        """See `Tracts.close`; the file is open only while it is read."""

    def lines(self) -> Iterator[Lines]:
        """Yield some streamlines at a time; see `Tracts.lines`."""
        kind = np.dtype(f"{self._order}i4")
        with self.path.open("rb") as file:
            file.seek(_HEADER_BYTES)
            rest = np.empty(0, kind)
            count = 0
            while True:
                data = file.read(_BLOCK_WORDS * _WORD)
                if len(data) % _WORD:
                    self._refuse("ends within a number")
                words = np.concatenate([rest, np.frombuffer(data, kind)])
                heads, stop = self._heads(words, is_last=not data)
                count += len(heads)
                if len(heads):
                    yield self._lines(words[:stop], heads)
                rest = words[stop:]
                if not data:
                    warn_of_count(self.path, self._stated, count)
                    return

    def _heads(self, words: NDArray[Any], *, is_last: bool) -> tuple[NDArray[np.int64], int]:
        """Return where the streamlines begin that are there as a whole, and where they end."""
        width, tail = 3 + self._scalars, self._properties
        heads, at, size = [], 0, len(words)
        while at < size:
            count = int(words[at])
            if count < 0:
                self._refuse(f"a streamline has {count} points")
            stop = at + 1 + count * width + tail
            if stop > size:
                if is_last:
                    self._refuse(
                        f"its last streamline has {count} points, but the file ends before them"
                    )
                break
            heads.append(at)
            at = stop
        return np.array(heads, np.int64), at

    def _lines(self, words: NDArray[Any], heads: NDArray[np.int64]) -> Lines:
        width = 3 + self._scalars
        counts = words[heads].astype(np.int64)
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        first = np.repeat(heads + 1 - offsets[:-1] * width, counts)
        rows = first + np.arange(offsets[-1]) * width
        stored = words.view(words.dtype.str.replace("i", "f"))
        points = stored[rows[:, np.newaxis] + np.arange(3)].astype(np.float64)
        points = points @ self._affine[:3, :3].T + self._affine[:3, 3]
        return Lines(points.astype(np.float32), offsets)

    def _refuse(self, what: str) -> None:
        raise FormatError(f"{self.path}: damaged: {what}; download or copy the file again")
