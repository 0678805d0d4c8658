"""Boxes, chunk grids and the names of chunks."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngcore.errors import InputError
from ngcore.precomputed.chunks import Box, ChunkGrid

sides = st.tuples(*[st.integers(1, 200)] * 3)
offsets = st.tuples(*[st.integers(-300, 300)] * 3)
grids = st.builds(
    ChunkGrid, size=sides, chunk_size=st.tuples(*[st.integers(40, 300)] * 3), voxel_offset=offsets
)


def test_box_says_its_shape():
    assert Box((1, -2, 3), (4, 2, 5)).shape == (3, 4, 2)


def test_empty_box_is_false_and_has_no_voxels_along_that_axis():
    box = Box((0, 5, 0), (4, 3, 4))
    assert not box
    assert box.shape == (4, 0, 4)


def test_boxes_that_touch_have_no_voxels_in_common():
    assert not Box((0, 0, 0), (4, 4, 4)).intersection(Box((4, 0, 0), (8, 4, 4)))


def test_intersection_is_the_same_either_way():
    one, two = Box((0, 0, -9), (5, 6, 7)), Box((-1, 3, 2), (4, 9, 9))
    assert one.intersection(two) == two.intersection(one) == Box((0, 3, 2), (4, 6, 7))


def test_slices_count_from_the_origin():
    box = Box((-3, 5, 0), (-1, 9, 2))
    assert box.slices((-4, 5, 0)) == (slice(1, 3), slice(0, 4), slice(0, 2))


def test_slices_never_wrap_around_to_the_end_of_an_array():
    with pytest.raises(InputError, match="starts before the array"):
        Box((0, -1, 0), (4, 4, 4)).slices()


@pytest.mark.parametrize(
    ("size", "chunk_size"),
    [((0, 1, 1), (1, 1, 1)), ((1, 1, 1), (64, 64, 0)), ((1, -1, 1), (1,) * 3)],
)
def test_grid_without_voxels_is_refused(size, chunk_size):
    with pytest.raises(InputError, match="1 or more on every axis"):
        ChunkGrid(size, chunk_size)


def test_chunk_at_volume_edge_is_clipped():
    grid = ChunkGrid((100, 64, 65), (64, 64, 64))
    assert grid.shape == (2, 1, 2)
    assert grid.bounds((1, 0, 1)) == Box((64, 0, 64), (100, 64, 65))


def test_names_include_the_voxel_offset():
    grid = ChunkGrid((100, 64, 64), (64, 64, 64), (10, 0, 1000))
    assert grid.name((1, 0, 0)) == "74-110_0-64_1000-1064"
    assert grid.nested_name((1, 0, 0)) == "74-110/0-64/1000-1064"


def test_negative_offsets_give_names_with_minus_signs():
    grid = ChunkGrid((64, 128, 64), (64, 64, 64), (-5, -128, -64))
    assert grid.name((0, 0, 0)) == "-5-59_-128--64_-64-0"
    assert grid.cell_of_name("-5-59_-128--64_-64-0") == (0, 0, 0)


@pytest.mark.parametrize("cell", [(2, 0, 0), (0, 1, 0), (0, 0, -1)])
def test_cell_that_the_grid_lacks_is_refused(cell):
    with pytest.raises(InputError, match="there is no chunk"):
        ChunkGrid((100, 64, 64), (64, 64, 64)).bounds(cell)


def test_cells_come_x_fastest():
    cells = list(ChunkGrid((2, 2, 2), (1, 1, 1)).cells())
    assert cells[:3] == [(0, 0, 0), (1, 0, 0), (0, 1, 0)]
    assert len(cells) == 8


@given(grids)
def test_chunks_cover_every_voxel_once(grid):
    cells = list(grid.cells())
    assert len(set(cells)) == len(cells) == grid.count
    voxels = 0
    for cell in cells:
        x, y, z = grid.bounds(cell).shape
        assert min(x, y, z) >= 1
        voxels += x * y * z
    assert voxels == grid.size[0] * grid.size[1] * grid.size[2]


@given(grids)
def test_names_lead_back_to_their_cells(grid):
    for cell in grid.cells():
        assert grid.cell_of_name(grid.name(cell)) == cell
        assert grid.cell_of_name(grid.nested_name(cell)) == cell


@given(grids)
def test_ids_lead_back_to_their_cells(grid):
    for cell in grid.cells():
        assert grid.cell_of_id(grid.chunk_id(cell)) == cell


@pytest.mark.parametrize(
    "name",
    [
        "",
        "info",
        "0-64_0-64",
        "00-64_0-64_0-64",
        "-0-64_0-64_0-64",
        "0-64_0-64_0-63",
        "1-65_0-64_0-64",
        "0-64_0-64/0-64",
        "0-64_0-64_0-64.gz",
        "0-64_0-64_0-64\n",
        "64-128_0-64_0-64",
        "-64-0_0-64_0-64",
        "\u0660-64_0-64_0-64",
    ],
)
def test_name_that_is_no_chunk_of_the_grid_names_no_cell(name):
    assert ChunkGrid((100, 64, 64), (64, 64, 64)).cell_of_name(name) is None


@given(st.text(alphabet="0123456789-_/", max_size=40))
def test_any_text_names_a_cell_or_none(name):
    grid = ChunkGrid((100, 64, 64), (64, 64, 64), (-7, 0, 3))
    cell = grid.cell_of_name(name)
    assert cell is None or name in (grid.name(cell), grid.nested_name(cell))


def test_grid_of_a_petavoxel_is_no_work():
    grid = ChunkGrid((10**6, 10**6, 10**6), (64, 64, 64))
    assert grid.count == 15625**3
    assert grid.cell_of_id(grid.chunk_id((15624, 1, 15000))) == (15624, 1, 15000)


def test_grids_and_boxes_can_be_sent_to_other_processes():
    grid = ChunkGrid((100, 64, 64), (64, 64, 64), (1, 2, 3))
    assert pickle.loads(pickle.dumps(grid)) == grid
    assert pickle.loads(pickle.dumps(grid.bounds((0, 0, 0)))) == grid.bounds((0, 0, 0))
