"""The scales of a volume, against neuroglancer-scripts and against the rule itself."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngcore.errors import InputError
from ngcore.precomputed.chunks import ChunkGrid
from ngcore.precomputed.info import ScaleInfo, VolumeInfo, info_warnings
from ngcore.precomputed.scales import pyramid_scales, resolution_key

CLASSIC = json.loads(
    Path(__file__).with_name("golden").joinpath("classic_scales.json").read_text()
)

sides = st.one_of(st.integers(1, 9), st.integers(1, 100000))
sizes = st.tuples(sides, sides, sides)
starts = st.integers(-1000, 1000)
offsets = st.tuples(starts, starts, starts)
lengths = st.one_of(st.integers(1, 10**6), st.floats(1e-3, 1e9), st.floats(1, 2, width=32))
resolutions = st.tuples(lengths, lengths, lengths)
targets = st.sampled_from([1, 2, 8, 32, 64, 128])
chunk_sizes = st.one_of(st.none(), st.tuples(*[st.integers(1, 100)] * 3))


@pytest.mark.parametrize("case", CLASSIC, ids=lambda c: f"{c['size']} {c['resolution']}")
def test_scales_are_those_of_the_classic_tool(case):
    levels = pyramid_scales(case["size"], case["resolution"], target=case["target"])
    assert len(levels) >= len(case["scales"])
    for level, classic in zip(levels, case["scales"], strict=False):
        assert level.size == tuple(classic["size"])
        assert level.resolution == tuple(classic["resolution"])
        assert level.chunk_size == tuple(classic["chunk_sizes"][0])


def test_isotropic_volume_is_halved_until_it_fits_in_one_chunk():
    levels = pyramid_scales((256, 200, 129), (1000, 1000, 1000))
    assert [level.size for level in levels] == [(256, 200, 129), (128, 100, 65), (64, 50, 33)]
    assert {level.chunk_size for level in levels} == {(64, 64, 64)}
    assert [level.factors_from_previous for level in levels] == [(1, 1, 1), (2, 2, 2), (2, 2, 2)]


def test_volume_that_fits_in_one_chunk_has_one_scale():
    (level,) = pyramid_scales((64, 64, 64), (1, 1, 1))
    assert level.key == "1_1_1"


def test_volume_of_one_voxel_more_than_a_chunk_has_two_scales():
    assert len(pyramid_scales((65, 64, 64), (1, 1, 1))) == 2


def test_coarse_axis_waits_for_the_finer_ones():
    levels = pyramid_scales((1000, 1000, 100), (8, 8, 40))
    assert [level.key for level in levels] == [
        "8_8_40",
        "16_16_40",
        "32_32_40",
        "64_64_80",
        "128_128_160",
    ]


def test_axis_of_one_voxel_is_halved_no_further_and_keeps_its_resolution():
    levels = pyramid_scales((1000, 1000, 1), (1000, 1000, 1000))
    assert [level.size for level in levels][1:3] == [(500, 500, 1), (250, 250, 1)]
    assert [level.key for level in levels][1:3] == ["2000_2000_1000", "4000_4000_1000"]
    assert levels[1].factors_from_previous == (2, 2, 1)


def test_axis_that_comes_down_to_one_voxel_stops_there():
    levels = pyramid_scales((5, 300, 300), (10, 10, 10))
    assert [(level.size[0], level.resolution[0]) for level in levels] == [
        (5, 10),
        (3, 20),
        (2, 40),
        (1, 80),
    ]
    levels = pyramid_scales((2, 1000, 1000), (10, 10, 10))
    assert [(level.size[0], level.resolution[0]) for level in levels] == [
        (2, 10),
        (1, 20),
        (1, 20),
        (1, 20),
        (1, 20),
    ]


def test_steps_that_halve_nothing_make_no_scale():
    # x alone is due for three steps, and has one voxel.
    levels = pyramid_scales((1, 300, 300), (1, 8, 8), chunk_size=(64, 64, 64))
    assert [level.key for level in levels] == ["1_8_8", "1_16_16", "1_32_32", "1_64_64"]


def test_given_chunk_size_is_that_of_every_scale():
    levels = pyramid_scales((100, 90, 80), (1, 1, 10), chunk_size=(30, 20, 80))
    assert {level.chunk_size for level in levels} == {(30, 20, 80)}
    assert all(a <= b for a, b in zip(levels[-1].size, (30, 20, 80), strict=True))


def test_number_of_scales_can_be_limited():
    assert len(pyramid_scales((1000, 1000, 1000), (1, 1, 1), max_scales=2)) == 2
    assert len(pyramid_scales((1000, 1000, 1000), (1, 1, 1), max_scales=99)) == 5


def test_odd_offset_rounds_down_and_the_end_up():
    levels = pyramid_scales((130, 64, 64), (1, 1, 1), (7, -7, 1))
    assert levels[1].voxel_offset == (3, -4, 0)
    assert levels[1].size == (69 - 3, 29 - -4, 33 - 0)


def test_voxels_around_coordinate_zero_do_not_go_on_forever():
    levels = pyramid_scales((2, 2, 2), (1, 1, 1), (-1, -1, -1), chunk_size=(1, 1, 1))
    assert len(levels) == 1
    levels = pyramid_scales((4, 2, 5), (1, 1, 1), (-2, -1, 0), chunk_size=(1, 1, 1))
    assert levels[-1].size == (2, 2, 1)


def test_extreme_anisotropy_leaves_sides_of_one_voxel():
    levels = pyramid_scales((20000, 400, 20000), (1, 300000, 1000000), target=16)
    assert levels[0].chunk_size == (2**12, 1, 1)
    levels = pyramid_scales((10**9, 10, 10), (1e-6, 1e6, 1e6))
    assert levels[0].chunk_size == (2**18, 1, 1)


def test_millimetres_of_seven_tenths_have_a_key_without_decimals():
    levels = pyramid_scales((200, 200, 200), (0.7e6, 0.7e6, 0.7e6))
    assert levels[0].key == "700000_700000_700000"
    assert levels[0].resolution == (700000, 700000, 700000)
    assert all(isinstance(length, int) for length in levels[1].resolution)


def test_float32_millimetres_have_the_shortest_key_that_is_exact():
    length = 0.3333300054073334 * 1e6  # 0.33333 as a NIfTI header holds it
    levels = pyramid_scales((200, 200, 200), (length, length, 1e6))
    x, _, z = levels[1].key.split("_")
    assert float(x) == levels[1].resolution[0] == 2 * length
    assert z == "1000000"


def test_halves_of_nanometres_become_whole():
    levels = pyramid_scales((200, 200, 200), (0.5, 0.5, 0.5))
    assert [level.key for level in levels] == ["0.5_0.5_0.5", "1_1_1", "2_2_2"]


def test_key_of_tiny_and_huge_lengths_can_be_read_back():
    assert resolution_key((1e-7, 1e22, 3)) == "1e-07_10000000000000000000000_3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (0, 1, 1)}, r"size\[0\]: expected a positive integer"),
        ({"size": (1.5, 1, 1)}, r"size\[0\]"),
        ({"resolution": (1, 0, 1)}, r"resolution\[1\]: expected a positive finite number"),
        ({"resolution": (1, math.nan, 1)}, r"resolution\[1\]"),
        ({"resolution": (1, math.inf, 1)}, r"resolution\[1\]"),
        ({"resolution": (5e-324, 1, 1)}, r"resolution\[0\]: expected a length from 1e-30"),
        ({"chunk_size": (64, 64, 0)}, r"chunk size\[2\]"),
        ({"target": 48}, "power of two, got 48"),
        ({"target": 0}, "power of two, got 0"),
        ({"max_scales": 0}, "1 or more, got 0"),
    ],
)
def test_impossible_pyramid_is_refused(change, message):
    arguments = {"size": (10, 10, 10), "resolution": (1, 1, 1)} | change
    with pytest.raises(InputError, match=message):
        pyramid_scales(arguments.pop("size"), arguments.pop("resolution"), **arguments)


@given(sizes, resolutions, offsets, targets, chunk_sizes)
def test_every_scale_follows_the_rule(size, resolution, offset, target, chunk_size):
    levels = pyramid_scales(size, resolution, offset, target=target, chunk_size=chunk_size)
    assert len({level.key for level in levels}) == len(levels)
    finest = levels[0]
    assert (finest.size, finest.voxel_offset) == (size, offset)
    for level, before in zip(levels[1:], levels, strict=False):
        assert 2 in level.factors_from_previous
        for axis in range(3):
            factor = level.factors_from_previous[axis]
            assert factor in (1, 2)
            assert factor == 1 or before.size[axis] > 1
            assert level.resolution[axis] == before.resolution[axis] * factor
            total = round(level.resolution[axis] / finest.resolution[axis])
            start, stop = offset[axis], offset[axis] + size[axis]
            assert level.voxel_offset[axis] == math.floor(start / total)
            assert level.voxel_offset[axis] + level.size[axis] == math.ceil(stop / total)
    if chunk_size is None:
        for level in levels:
            voxels = math.log2(math.prod(level.chunk_size))
            assert abs(voxels - 3 * math.log2(target)) <= 1
            assert all(n.bit_count() == 1 for n in level.chunk_size)
    for level in levels[:-1]:
        assert any(n > 1 for n in ChunkGrid(level.size, level.chunk_size).shape)


@given(sizes, resolutions, offsets)
def test_scales_make_a_sound_info_without_warnings(size, resolution, offset):
    levels = pyramid_scales(size, resolution, offset)
    scales = tuple(
        ScaleInfo(
            key=level.key,
            size=level.size,
            resolution=level.resolution,
            voxel_offset=level.voxel_offset,
            chunk_sizes=(level.chunk_size,),
        )
        for level in levels
    )
    info = VolumeInfo("image", "uint8", 1, scales)
    assert VolumeInfo.from_json(info.to_json()) == info
    assert info_warnings(info) == []


@pytest.mark.parametrize(
    ("resolution", "voxel_bytes", "chunk"),
    [
        ((3e6, 3e6, 3e6), 300 * 4, (8, 8, 8)),
        ((3e6, 3e6, 3e6), 16, (64, 64, 64)),
        ((3e6, 3e6, 3e6), 17, (32, 32, 32)),
        ((8, 8, 40), 8, (128, 128, 32)),
        ((8, 8, 40), 12, (64, 64, 16)),
        ((8, 8, 8), 1 << 40, (1, 1, 1)),
    ],
)
def test_chunks_are_at_most_4_mib_with_all_channels(resolution, voxel_bytes, chunk):
    levels = pyramid_scales((500, 500, 500), resolution, max_scales=4, voxel_bytes=voxel_bytes)
    assert levels[0].chunk_size == chunk
    if voxel_bytes < 1 << 22:
        assert max(math.prod(level.chunk_size) for level in levels) * voxel_bytes <= 4 << 20
