"""All streamlines of some files in a temporary file: checked, numbered, with their bundles."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.annotating.blocks import Block
from ngcore.errors import FormatError, InputError
from ngcore.precomputed.annotation_records import Records, offsets_of
from ngcore.sources.tracts.base import Lines
from ngcore.sources.tracts.opening import open_tracts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.sources.tracts.base import Tracts
    from ngcore.storage.spool import Place, Spool

logger = logging.getLogger(__name__)

DIRECTION = "direction"


@dataclass
class Bundle:
    """A bundle: its name, and how many streamlines it has."""

    name: str
    count: int = 0


@dataclass
class SpooledTracts:
    """The streamlines; `Blocks` for the annotations, and parts for all else.

    Attributes
    ----------
    bundles : list of Bundle
        Segment i + 1 is the one at place i.
    count : int
        Streamlines, ids 1 to `count`.
    loose : int
        Those of them that are in no group of their file, and so in no bundle.
    lower, upper : ndarray of float64, shape (3,)
    """

    spool: Spool
    bundles: list[Bundle] = field(default_factory=list)
    count: int = 0
    loose: int = 0
    lower: NDArray[np.float64] = field(default_factory=lambda: np.full(3, np.inf))
    upper: NDArray[np.float64] = field(default_factory=lambda: np.full(3, -np.inf))
    _parts: list[tuple[Place, ...]] = field(default_factory=list)

    def parts(self) -> Iterator[tuple[NDArray[np.uint64], Lines, Any]]:
        """Yield ids, lines and (offsets, bundles) of some streamlines at a time."""
        first = 1
        for points, offsets, starts, segments in self._parts:
            lines = Lines(
                np.frombuffer(self.spool.get(points), np.float32).reshape(-1, 3),
                np.frombuffer(self.spool.get(offsets), np.int64),
            )
            related = (
                np.frombuffer(self.spool.get(starts), np.int64),
                np.frombuffer(self.spool.get(segments), np.uint64),
            )
            yield np.arange(first, first + len(lines), dtype=np.uint64), lines, related
            first += len(lines)

    def shapes(self) -> Iterator[Block]:
        """Yield blocks without properties."""
        for ids, lines, _ in self.parts():
            yield Block(ids, lines.points, lines.offsets, {})

    def full(self) -> Iterator[Block]:
        """Yield whole blocks: the direction as a colour, and the bundles."""
        for ids, lines, related in self.parts():
            colours = {DIRECTION: _colours(lines)}
            yield Block(ids, lines.points, lines.offsets, colours, (related,))

    def add_file(self, tracts: Tracts) -> int:
        """Take the streamlines of a file; return how many are left out for want of vertices."""
        segments = self._segments_of(tracts)
        first = dropped = 0
        for lines in tracts.lines():
            dropped += self._add(lines, segments, first, tracts.path)
            first += len(lines)
        return dropped

    def _segments_of(self, tracts: Tracts) -> tuple[NDArray[np.int64], NDArray[np.uint64]] | int:
        """Return the bundles of each streamline, sorted by streamline; or the one of all."""
        number = len(self.bundles) + 1
        if not tracts.groups:
            self.bundles.append(Bundle(tracts.path.stem))
            return number
        names = list(tracts.groups)
        self.bundles += [Bundle(name) for name in names]
        rows = [np.unique(tracts.groups[name]) for name in names]
        members = np.repeat(np.arange(number, number + len(names)), [len(r) for r in rows])
        all_rows = np.concatenate(rows)
        order = np.lexsort((members, all_rows))
        return all_rows[order], members[order].astype(np.uint64)

    def _add(self, lines: Lines, segments: Any, first: int, path: Path) -> int:
        if not np.isfinite(lines.points).all():
            row = int(np.argmin(np.isfinite(lines.points).all(axis=1)))
            line = int(np.searchsorted(lines.offsets, row, side="right")) + first
            raise FormatError(
                f"{path}: streamline {line} has a coordinate {lines.points[row].tolist()}; "
                "coordinates must be finite numbers"
            )
        rows = np.flatnonzero(np.diff(lines.offsets) >= 2)
        if not rows.size:
            return len(lines)
        whole = Records(np.arange(len(lines.points), dtype=np.uint32), lines.offsets).take(rows)
        points = lines.points[whole.words]
        if isinstance(segments, int):
            starts = np.arange(len(rows) + 1, dtype=np.int64)
            related = np.full(len(rows), segments, np.uint64)
        else:
            low = np.searchsorted(segments[0], rows + first, side="left")
            high = np.searchsorted(segments[0], rows + first, side="right")
            starts = offsets_of(high - low)
            self.loose += int((high == low).sum())
            place = np.repeat(low - starts[:-1], high - low) + np.arange(int(starts[-1]))
            related = segments[1][place]
        for number, count in zip(*np.unique(related, return_counts=True), strict=True):
            self.bundles[int(number) - 1].count += int(count)
        arrays = (points, whole.offsets, starts, related)
        self._parts.append(tuple(self.spool.put(array.tobytes()) for array in arrays))
        self.count += len(rows)
        self.lower = np.minimum(self.lower, points.min(axis=0))
        self.upper = np.maximum(self.upper, points.max(axis=0))
        return len(lines) - len(rows)


def spool_tracts(paths: Sequence[Path], spool: Spool) -> SpooledTracts:
    """Read the streamlines of some files.

    Raises
    ------
    InputError
        They hold none.
    FormatError
        A file is damaged, or has coordinates that are not finite.
    """
    found = SpooledTracts(spool)
    for path in paths:
        tracts = open_tracts(path)
        loose = found.loose
        try:
            dropped = found.add_file(tracts)
        finally:
            tracts.close()
        if dropped:
            what = "1 streamline" if dropped == 1 else f"{dropped} streamlines"
            are = "is" if dropped == 1 else "are"
            logger.warning("%s: %s of fewer than two points %s left out", path, what, are)
        if found.loose > loose:
            logger.warning(
                "%s: in no group, and so in no bundle: %d of its streamlines; all of them are in "
                "`streamlines`",
                *(path, found.loose - loose),
            )
    if not found.count:
        raise InputError(f"{', '.join(map(str, paths))}: no streamline of two points or more")
    return found


def _colours(lines: Lines) -> NDArray[np.uint8]:
    """Return |end - start|, normalised, as red, green and blue."""
    along = (
        lines.points[lines.offsets[1:] - 1].astype(np.float64) - lines.points[lines.offsets[:-1]]
    )
    length = np.linalg.norm(along, axis=1, keepdims=True)
    share = np.abs(along) / np.where(length > 0, length, 1)
    return np.rint(share * 255).astype(np.uint8)
