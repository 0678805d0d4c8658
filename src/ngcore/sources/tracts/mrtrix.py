"""MRtrix tracks (``.tck``): the header as nibabel understands it, streamlines read in blocks.

Points are three float32 in scanner millimetres; three NaN end a streamline, three infinities the
file. https://mrtrix.readthedocs.io/en/latest/getting_started/image_data.html#tracks-file-format-tck
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError
from ngcore.sources.tracts.base import Lines, warn_of_count
from ngcore.sources.tracts.headers import read_header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_POINT = 12
_BLOCK_POINTS = 1 << 20


class MrtrixFile:
    """A ``.tck`` file; see `Tracts`.

    Raises
    ------
    FormatError
        Its header is damaged, or of a type of number that is not float32.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.groups: dict[str, NDArray[np.int64]] = {}
        header = read_header(path)
        kind = str(header.get("datatype", "Float32LE"))
        if not kind.startswith("Float32"):
            raise FormatError(
                f"{path}: its numbers are {kind}; ngcore reads Float32LE and Float32BE"
            )
        self._stated = header.get("count")
        self._dtype = np.dtype(">f4" if kind.endswith("BE") else "<f4")
        try:
            self._start = int(header["_offset_data"])
        except (KeyError, ValueError) as error:
            raise FormatError(f"{path}: its header does not say where points begin") from error

    def close(self) -> None:
        """See `Tracts.close`; the file is open only while it is read."""

    def lines(self) -> Iterator[Lines]:
        """Yield some streamlines at a time; see `Tracts.lines`."""
        with self.path.open("rb") as file:
            file.seek(self._start)
            rest = np.empty((0, 3), self._dtype)
            count = 0
            while True:
                data = file.read(_BLOCK_POINTS * _POINT)
                whole = len(data) // _POINT * _POINT
                points = np.frombuffer(data[:whole], self._dtype).reshape(-1, 3)
                points = np.concatenate([rest, points])
                ends = np.flatnonzero(np.isinf(points).all(axis=1))
                is_last = not data or ends.size > 0
                if ends.size:
                    points = points[: ends[0]]
                elif not data:
                    raise FormatError(
                        f"{self.path}: damaged: it ends without its end mark; download or copy "
                        "it again"
                    )
                gaps = np.flatnonzero(np.isnan(points).all(axis=1))
                stop = int(gaps[-1]) + 1 if gaps.size else 0
                count += len(gaps)
                if stop:
                    yield self._lines(points[:stop], gaps)
                if is_last:
                    if stop < len(points):  # a last streamline without its NaN
                        end = np.array([len(points) - stop])
                        count += 1
                        yield self._lines(points[stop:], end)
                    warn_of_count(self.path, self._stated, count)
                    return
                rest = points[stop:]

    def _lines(self, points: NDArray[np.float32], gaps: NDArray[np.int64]) -> Lines:
        starts = np.concatenate([[0], gaps[:-1] + 1])
        offsets = np.zeros(len(gaps) + 1, np.int64)
        np.cumsum(gaps - starts, out=offsets[1:])
        is_point = np.ones(len(points), np.bool_)
        is_point[gaps[gaps < len(points)]] = False
        return Lines(points[is_point].astype(np.float32), offsets)
