"""Counting the chunks of shards in closed form, against visiting every cell."""

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngcore.errors import InputError
from ngcore.precomputed.chunks import compressed_morton_code
from ngcore.precomputed.sharding import ShardGrid, ShardingSpec, choose_sharding

small_grids = st.tuples(*[st.integers(1, 12)] * 3)
few_bits = st.integers(0, 6)
specs = st.builds(
    ShardingSpec,
    preshift_bits=few_bits,
    hash=st.sampled_from(["identity", "identity", "murmurhash3_x86_128"]),
    minishard_bits=few_bits,
    shard_bits=few_bits,
)


@given(specs, small_grids)
def test_counts_are_those_of_visiting_every_cell(spec, grid_shape):
    shards = ShardGrid(spec, grid_shape)
    visited = Counter(
        spec.locate(compressed_morton_code(cell, grid_shape))[0]
        for cell in itertools.product(*map(range, grid_shape))
    )
    listed = list(shards)
    assert len(listed) == len(set(listed)) == shards.count
    assert {shard: shards.chunk_count(shard) for shard in listed} == visited
    for shard in set(range(-1, 2**spec.shard_bits + 2)) - set(listed):
        assert shards.chunk_count(shard) == 0


@given(specs, small_grids)
def test_box_shape_is_that_of_the_shards(spec, grid_shape):
    shards = ShardGrid(spec, grid_shape)
    if shards.box_shape is None:
        return
    corners = {}
    for cell in itertools.product(*map(range, grid_shape)):
        corner = tuple(c // n for c, n in zip(cell, shards.box_shape, strict=True))
        assert corners.setdefault(shards.shard_of(cell), corner) == corner
    assert len(corners) == len(set(corners.values())) == shards.count


def test_flat_grid_has_flat_boxes():
    grid_shape = (100, 100, 1)
    shards = ShardGrid(choose_sharding(grid_shape, gzip=False), grid_shape)
    assert shards.box_shape == (32, 16, 1)
    assert shards.count == 4 * 7


def test_shards_that_fold_over_the_grid_are_no_boxes():
    spec = ShardingSpec(preshift_bits=0, hash="identity", minishard_bits=0, shard_bits=3)
    shards = ShardGrid(spec, (16, 16, 16))
    assert shards.box_shape is None
    assert [shards.chunk_count(shard) for shard in shards] == [512] * 8


def test_hashed_shards_are_no_boxes():
    spec = ShardingSpec(0, "murmurhash3_x86_128", 0, 2)
    assert ShardGrid(spec, (4, 4, 4)).box_shape is None


def test_grid_of_a_petavoxel_is_counted_at_once():
    grid_shape = (15625, 15625, 15625)
    shards = ShardGrid(choose_sharding(grid_shape, gzip=False), grid_shape)
    assert shards.count == 1954**3
    assert shards.chunk_count(shards.shard_of((100, 100, 100))) == 512
    # 15625 is 1953 boxes of 8 and one cell: the corner of the grid is a shard of its own.
    assert shards.chunk_count(shards.shard_of((15624, 15624, 15624))) == 1
    assert next(iter(shards)) == 0


def test_grid_that_no_id_can_number_is_refused():
    spec = ShardingSpec(0, "identity", 0, 0)
    with pytest.raises(InputError, match="needs 66 bits"):
        ShardGrid(spec, (2**22, 2**22, 2**22))
