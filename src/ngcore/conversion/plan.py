"""What a conversion will do, decided before it starts: pure, cheap and picklable.

A volume is walked in rows of chunks along the *stream axis*, the slowest axis of its source. While
a row passes, every coarser scale fills up behind it, so memory holds a row or two of each scale.
Where even that is too much, the other two axes are cut into *bands*: each is walked on its own, up
to the coarsest scale of which it still completes whole chunks; a second, much smaller *pass*
starts from that scale. What is written never depends on the cuts.
"""

from collections.abc import Iterator, Sequence
from math import ceil, prod
from typing import NamedTuple

import numpy as np

from ngcore.errors import InputError
from ngcore.precomputed.chunks import Box, Vec3
from ngcore.precomputed.info import VolumeInfo

MEBIBYTE = 1 << 20
# Python with NumPy, nibabel and Pillow loaded: 60 to 75 MiB measured, and as much again for the
# heap.
INTERPRETER_BYTES = 96 * MEBIBYTE


class Level(NamedTuple):
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


class Pass(NamedTuple):
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
        What the row buffers take, and what the source keeps of the rows it is read by.
    """

    first_scale: int
    last_scale: int
    widths: Vec3
    row_buffers: int
    memory_bytes: int


class Plan(NamedTuple):
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
    threads : int
        How many work at once.
    """

    info: VolumeInfo
    factors: tuple[Vec3, ...]
    stream_axis: int
    passes: tuple[Pass, ...]
    scratch_bytes: int
    threads: int = 1

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
        return sum(prod(self.band_counts(step)) for step in self.passes)

    def band_counts(self, step: Pass) -> Vec3:
        """Return into how many bands a pass cuts each axis."""
        size = self.info.scales[step.first_scale].size
        shifts = self._shifts(step)
        x, y, z = (
            1 if width >= n else -(-(n + shift) // width)
            for n, width, shift in zip(size, step.widths, shifts, strict=True)
        )
        return x, y, z

    def _shifts(self, step: Pass) -> Vec3:
        """Return how far before the first voxel the first band starts, per axis.

        Bands start where chunks of the coarsest scale do: one that began a little later would own
        two of them, and need twice its width of each finer scale.
        """
        scales = self.info.scales[step.first_scale : step.last_scale + 1]
        factor = factor_between(self.factors, step.first_scale, step.last_scale)
        return _vec3(
            [
                scales[0].voxel_offset[axis] - scales[-1].voxel_offset[axis] * factor[axis]
                for axis in range(3)
            ]
        )

    def bands(self, step: Pass) -> Iterator[tuple[Level, ...]]:
        """Yield the levels of each band of a pass, finest first; bands come x fastest.

        A chunk belongs to the band that holds its first voxel. The voxels needed are those of the
        band's own chunks, and those that the coarser scale is made of: where the grids of chunks
        and of cells do not line up, that is a little more than the band's own share.
        """
        x_bands, y_bands, z_bands = self.band_counts(step)
        for number in range(x_bands * y_bands * z_bands):
            y_number, x = divmod(number, x_bands)
            z, y = divmod(y_number, y_bands)
            cells = [self._cells(step, axis, band) for axis, band in enumerate((x, y, z))]
            owned = [
                (_vec3([r.start for r in axes]), _vec3([r.stop for r in axes]))
                for axes in zip(*cells, strict=True)
            ]
            yield levels_of(self.info, self.factors, step.first_scale, owned)

    def _cells(self, step: Pass, axis: int, band: int) -> list[range]:
        """Return the cells that a band owns along an axis at each scale."""
        width, is_last = step.widths[axis], band == self.band_counts(step)[axis] - 1
        scales = self.info.scales[step.first_scale : step.last_scale + 1]
        start = scales[0].voxel_offset[axis] - self._shifts(step)[axis] + band * width
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
    column_bytes: int = 0,
    threads: int = 1,
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
    column_bytes : int
        Memory that the source takes for each column of a band, along the stream axis.
    threads : int
        How many work at once.

    Raises
    ------
    InputError
        If not even the narrowest bands fit; the message says how much would do.
    """
    budget = memory_bytes - INTERPRETER_BYTES - scratch_bytes
    passes: list[Pass] = []
    first = 0
    while not passes or passes[-1].last_scale < len(info.scales) - 1:
        column = 0 if passes else column_bytes
        step = _choose_pass(info, factors, stream_axis, first, budget, column)
        if step.memory_bytes > budget:
            needed = memory_bytes + (step.memory_bytes - budget) / (1 - scratch_share)
            raise InputError(
                f"rows of chunks of {'x'.join(map(str, info.scales[first].chunk_size))} voxels do "
                f"not fit in --memory {memory_bytes // MEBIBYTE}M; pass at least "
                f"--memory {ceil(needed / MEBIBYTE)}M, or smaller --chunk-size"
                + (" or fewer --workers" if threads > 1 else "")
            )
        passes.append(step)
        first = step.last_scale
    return Plan(info, factors, stream_axis, tuple(passes), scratch_bytes, threads)


def _choose_pass(
    info: VolumeInfo,
    factors: Sequence[Vec3],
    stream_axis: int,
    first: int,
    budget: int,
    column_bytes: int,
) -> Pass:
    """Return the pass with the fewest bands that fits, or else the smallest there is."""
    size = info.scales[first].size
    coarsest = len(info.scales) - 1
    slower, faster = (1, 2) if stream_axis == 0 else [a for a in (2, 1, 0) if a != stream_axis]

    def attempt(last: int, widths: Sequence[int], row_buffers: int) -> Pass:
        memory = row_bytes(info, factors, stream_axis, first, last, widths) * row_buffers
        sides = band_sides(info, factors, first, last, widths)[0]
        memory += column_bytes * prod(sides) // sides[stream_axis]
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
    total = 0
    for index, sides in enumerate(band_sides(info, factors, first, last, widths), first):
        scale, planes = info.scales[index], list(sides)
        thickness = min(scale.chunk_size[stream_axis], scale.size[stream_axis])
        planes[stream_axis] = thickness + factors[index][stream_axis] - 1
        total += prod(planes) * voxel_bytes
    return total


def band_sides(
    info: VolumeInfo,
    factors: Sequence[Vec3],
    first: int,
    last: int,
    widths: Sequence[int],
) -> list[Vec3]:
    """Return how many voxels of each scale of a pass its widest band needs per axis, at most.

    Bands start with chunks of the coarsest scale, but with an odd offset not with those of the
    others. The last chunk of each of them then goes beyond the band's end.
    """
    scales = info.scales[first : last + 1]
    factor = [factor_between(factors, first, index) for index in range(first, last + 1)]
    sides = [[0, 0, 0] for _ in scales]
    for axis, width in enumerate(widths):
        start = scales[-1].voxel_offset[axis] * factor[-1][axis]
        beyond = scales[0].voxel_offset[axis] - start
        for index in reversed(range(len(scales))):
            scale, ratio = scales[index], factor[index][axis]
            chunk = scale.chunk_size[axis] * ratio
            beyond = max(beyond, chunk if width % chunk else 0)
            sides[index][axis] = min(scale.size[axis], -(-(width + beyond) // ratio))
    return [_vec3(side) for side in sides]


def factor_between(factors: Sequence[Vec3], first: int, scale: int) -> Vec3:
    """Return how many voxels of the scale `first` make one of a coarser scale, per axis."""
    return _vec3([prod(step[axis] for step in factors[first:scale]) for axis in range(3)])


def _vec3(values: Sequence[int]) -> Vec3:
    x, y, z = values
    return x, y, z
