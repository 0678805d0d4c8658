import math
import tracemalloc
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thorough import amount

from ngcore.conversion.estimate import estimate
from ngcore.conversion.memory import INTERPRETER_BYTES, MEBIBYTE
from ngcore.conversion.plan import make_plan
from ngcore.conversion.regions import scaled_up
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.precomputed.scales import pyramid_scales


def info_and_factors(
    size, offset=(0, 0, 0), chunk_size=None, resolution=(8, 8, 8), channels=1, max_scales=None
):
    levels = pyramid_scales(size, resolution, offset, chunk_size=chunk_size, max_scales=max_scales)
    scales = tuple(
        ScaleInfo(
            key=level.key,
            size=level.size,
            resolution=level.resolution,
            voxel_offset=level.voxel_offset,
            chunk_sizes=(level.chunk_size,),
            encoding="raw",
        )
        for level in levels
    )
    info = VolumeInfo(type="image", data_type="uint8", num_channels=channels, scales=scales)
    return info, (*(level.factors_from_previous for level in levels[1:]), (1, 1, 1))


def sharded_scales(shape):
    """Return chunks and shards of each scale that a dry run plans."""
    planned = estimate(None, shape=shape, resolution="8,8,8", data_type="uint8")
    return planned, [(scale.chunks, scale.shards) for scale in planned.scales]


def test_a_large_volume_takes_few_files_with_eight_chunks_or_more_in_each():
    planned, scales = sharded_scales((100000, 100000, 20000))
    assert planned.files == sum(shards for _, shards in scales) < 3_000_000
    assert planned.memory_bytes <= 1 << 30
    assert all(shards == 1 or chunks >= 8 * shards for chunks, shards in scales)


def test_small_volumes_have_the_shards_they_had():
    """A scan of a head, and the largest in which no scale has hundreds of shards of one chunk."""
    assert sharded_scales((256, 256, 256))[1] == [(64, 1), (8, 1), (1, 1)]
    chunks = [(32**3, 64), (16**3, 64), (8**3, 64), (4**3, 64), (2**3, 1), (1, 1)]
    assert sharded_scales((2048, 2048, 2048))[1] == chunks
    assert sharded_scales((4096, 4096, 4096))[1][3] == (512, 512)


def plan_within(buffer_bytes, info, factors, stream_axis=2):
    return make_plan(
        info,
        factors,
        stream_axis=stream_axis,
        memory_bytes=INTERPRETER_BYTES + buffer_bytes,
        scratch_bytes=0,
    )


def levels_of(plan, step):
    regions = plan.regions(step)
    return (regions.levels(place) for place in regions)


sizes = st.tuples(*[st.integers(1, 90)] * 3)
offsets = st.tuples(*[st.integers(-40, 40)] * 3)
chunk_sizes = st.tuples(*[st.integers(1, 16)] * 3)


@settings(max_examples=amount(25, 3000), deadline=None)
@given(
    sizes,
    offsets,
    chunk_sizes,
    st.sampled_from([(8, 8, 8), (4, 4, 40), (5, 20, 7)]),
    st.sampled_from([0, 1, 2]),
    st.integers(10, 18),
    st.sampled_from([None, 1, 2]),
)
def test_regions_write_every_chunk_of_every_scale_once(
    size, offset, chunk_size, resolution, stream_axis, log_bytes, max_scales
):
    info, factors = info_and_factors(size, offset, chunk_size, resolution, max_scales=max_scales)
    try:
        plan = plan_within(1 << log_bytes, info, factors, stream_axis)
    except InputError:
        return
    written = [np.zeros(scale.grid.shape, int) for scale in info.scales]
    regions = 0
    for step in plan.passes:
        for levels in levels_of(plan, step):
            regions += 1
            for level in levels:
                if level.scale > step.first_scale or step.first_scale == 0:
                    owned = Box(level.first_cell, level.stop_cell)
                    written[level.scale][owned.slices()] += 1
    assert all((count == 1).all() for count in written)
    assert plan.work_items == regions


@settings(max_examples=amount(25, 3000), deadline=None)
@given(sizes, offsets, chunk_sizes, st.sampled_from([0, 2]), st.integers(10, 18))
def test_regions_need_all_that_their_chunks_and_coarser_cells_are_made_of(
    size, offset, chunk_size, stream_axis, log_bytes
):
    info, factors = info_and_factors(size, offset, chunk_size)
    try:
        plan = plan_within(1 << log_bytes, info, factors, stream_axis)
    except InputError:
        return
    for step in plan.passes:
        for levels in levels_of(plan, step):
            for fine, coarse in pairwise(levels):
                bounds = info.scales[fine.scale].bounds
                below = scaled_up(coarse.needed, fine.factors).intersection(bounds)
                assert below.intersection(fine.needed) == below
            for level in levels:
                grid = info.scales[level.scale].grid
                if Box(level.first_cell, level.stop_cell):
                    last_cell = tuple(stop - 1 for stop in level.stop_cell)
                    for cell in (level.first_cell, last_cell):  # all others lie between them
                        bounds = grid.bounds(cell)
                        assert bounds.intersection(level.needed) == bounds


def test_volume_that_fits_is_one_region_in_one_pass():
    info, factors = info_and_factors((512, 512, 512))
    plan = plan_within(256 * MEBIBYTE, info, factors)
    assert plan.work_items == len(plan.passes) == 1
    assert not plan.is_cut
    assert plan.passes[0].row_buffers == 2


def test_less_memory_gives_more_regions_and_keeps_within_it():
    info, factors = info_and_factors((4096, 4096, 4096))
    before = 1
    for megabytes in (4000, 1000, 300, 100, 30):
        plan = plan_within(megabytes * MEBIBYTE, info, factors)
        assert plan.memory_bytes <= INTERPRETER_BYTES + megabytes * MEBIBYTE
        assert plan.work_items >= before
        before = plan.work_items
    assert before > 50


def test_memory_that_holds_no_band_is_refused_and_says_how_much_would_do():
    info, factors = info_and_factors((4096, 4096, 4096), chunk_size=(512, 512, 512))
    with pytest.raises(InputError, match=r"--memory (\d+)M, or smaller --chunk-size") as error:
        plan_within(100 * MEBIBYTE, info, factors)
    megabytes = int(str(error.value).split("at least --memory ")[1].split("M")[0])
    assert plan_within(megabytes * MEBIBYTE - INTERPRETER_BYTES, info, factors).work_items > 1


def test_petavoxel_is_planned_without_listing_its_regions():
    info, factors = info_and_factors((100_000, 100_000, 100_000))
    plan = plan_within(500 * MEBIBYTE, info, factors)
    assert math.prod(info.scales[0].size) == 10**15
    assert plan.work_items > 1000


@pytest.mark.parametrize("size", [(10**12, 1000, 1), (1000, 10**12, 1), (10**9, 1000, 1000)])
def test_a_long_petavoxel_is_planned_without_listing_its_regions(size):
    info, factors = info_and_factors(size)
    tracemalloc.start()
    plan = plan_within(500 * MEBIBYTE, info, factors)
    assert plan.work_items > 100_000
    first = next(iter(levels_of(plan, plan.passes[0])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert first[0].first_cell == (0, 0, 0)
    assert peak < MEBIBYTE


def test_a_volume_of_one_scale_is_cut_too():
    info, factors = info_and_factors((4000, 3000, 2000), chunk_size=(64, 64, 64), max_scales=1)
    plan = plan_within(256 * MEBIBYTE, info, factors)
    assert plan.is_cut
    (only,) = plan.passes
    assert only.memory_bytes <= 256 * MEBIBYTE
    assert only.widths[2] == 2000


def test_regions_of_an_offset_volume_read_little_beyond_their_own():
    info, factors = info_and_factors((3000, 3000, 70), (3, 5, 7))
    plan = plan_within(32 * MEBIBYTE, info, factors)
    step = plan.passes[0]
    assert step.last_scale >= 2
    for levels in levels_of(plan, step):
        for axis in (0, 1):
            assert levels[0].needed.shape[axis] < step.widths[axis] + 2**step.last_scale
        assert levels[-1].scale == step.last_scale


@settings(max_examples=amount(25, 3000), deadline=None)
@given(
    sizes,
    offsets,
    st.one_of(st.none(), chunk_sizes),
    st.sampled_from([(8, 8, 8), (4, 4, 40), (5, 20, 7), (8, 32, 64)]),
    st.sampled_from([0, 1, 2]),
    st.integers(10, 24),
)
@example((300, 300, 7), (3, 5, 7), None, (8, 8, 8), 2, 25)
def test_no_region_takes_more_rows_than_was_planned(
    size, offset, chunk_size, resolution, stream_axis, log_bytes
):
    if chunk_size is None:
        size = tuple(10 * n for n in size)
    info, factors = info_and_factors(size, offset, chunk_size, resolution)
    try:
        plan = plan_within(1 << log_bytes, info, factors, stream_axis)
    except InputError:
        return
    for step in plan.passes:
        for levels in islice(levels_of(plan, step), 500):
            taken = 0
            for level in levels:
                planes = list(level.needed.shape)
                thickness = info.scales[level.scale].chunk_size[stream_axis]
                planes[stream_axis] = min(thickness, planes[stream_axis])
                planes[stream_axis] += level.factors[stream_axis] - 1
                taken += math.prod(planes)
            assert step.row_buffers * taken <= step.memory_bytes
