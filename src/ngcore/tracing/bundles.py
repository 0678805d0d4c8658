"""Bundles of streamlines as skeletons: lines drawn by lot, thinned, with their directions."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ngcore.annotating.blocks import chances
from ngcore.precomputed.annotation_records import Records, offsets_of
from ngcore.precomputed.skeletons import Skeleton, VertexAttribute
from ngcore.tracing.thinning import directions, thinned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ngcore.tracing.tract_spool import SpooledTracts

logger = logging.getLogger(__name__)

ORIENTATION = VertexAttribute("orientation", "float32", 3)
TOLERANCE_MM = 0.2
_NM = 1e6
_SPARE = 1.1
_FEWEST = 20
"""Streamlines of a bundle that are kept however large the others are."""


class _Thin(NamedTuple):
    """A thinned streamline of a bundle, and its number drawn by lot."""

    drawn: int
    bundle: int
    points: NDArray[np.float32]
    directions: NDArray[np.float32]


def bundle_skeletons(tracts: SpooledTracts, most_vertices: int) -> Iterator[tuple[int, Skeleton]]:
    """Yield the skeleton of each bundle, by its number.

    Where the thinned lines have more vertices than `most_vertices` in all, whole lines are left
    out by lot, the same share of every bundle.
    """
    share = _share(tracts, most_vertices)
    chosen = _chosen(tracts, share)
    chosen.sort(key=lambda line: (line.drawn, line.bundle))
    kept: dict[int, list[_Thin]] = {n: [] for n in range(1, len(tracts.bundles) + 1)}
    # First a line of each bundle, then some, then by lot.
    ranks: dict[int, int] = dict.fromkeys(kept, 0)
    order = []
    for line in chosen:
        rank = ranks[line.bundle]
        ranks[line.bundle] = rank + 1
        order.append((min(rank, _FEWEST), line))
    order.sort(key=lambda pair: pair[0])
    left = most_vertices
    for _, line in order:
        if len(line.points) <= left:
            left -= len(line.points)
            kept[line.bundle].append(line)
    shown = sum(map(len, kept.values()))
    if shown < (count := sum(bundle.count for bundle in tracts.bundles)):
        logger.info(
            "bundles show %d of %d streamlines, in %d vertices; --max-vertices makes that more",
            *(shown, count, most_vertices - left),
        )
    if empty := [tracts.bundles[n - 1].name for n, lines in kept.items() if not lines]:
        logger.warning(
            "%d of %d bundles, such as %r, have no streamline in %d vertices, and are empty; "
            "raise --max-vertices",
            *(len(empty), len(kept), empty[0], most_vertices),
        )
    for number, lines in kept.items():
        yield number, _skeleton(lines)


def _share(tracts: SpooledTracts, most_vertices: int) -> float:
    """Return the share of streamlines that is thinned, as the first of them let expect."""
    vertices = lines = 0
    for _, part, related in tracts.parts():
        some = min(len(part), 2000)
        stop = int(part.offsets[some])
        kept = thinned(part.points[:stop], part.offsets[: some + 1], TOLERANCE_MM)
        each = np.diff(np.concatenate([[0], np.cumsum(kept)])[part.offsets[: some + 1]])
        times = np.diff(related[0])[:some]
        vertices += int((each * times).sum())
        lines += int(times.sum())
        if lines > 20_000:
            break
    total = sum(bundle.count for bundle in tracts.bundles)
    expected = vertices / max(1, lines) * total
    return min(1.0, _SPARE * most_vertices / max(1.0, expected))


def _chosen(tracts: SpooledTracts, share: float) -> list[_Thin]:
    found: list[_Thin] = []
    counts = np.array([0, *(bundle.count for bundle in tracts.bundles)])
    shares = np.maximum(share, np.minimum(1, 2 * _FEWEST / np.maximum(1, counts)))
    for ids, part, (starts, bundles) in tracts.parts():
        drawn = chances(ids)
        rows = np.repeat(np.arange(len(part)), np.diff(starts))
        is_chosen = drawn[rows] < (shares[bundles.astype(np.int64)] * (2.0**64 - 2048)).astype(
            np.uint64
        )
        is_chosen |= shares[bundles.astype(np.int64)] >= 1
        rows, bundles = rows[is_chosen], bundles[is_chosen]
        if not rows.size:
            continue
        lines = np.unique(rows)
        whole = Records(np.arange(len(part.points), dtype=np.uint32), part.offsets).take(lines)
        points, offsets = part.points[whole.words], whole.offsets
        kept = thinned(points, offsets, TOLERANCE_MM)
        along = directions(points, offsets)
        ends = np.concatenate([[0], np.cumsum(kept)])[offsets]
        points, along = points[kept], along[kept]
        for row, bundle in zip(rows.tolist(), bundles.tolist(), strict=True):
            place = int(np.searchsorted(lines, row))
            here = slice(int(ends[place]), int(ends[place + 1]))
            found.append(_Thin(int(drawn[row]), int(bundle), points[here], along[here]))
    return found


def _skeleton(lines: list[_Thin]) -> Skeleton:
    if not lines:
        return Skeleton(
            np.zeros((0, 3), np.float32),
            np.zeros((0, 2), np.uint32),
            {ORIENTATION.id: np.zeros((0, 3), np.float32)},
        )
    points = np.concatenate([line.points for line in lines]).astype(np.float64) * _NM
    offsets = offsets_of(np.array([len(line.points) for line in lines]))
    first = np.ones(len(points), np.bool_)
    first[offsets[1:] - 1] = False
    starts = np.flatnonzero(first)
    return Skeleton(
        points.astype(np.float32),
        np.stack([starts, starts + 1], axis=1).astype(np.uint32),
        {ORIENTATION.id: np.concatenate([line.directions for line in lines])},
    )
