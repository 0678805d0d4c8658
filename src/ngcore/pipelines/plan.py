"""What a conversion will do, decided before it starts: pure, cheap and picklable.

A volume is walked in rows of chunks along the *stream axis*, the slowest axis of its source. While
a row passes, every coarser scale fills up behind it, so memory holds a row or two of each scale.
Where even that is too much, the other two axes are cut into *bands*: each is walked on its own, up
to the coarsest scale of which it still completes whole chunks; a second, much smaller *pass*
starts from that scale. What is written never depends on the cuts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, gcd, lcm, prod

import numpy as np

from ngcore.errors import InputError
from ngcore.formats.chunks import Box, Vec3
from ngcore.formats.info import VolumeInfo

MEBIBYTE = 1 << 20
# Python with NumPy, nibabel and Pillow loaded: 60 to 75 MiB measured, and as much again for the
# heap.
INTERPRETER_BYTES = 96 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Level:
    """One scale within one band.

    Attributes
    ----------
    scale : int
        Index of the scale in the volume's info.
    needed : Box
        Voxels that pass through memory, in the scale's global coordinates.
    first_cell, stop_cell : tuple of int
        The range of chunks, in the scale's grid, that this band writes.
    factors : tuple of int
        How many voxels of this scale make one of the next, per axis.
    """

    scale: int
    needed: Box
    first_cell: Vec3
    stop_cell: Vec3
    factors: Vec3


@dataclass(frozen=True, slots=True)
class Pass:
    """The bands that start from one scale: the source for the first pass, then the last one's end.

    Attributes
    ----------
    first_scale, last_scale : int
        The scale that is read, and the coarsest that is made. The first is written in pass 0 only.
    widths : tuple of int
        Size of a band per axis, in voxels of `first_scale`; the whole volume along the stream
        axis.
    row_buffers : int
        Rows of chunks that each scale keeps: 2 let a row fill while the one before is encoded.
    memory_bytes : int
        What the row buffers take.
    """

    first_scale: int
    last_scale: int
    widths: Vec3
    row_buffers: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Every pass of a conversion.

    Attributes
    ----------
    info : VolumeInfo
        The volume to write.
    factors : tuple of tuple of int
        Per scale, how many voxels of it make one voxel of the next; ones for the last.
    stream_axis : int
        The axis along which voxels arrive.
    passes : tuple of Pass
        In the order in which they run.
    scratch_bytes : int
        Memory beside the row buffers and the interpreter.
    """

    info: VolumeInfo
    factors: tuple[Vec3, ...]
    stream_axis: int
    passes: tuple[Pass, ...]
    scratch_bytes: int

    @property
    def memory_bytes(self) -> int:
        """The most memory that any pass takes, the interpreter included."""
        buffers = max(step.memory_bytes for step in self.passes)
        return INTERPRETER_BYTES + self.scratch_bytes + buffers

    @property
    def is_cut(self) -> bool:
        """Whether the source is read band by band, which a stream can't be."""
        return self.band_counts(self.passes[0]) != (1, 1, 1)

    @property
    def work_items(self) -> int:
        """How many bands there are in all passes."""
        return sum(map(self._count, self.passes))

    def band_counts(self, step: Pass) -> Vec3:
        """Return into how many bands a pass cuts each axis."""
        size = self.info.scales[step.first_scale].size
        x, y, z = (-(-extent // width) for extent, width in zip(size, step.widths, strict=True))
        return x, y, z

    def bands(self, step: Pass) -> Iterator[tuple[Level, ...]]:
        """Yield the levels of each band of a pass, finest first; bands come x fastest.

        A chunk belongs to the band that holds its first voxel. The voxels needed are those of the
        band's own chunks, and those that the coarser scale is made of: where the grids of chunks
        and of cells do not line up, that is a little more than the band's own share. A band to
        which no chunk belongs is none.
        """
        x_bands, y_bands, z_bands = self.band_counts(step)
        for number in range(x_bands * y_bands * z_bands):
            y_number, x = divmod(number, x_bands)
            z, y = divmod(y_number, y_bands)
            cells = [self._cells(step, axis, band) for axis, band in enumerate((x, y, z))]
            ranges = list(zip(*cells, strict=True))
            if any(map(all, ranges)):
                owned = [
                    (_vec3([r.start for r in axes]), _vec3([r.stop for r in axes]))
                    for axes in ranges
                ]
                yield levels_of(self.info, self.factors, step.first_scale, owned)

    def _count(self, step: Pass) -> int:
        """Return how many bands own a chunk, without a look at each: there may be millions."""
        alike = [self._kinds(step, axis) for axis in range(3)]
        return sum(
            prod(count for _, count in kinds)
            for kinds in product(*(counter.items() for counter in alike))
            if any(map(all, zip(*(has_cells for has_cells, _ in kinds), strict=True)))
        )

    def _kinds(self, step: Pass, axis: int) -> Counter[tuple[bool, ...]]:
        """Count an axis's bands by whether they own cells of each scale along it.

        Widths and chunks meet again and again, so what some bands are, all but the first and the
        last are.
        """
        bands = self.band_counts(step)[axis]
        period, factor = 1, 1
        for index in range(step.first_scale, step.last_scale + 1):
            chunk = self.info.scales[index].chunk_size[axis] * factor
            period = lcm(period, chunk // gcd(chunk, step.widths[axis]))
            factor *= self.factors[index][axis]
        kinds: Counter[tuple[bool, ...]] = Counter()
        for band in {0, *range(1, min(1 + period, bands - 1)), bands - 1}:
            is_inner = 0 < band < bands - 1
            repeats = 1 + (bands - 2 - band) // period if is_inner else 1
            kinds[tuple(map(bool, self._cells(step, axis, band)))] += repeats
        return kinds

    def _cells(self, step: Pass, axis: int, band: int) -> list[range]:
        """Return the cells that a band owns along an axis at each scale."""
        width, is_last = step.widths[axis], band == self.band_counts(step)[axis] - 1
        scales = self.info.scales[step.first_scale : step.last_scale + 1]
        start = scales[0].voxel_offset[axis] + band * width
        cells = []
        factor = 1
        for index, scale in enumerate(scales, step.first_scale):
            count = scale.grid.shape[axis]
            chunk, offset = scale.chunk_size[axis] * factor, scale.voxel_offset[axis] * factor
            first = min(count, -((offset - start) // chunk)) if band else 0
            stop = count if is_last else min(count, -((offset - start - width) // chunk))
            cells.append(range(first, stop))
            factor *= self.factors[index][axis]
        return cells


def levels_of(
    info: VolumeInfo,
    factors: Sequence[Vec3],
    first_scale: int,
    owned: Sequence[tuple[Vec3, Vec3]],
) -> tuple[Level, ...]:
    """Return the levels that make given chunks of some scales, finest first.

    Parameters
    ----------
    info : VolumeInfo
    factors : sequence of tuple of int
        Per scale of the volume, how many of its voxels make one of the next, per axis.
    first_scale : int
        Index of the first of these scales, which follow each other.
    owned : sequence of (tuple of int, tuple of int)
        Per scale, the first cell and the one behind the last; there may be none between them.
    """
    scales = info.scales[first_scale : first_scale + len(owned)]
    levels: list[Level] = []
    for index in reversed(range(len(scales))):
        scale, (first, stop) = scales[index], owned[index]
        ratio = factors[first_scale + index]
        boxes = []
        if all(a < b for a, b in zip(first, stop, strict=True)):
            last = _vec3([cell - 1 for cell in stop])
            boxes.append(Box(scale.grid.bounds(first).start, scale.grid.bounds(last).stop))
        if levels:
            boxes.append(scaled_up(levels[-1].needed, ratio).intersection(scale.bounds))
        if boxes:
            needed = Box(
                _vec3([min(sides) for sides in zip(*(box.start for box in boxes), strict=True)]),
                _vec3([max(sides) for sides in zip(*(box.stop for box in boxes), strict=True)]),
            )
            levels.append(Level(first_scale + index, needed, first, stop, ratio))
    return tuple(reversed(levels))


def scaled_up(box: Box, factors: Vec3) -> Box:
    """Return the voxels of a scale, as if it had no ends, that make the next scale's `box`."""
    return Box(
        _vec3([start * factor for start, factor in zip(box.start, factors, strict=True)]),
        _vec3([stop * factor for stop, factor in zip(box.stop, factors, strict=True)]),
    )


def make_plan(
    info: VolumeInfo,
    factors: tuple[Vec3, ...],
    *,
    stream_axis: int,
    memory_bytes: int,
    scratch_bytes: int,
    scratch_share: float = 0,
) -> Plan:
    """Choose the passes and bands with which a conversion stays within its memory.

    Parameters
    ----------
    info : VolumeInfo
        The volume to write.
    factors : tuple of tuple of int
        Per scale, how many voxels of it make one voxel of the next, per axis.
    stream_axis : int
        The axis along which voxels arrive, 0 to 2.
    memory_bytes : int
        The bound on resident memory.
    scratch_bytes : int
        Memory that is needed beside the row buffers.
    scratch_share : float
        How much of each further byte of memory would be needed for that too, 0 to 1.

    Raises
    ------
    InputError
        If not even the narrowest bands fit; the message says how much would do.
    """
    budget = memory_bytes - INTERPRETER_BYTES - scratch_bytes
    passes: list[Pass] = []
    first = 0
    while not passes or passes[-1].last_scale < len(info.scales) - 1:
        step = _choose_pass(info, factors, stream_axis, first, budget)
        if step.memory_bytes > budget:
            needed = memory_bytes + (step.memory_bytes - budget) / (1 - scratch_share)
            raise InputError(
                f"rows of chunks of {'x'.join(map(str, info.scales[first].chunk_size))} voxels do "
                f"not fit in --memory {memory_bytes // MEBIBYTE}M; pass at least "
                f"--memory {ceil(needed / MEBIBYTE)}M, or smaller --chunk-size"
            )
        passes.append(step)
        first = step.last_scale
    return Plan(info, factors, stream_axis, tuple(passes), scratch_bytes)


def _choose_pass(
    info: VolumeInfo, factors: Sequence[Vec3], stream_axis: int, first: int, budget: int
) -> Pass:
    """Return the pass with the fewest bands that fits, or else the smallest there is."""
    size = info.scales[first].size
    coarsest = len(info.scales) - 1
    slower, faster = (1, 2) if stream_axis == 0 else [a for a in (2, 1, 0) if a != stream_axis]

    def attempt(last: int, widths: Sequence[int], row_buffers: int) -> Pass:
        memory = row_bytes(info, factors, stream_axis, first, last, widths) * row_buffers
        return Pass(first, last, _vec3(widths), row_buffers, memory)

    for row_buffers in (2, 1):
        whole = attempt(coarsest, size, row_buffers)
        if whole.memory_bytes <= budget:
            return whole
    smallest = whole
    # A pass makes one more scale at least, unless there is one only.
    for last in range(coarsest, min(first, coarsest - 1), -1):
        unit = [1, 1, 1]
        for index in range(first, last):
            unit = [u * f for u, f in zip(unit, factors[index], strict=True)]
        unit = [u * c for u, c in zip(unit, info.scales[last].chunk_size, strict=True)]
        for cut_axes in ((slower,), (slower, faster)):
            widths = list(size)
            for axis in cut_axes:
                widths[axis] = min(size[axis], unit[axis])
            smallest = attempt(last, widths, 1)
            if smallest.memory_bytes > budget:
                continue
            grown = cut_axes[-1]
            # As wide as fits, found by halves: there may be millions of units.
            fits, too_wide = 1, -(-size[grown] // unit[grown]) + 1
            while too_wide - fits > 1:
                middle = (fits + too_wide) // 2
                wider = list(widths)
                wider[grown] = min(size[grown], middle * unit[grown])
                if attempt(last, wider, 2).memory_bytes <= budget:
                    fits, widths = middle, wider
                else:
                    too_wide = middle
            double = attempt(last, widths, 2)
            return double if double.memory_bytes <= budget else attempt(last, widths, 1)
    return smallest


def row_bytes(
    info: VolumeInfo,
    factors: Sequence[Vec3],
    stream_axis: int,
    first: int,
    last: int,
    widths: Sequence[int],
) -> int:
    """Return the bytes of a row of chunks of every scale of a pass, for its widest band."""
    voxel_bytes = np.dtype(info.data_type).itemsize * info.num_channels
    origin = info.scales[first].voxel_offset
    factor = [1, 1, 1]
    total = 0
    for index in range(first, last + 1):
        scale = info.scales[index]
        voxels = 1
        for axis in range(3):
            if axis == stream_axis:
                voxels *= min(scale.chunk_size[axis], scale.size[axis]) + factors[index][axis] - 1
                continue
            width = -(-widths[axis] // factor[axis])
            if origin[axis] or width % scale.chunk_size[axis]:
                width += scale.chunk_size[axis]  # the grids need not line up: see Plan._levels
            voxels *= min(width, scale.size[axis])
        total += voxels * voxel_bytes
        factor = [f * g for f, g in zip(factor, factors[index], strict=True)]
    return total


def _vec3(values: Sequence[int]) -> Vec3:
    x, y, z = values
    return x, y, z
