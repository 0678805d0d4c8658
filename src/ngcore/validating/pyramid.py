"""Checks that coarser scales show what finer ones do, in places spread over the volume.

What `convert` wrote is made anew by the method that `provenance` names, and must be the same.

Of other volumes the method is found out: it is one that makes most places exactly, and then the
few others must fit too. Where none does, what programs do in ways of their own does not count:
ties, zeros that do not vote, rounding. Cells that the volume's edge cuts never count. Where still
no method fits, voxels must at least lie between the least and the greatest of their cell, most of
them; if not, that is a warning. It is an error where cells of one value became another, which no
method does: in a few places of many, or in most of all. And a scale that goes with neither of its
neighbours, while they go with each other, is not of this volume.
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
from ngcore.validating.info import scale_factors
from ngcore.validating.regions import downsampled, fits_memory, floor_box, scaled_box
from ngcore.validating.side_files import downsampling_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import ChunkGrid, Vec3
    from ngcore.validating.scale import Context, ScaleCheck
    from ngcore.volume.provenance import Provenance
    from ngcore.volume.read import Volume

_MOST_PLACES = 256
_PLACES_OF_VERIFIED_SCALES = 8
_ENOUGH_VOXELS = 64
"""A place that says less than this about the method says nothing."""
_LEAST_CHANGE, _UNUSUAL = 8, 3
"""A lossy chunk is suspect whose mean difference of grey values is above the first, and so many
times more than is usual: both depend on the quality and the image."""
_FLOAT_SLACK = 1e-5
_ROUNDED, _UNTIED = "average, however rounded", "majority, ties and zeros apart"
_KERNELS = {
    **{method: method for method in ("average", "majority", "stride", "min", "max")},
    _ROUNDED: "average",
    _UNTIED: "majority",
}
"""What a volume of others may have been made by, strictest first, and the kernel for it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How well each method explains one chunk of the coarser scale.

    Attributes
    ----------
    name : str
        Of the chunk.
    wrong : dict of str to int
        By method, voxels that it would make otherwise.
    telling : dict of str to int
        By method, voxels of cells that are not all alike.
    outside : int
        Voxels that lie outside of the range of their cell.
    uniform, alien : int
        Voxels whose cell holds one value, and those of them that are another: no method at all
        makes these.
    change : float
        Mean difference from what the first of the methods makes.
    count : int
        Voxels in all.
    """

    name: str
    wrong: dict[str, int]
    telling: dict[str, int]
    outside: int
    uniform: int
    alien: int
    change: float
    count: int


def check_pyramid(
    context: Context, volume: Volume, checks: Sequence[ScaleCheck], provenance: Provenance
) -> None:
    """Compare each scale with the one before, in places that are the same at every run."""
    method, _ = downsampling_of(provenance)
    unexplained = []
    for fine, coarse in pairwise(checks):
        comparison = _comparison(context, volume, fine, coarse, provenance, method)
        if comparison is not None:
            method = comparison.run()
            if method is None and comparison.can_tell:
                unexplained.append(coarse.index)
    if not context.is_ours:
        for before, here, after in zip(checks, checks[1:], checks[2:], strict=False):
            if here.index in unexplained and after.index in unexplained:
                skipping = _comparison(context, volume, before, after, provenance, None)
                if skipping is not None and skipping.agrees():
                    context.findings.error(
                        "pyramid",
                        here.scale.key,
                        f"shows something else than {before.scale.key} and {after.scale.key}, "
                        "which go with each other",
                    )


def _comparison(
    context: Context,
    volume: Volume,
    fine: ScaleCheck,
    coarse: ScaleCheck,
    provenance: Provenance,
    method: str | None,
) -> _Comparison | None:
    """Return how to compare two scales; None where they can't be compared."""
    factors = scale_factors(fine.scale, coarse.scale)
    if factors is None or not (fine.can_decode and coarse.can_decode):
        return None
    if not all(fits_memory(volume, check.index) for check in (fine, coarse)):
        return None
    return _Comparison(context, volume, fine, coarse, factors, provenance, method)


class _Comparison:
    """Of two neighbouring scales."""

    def __init__(
        self,
        context: Context,
        volume: Volume,
        fine: ScaleCheck,
        coarse: ScaleCheck,
        factors: Vec3,
        provenance: Provenance,
        method: str | None,
    ) -> None:
        self._context = context
        self._volume = volume
        self._fine = fine
        self._coarse = coarse
        self._factors = factors
        known, self._outside_value = downsampling_of(provenance)
        self._is_lossy = "jpeg" in (fine.scale.encoding, coarse.scale.encoding)
        self._is_ours = known is not None
        self._method = method
        self._methods = (known,) if known else tuple(_KERNELS)
        self._places: list[_Place] = []
        self._lock = threading.Lock()
        self.can_tell = False

    def run(self) -> str | None:
        """Report what differs, and return the method by which the coarser scale was made.

        Where it is too small to tell, that is the method of the scales before.
        """
        self._look_everywhere()
        if not self._is_ours:
            self._method = self._best_method()
        self._judge()
        return self._method

    def agrees(self) -> bool:
        """Whether one method makes every place that tells anything; reports nothing."""
        self._look_everywhere()
        if self._is_lossy or not self._are_aligned:
            return False
        return any(
            sum(place.telling[method] for place in self._places) >= _ENOUGH_VOXELS
            and not any(place.wrong[method] for place in self._places)
            for method in self._methods
        )

    def _look_everywhere(self) -> None:
        is_verified = self._fine.is_verified and self._coarse.is_verified
        most = _PLACES_OF_VERIFIED_SCALES if is_verified else _MOST_PLACES
        for cell in _spread(self._coarse.grid, most):
            self._context.work.submit(partial(self._look, cell))
        self._context.work.drain()

    def _look(self, cell: Vec3) -> None:
        box = self._coarse.grid.bounds(cell)
        fine, coarse = (self._volume.scales[check.index] for check in (self._fine, self._coarse))
        if not self._is_ours:
            # Cells that the edge of the volume cuts are made in many ways.
            box = box.intersection(floor_box(fine.info.bounds, self._factors))
        while box and not fits_memory(
            self._volume, self._fine.index, scaled_box(box, self._factors)
        ):
            box = _halved(box)
        source = scaled_box(box, self._factors).intersection(fine.info.bounds)
        if not box or not source:
            return
        try:
            place = self._compare(cell, fine.read(source), coarse.read(box), source.start)
        except NgcoreError:
            return  # damage, which is reported where it is found
        if place is not None:
            with self._lock:
                self._places.append(place)

    def _compare(
        self, cell: Vec3, fine: NDArray[Any], coarse: NDArray[Any], start: Vec3
    ) -> _Place | None:
        least = downsampled(fine, self._factors, "min", start)
        greatest = downsampled(fine, self._factors, "max", start)
        if least.shape != coarse.shape:
            return None  # the scales do not cover the same voxels, which is reported already
        wrong, telling = {}, {}
        change = 0.0
        varies = ~_same(least, greatest)
        for method in self._methods:
            outside_value = self._outside_value if method == "average" else None
            made = downsampled(fine, self._factors, _KERNELS[method], start, outside_value)
            if self._is_lossy:
                change = float(np.abs(made.astype(np.float64) - coarse).mean())
                break
            differs = self._differs(made, coarse, method, least, greatest)
            counts = self._counts(fine, least, varies, made, method, start)
            wrong[method] = int(np.count_nonzero(differs & counts))
            telling[method] = int(np.count_nonzero(varies & counts))
        slack = 1 if coarse.dtype.kind != "f" else 0
        low, high = (values.astype(np.float64) for values in (least, greatest))
        outside = (coarse < low - slack) | (coarse > high + slack)
        alien = ~varies & self._is_another(least, coarse)
        return _Place(
            name=f"{self._coarse.scale.key}/{self._coarse.grid.name(cell)}",
            wrong=wrong,
            telling=telling,
            outside=int(np.count_nonzero(outside)),
            uniform=int(np.count_nonzero(~varies)),
            alien=int(np.count_nonzero(alien)),
            change=change,
            count=coarse.size,
        )

    def _is_another(self, value: NDArray[Any], found: NDArray[Any]) -> NDArray[np.bool_]:
        """Where what was made of cells that hold one value is another one."""
        if value.dtype.kind == "f":
            return self._differs(value, found, _ROUNDED, value, value)
        return ~_same(value, found)

    def _differs(
        self,
        made: NDArray[Any],
        found: NDArray[Any],
        method: str,
        least: NDArray[Any],
        greatest: NDArray[Any],
    ) -> NDArray[np.bool_]:
        if method != _ROUNDED:
            return ~_same(made, found)
        far: NDArray[np.bool_]
        if made.dtype.kind == "f":
            # Sums of float32 lose bits of the largest term, however small the sum is.
            slack = _FLOAT_SLACK * np.maximum(np.abs(least), np.abs(greatest))
            with np.errstate(invalid="ignore", over="ignore"):
                far = ~(np.abs(made - found) <= slack) & ~_same(made, found)
        else:
            far = np.maximum(made, found) - np.minimum(made, found) > 1
        return far

    def _counts(
        self,
        fine: NDArray[Any],
        least: NDArray[Any],
        varies: NDArray[np.bool_],
        made: NDArray[Any],
        method: str,
        start: Vec3,
    ) -> NDArray[np.bool_]:
        """Return which voxels every program that uses this method makes alike."""
        if method != _UNTIED or fine.dtype.kind == "f":
            return np.ones(made.shape, np.bool_)
        # Turned upside down, ties go to the greatest.
        upside_down = ~downsampled(~fine, self._factors, _KERNELS[method], start)
        is_clear: NDArray[np.bool_] = (upside_down == made) & (least != 0)
        return ~varies | is_clear

    def _judge(self) -> None:
        if self._is_lossy:
            self._judge_changes()
            return
        method = self._method
        if method is None and self._are_aligned and self._judge_uniform_cells():
            return
        for place in self._places:
            if method is not None and place.wrong[method]:
                self._context.findings.error(
                    "pyramid",
                    place.name,
                    f"{place.wrong[method]} of {place.count} voxels are not the {method} of those "
                    f"of {self._fine.scale.key}: one of the two is damaged",
                )
            elif method is None and self._are_aligned and place.outside > place.count // 4:
                self._context.findings.warning(
                    "pyramid",
                    place.name,
                    f"{place.outside} of {place.count} voxels are unlike those of "
                    f"{self._fine.scale.key} at the same place",
                )

    def _judge_uniform_cells(self) -> bool:
        """Report places where cells of one value became another, and say if there are any."""
        told = [place for place in self._places if place.uniform >= _ENOUGH_VOXELS]
        wrong = [place for place in told if place.alien]
        uniform = sum(place.uniform for place in self._places)
        alien = sum(place.alien for place in self._places)
        is_most = uniform >= _ENOUGH_VOXELS and 2 * alien > uniform
        if not is_most and (len(told) - len(wrong) < 2 or 3 * len(wrong) > len(told)):
            return False  # made in a way that is not known
        for place in self._places if is_most else wrong:
            if place.alien:
                self._context.findings.error(
                    "pyramid",
                    place.name,
                    f"{place.alien} of {place.count} voxels are not those of "
                    f"{self._fine.scale.key}, which all agree there: one of the two is damaged",
                )
        return bool(wrong) or is_most

    def _judge_changes(self) -> None:
        """Look for lossy chunks that changed more than others."""
        if not self._is_ours or not self._places:
            return
        usual = float(np.median([place.change for place in self._places]))
        for place in self._places:
            if place.change > _LEAST_CHANGE and place.change > _UNUSUAL * usual:
                self._context.findings.error(
                    "pyramid",
                    place.name,
                    f"voxels differ by {place.change:.0f} on average from the {self._methods[0]} "
                    f"of those of {self._fine.scale.key}, where {usual:.0f} is usual",
                )

    def _best_method(self) -> str | None:
        """Return the method by which all places but a few were made; None if there is none."""
        if self._is_lossy or not self._are_aligned:
            return None
        can_tell = False
        for method in self._methods:
            told = [place for place in self._places if place.telling[method] >= _ENOUGH_VOXELS]
            right = sum(place.wrong[method] == 0 for place in told)
            if right >= 2 and 3 * right >= 2 * len(told):
                return method
            can_tell |= len(told) > 1
        self.can_tell = can_tell or any(
            sum(place.telling[method] for place in self._places) >= _ENOUGH_VOXELS
            for method in self._methods
        )
        return None if can_tell else self._method

    @property
    def _are_aligned(self) -> bool:
        """Whether there is only one way to lay the cells of the coarser scale."""
        fine, coarse = self._fine.scale.voxel_offset, self._coarse.scale.voxel_offset
        return all(c * f == o for o, c, f in zip(fine, coarse, self._factors, strict=True))


def _same(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = one == other
    if one.dtype.kind == "f":
        same |= np.isnan(one) & np.isnan(other)
    return same


def _spread(grid: ChunkGrid, most: int) -> Iterator[Vec3]:
    """Yield all cells of a grid, or `most` of them, spread evenly."""
    width, height, _ = grid.shape
    step = max(1, -(-grid.count // most))
    if step > 1:
        step |= 1  # odd steps do not keep to some columns of a grid with even sides
    for number in range(step // 2, grid.count, step):
        yield number % width, number // width % height, number // (width * height)


def _halved(box: Box) -> Box:
    """Return a box of half the length along its longest axis; empty where that is one voxel."""
    lengths = box.shape
    axis = lengths.index(max(lengths))
    stop = list(box.stop)
    stop[axis] = box.start[axis] + lengths[axis] // 2
    x, y, z = stop
    return Box(box.start, (x, y, z))
