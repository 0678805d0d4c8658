"""Checks that coarser scales show what finer ones do, in places spread over the volume.

Where `provenance` says by which method ngcore made them, they are made anew, and must be the same.
Others make them in many ways; but whatever the way, a voxel lies between the least and the
greatest of its cell. Cells that the volume's edge cuts do not count there, nor do lossy chunks.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import NgcoreError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.info import scale_factors
from ngcore.validating.regions import downsampled, fits_memory, floor_box, scaled_box
from ngcore.validating.side_files import downsampling_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3
    from ngcore.validating.scale import Context, ScaleCheck
    from ngcore.volume.read import Volume

_MOST_PLACES = 256
_PLACES_OF_VERIFIED_SCALES = 8
_ENOUGH_VOXELS = 64
"""Less than this says nothing about how a scale was made."""
_FLOAT_SLACK = 1e-5
"""Sums of float32 lose bits of the largest term, however small the sum is."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A chunk of the coarser scale: how many of its voxels are wrong, of how many."""

    name: str
    wrong: int
    count: int


def check_pyramid(context: Context, volume: Volume, checks: Sequence[ScaleCheck]) -> None:
    """Compare each scale with the one before, in places that are the same at every run."""
    for fine, coarse in pairwise(checks):
        factors = scale_factors(fine.scale, coarse.scale)
        is_readable = all(check.can_decode and not check.has_unread for check in (fine, coarse))
        is_lossy = "jpeg" in (fine.scale.encoding, coarse.scale.encoding)
        if factors is not None and is_readable and not is_lossy and coarse.presence.found:
            _Comparison(context, volume, fine, coarse, factors).run()


class _Comparison:
    """Of two neighbouring scales."""

    def __init__(
        self, context: Context, volume: Volume, fine: ScaleCheck, coarse: ScaleCheck, factors: Vec3
    ) -> None:
        self._context = context
        self._volume = volume
        self._fine = fine
        self._coarse = coarse
        self._factors = factors
        self._method, self._outside_value = downsampling_of(context.provenance)
        self._places: list[_Place] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        """Report what differs."""
        if not all(fits_memory(self._volume, scale.index) for scale in (self._fine, self._coarse)):
            return
        if self._method is None and not self._are_aligned():
            return
        is_verified = self._fine.is_verified and self._coarse.is_verified
        most = _PLACES_OF_VERIFIED_SCALES if is_verified else _MOST_PLACES
        for cell in self._coarse.presence.present_cells(most):
            self._context.work.submit(partial(self._look, cell))
        self._context.work.drain()
        self._judge()

    def _are_aligned(self) -> bool:
        """Whether there is only one way to lay the cells of the coarser scale."""
        fine, coarse = self._fine.scale.voxel_offset, self._coarse.scale.voxel_offset
        return all(c * f == o for o, c, f in zip(fine, coarse, self._factors, strict=True))

    def _look(self, cell: Vec3) -> None:
        box = self._coarse.grid.bounds(cell)
        fine, coarse = (self._volume.scales[check.index] for check in (self._fine, self._coarse))
        if self._method is None:
            box = box.intersection(floor_box(fine.info.bounds, self._factors))
        while box and not fits_memory(
            self._volume, self._fine.index, scaled_box(box, self._factors)
        ):
            box = _halved(box)
        source = scaled_box(box, self._factors).intersection(fine.info.bounds)
        if not box or not source:
            return
        try:
            voxels, found = fine.read(source), coarse.read(box)
        except NgcoreError:
            return  # damage, which is reported where it is found
        wrong = self._wrong(voxels, found, source.start)
        if wrong is not None:
            name = f"{self._coarse.scale.key}/{self._coarse.grid.name(cell)}"
            with self._lock:
                self._places.append(_Place(name, int(np.count_nonzero(wrong)), wrong.size))

    def _wrong(
        self, fine: NDArray[Any], found: NDArray[Any], start: Vec3
    ) -> NDArray[np.bool_] | None:
        """Return which voxels are not what the finer ones make; None if they don't compare."""
        if self._method is not None:
            padding = self._outside_value if self._method == "average" else None
            made = downsampled(fine, self._factors, self._method, start, padding)
            if made.shape != found.shape:
                return None  # the scales do not cover the same voxels, which is reported already
            differs: NDArray[np.bool_] = made != found
            if made.dtype.kind == "f":
                differs &= ~(np.isnan(made) & np.isnan(found))
            return differs
        least = downsampled(fine, self._factors, "min", start)
        greatest = downsampled(fine, self._factors, "max", start)
        if least.shape != found.shape:
            return None
        slack: Any = 0
        if found.dtype.kind == "f":
            slack = _FLOAT_SLACK * np.maximum(np.abs(least), np.abs(greatest))
        outside: NDArray[np.bool_] = (found < least - slack) | (found > greatest + slack)
        return outside

    def _judge(self) -> None:
        places = sorted((place for place in self._places if place.wrong), key=lambda p: p.name)
        fine, coarse = self._fine.scale.key, self._coarse.scale.key
        if self._method is not None:
            for place in places:
                self._error(
                    place,
                    f"are not the {self._method} of those of {fine}: one of the two is damaged",
                )
            return
        wrong = sum(place.wrong for place in places)
        total = sum(place.count for place in self._places)
        if 4 * wrong > total >= _ENOUGH_VOXELS:
            self._context.findings.error(
                "pyramid",
                coarse,
                f"shows something other than {fine}: {wrong} of {total} voxels lie outside of "
                "the range of the voxels that they stand for",
            )
        elif 3 * len(places) <= len(self._places):
            for place in places:
                self._error(
                    place,
                    f"lie outside of the range of the voxels of {fine} that they stand for: one "
                    "of the two is damaged",
                )
        elif places:
            self._context.findings.warning(
                "pyramid",
                coarse,
                f"{wrong} of {total} voxels lie outside of the range of the voxels of {fine} "
                "that they stand for; ngcore does not know how this scale was made",
            )

    def _error(self, place: _Place, what: str) -> None:
        message = f"{place.wrong} of {place.count} voxels {what}"
        self._context.findings.error("pyramid", place.name, message)


def _halved(box: Box) -> Box:
    """Return a box of half the length along its longest axis; empty where that is one voxel."""
    lengths = box.shape
    axis = lengths.index(max(lengths))
    stop = list(box.stop)
    stop[axis] = box.start[axis] + lengths[axis] // 2
    x, y, z = stop
    return Box(box.start, (x, y, z))
