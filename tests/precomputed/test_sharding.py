"""Which shard and minishard hold an id, and how a sharding is chosen."""

import itertools
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.chunks import compressed_morton_code
from ngcore.precomputed.murmurhash import murmurhash3_x86_128
from ngcore.precomputed.sharding import ShardingSpec, choose_sharding

ids = st.integers(0, 2**64 - 1)


@st.composite
def specs(draw, hashes=("identity", "murmurhash3_x86_128"), most_minishard_bits=64):
    minishard_bits = draw(st.integers(0, most_minishard_bits))
    shard_bits = draw(st.integers(0, 64 - minishard_bits))
    preshift_bits = draw(st.integers(0, 64 - minishard_bits - shard_bits))
    return ShardingSpec(preshift_bits, draw(st.sampled_from(hashes)), minishard_bits, shard_bits)


def slow_locate(spec, chunk_id):
    """Take the bits of an id from its binary digits, as the format's page says it."""
    hashed = chunk_id // 2**spec.preshift_bits
    if spec.hash == "murmurhash3_x86_128":
        hashed = murmurhash3_x86_128(hashed)
    digits = f"{hashed:0200b}"[::-1]
    minishard = digits[: spec.minishard_bits][::-1]
    shard = digits[spec.minishard_bits : spec.minishard_bits + spec.shard_bits][::-1]
    return int(shard or "0", 2), int(minishard or "0", 2)


@given(specs(), ids)
def test_location_is_that_of_the_slow_twin(spec, chunk_id):
    assert spec.locate(chunk_id) == slow_locate(spec, chunk_id)


@given(specs(), st.lists(ids, max_size=10))
def test_many_locations_at_once_are_those_one_by_one(spec, many):
    shards, minishards = spec.locate_many(np.array(many, np.uint64))
    assert list(zip(shards.tolist(), minishards.tolist(), strict=True)) == [
        spec.locate(chunk_id) for chunk_id in many
    ]


@given(specs(), ids)
def test_location_is_that_of_cloudvolume(spec, chunk_id):
    assume(spec.preshift_bits < 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudvolume.datasource.precomputed.sharding import ShardingSpecification

        theirs = ShardingSpecification.from_dict(spec.to_json())
        location = theirs.compute_shard_location(np.uint64(chunk_id))
    shard, minishard = spec.locate(chunk_id)
    assert int(location.minishard_number) == minishard
    assert int(location.shard_number, 16) == shard
    if spec.shard_bits > 0:
        assert f"{location.shard_number}.shard" == spec.file_name(shard)


@pytest.mark.parametrize("chunk_id", [-1, 2**64])
def test_id_beyond_64_bits_is_refused(chunk_id):
    with pytest.raises(InputError, match="unsigned 64-bit integer"):
        ShardingSpec(0, "identity", 0, 0).locate(chunk_id)


@pytest.mark.parametrize(
    ("shard_bits", "shard", "name"),
    [
        (0, 0, "0.shard"),
        (1, 1, "1.shard"),
        (4, 15, "f.shard"),
        (5, 15, "0f.shard"),
        (9, 0x1AB, "1ab.shard"),
        (64, 2**64 - 1, "ffffffffffffffff.shard"),
    ],
)
def test_file_names_are_lower_case_hex_of_fixed_width(shard_bits, shard, name):
    assert ShardingSpec(0, "identity", 0, shard_bits).file_name(shard) == name


def test_shard_that_does_not_exist_has_no_name():
    with pytest.raises(InputError, match="there is no shard 4"):
        ShardingSpec(0, "identity", 0, 2).file_name(4)


@given(specs())
def test_json_round_trips(spec):
    assert ShardingSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, "identity", 0, 0), "preshift_bits: expected an integer from 0 to 64, got -1"),
        ((0, "identity", 65, 0), "minishard_bits: expected"),
        ((0, "identity", 0, 1.5), "shard_bits: expected"),
        ((20, "identity", 20, 25), "expected at most 64 together, got 65"),
        ((0, "sha1", 0, 0), "hash: expected one of identity, murmurhash3_x86_128"),
        ((0, "identity", 0, 0, "zlib"), "minishard_index_encoding: expected one of raw, gzip"),
        ((0, "identity", 0, 0, "raw", "zstd"), "data_encoding: expected one of raw, gzip"),
        ((0, "identity", 0, 0, "raw", "raw", {"hash": 1}), "extra: 'hash' is a member of its own"),
    ],
)
def test_broken_rule_is_named(arguments, message):
    with pytest.raises(FormatError) as caught:
        ShardingSpec(*arguments)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "identity", 5])
def test_sharding_that_is_no_object_is_refused(value):
    with pytest.raises(FormatError, match="sharding: expected an object"):
        ShardingSpec.from_json(value)


@pytest.mark.parametrize(
    ("grid_shape", "bits"),
    [
        ((1, 1, 1), (0, 0, 0)),
        ((2, 2, 1), (3, 0, 0)),
        ((4, 4, 4), (6, 0, 0)),
        ((8, 8, 8), (9, 0, 0)),
        ((9, 8, 8), (9, 0, 1)),
        ((100, 100, 1), (9, 0, 5)),
        ((15625, 15625, 15625), (9, 0, 33)),
        ((2**22, 2**21, 2**21), (9, 0, 55)),
    ],
)
def test_chosen_sharding_has_the_bits_that_the_grid_needs(grid_shape, bits):
    spec = choose_sharding(grid_shape, gzip=False)
    assert (spec.preshift_bits, spec.minishard_bits, spec.shard_bits) == bits
    assert spec.hash == "identity"


def test_chosen_sharding_compresses_both_indexes_and_data_or_neither():
    spec = choose_sharding((9, 9, 9), gzip=True)
    assert (spec.minishard_index_encoding, spec.data_encoding) == ("gzip", "gzip")
    spec = choose_sharding((9, 9, 9), gzip=False)
    assert (spec.minishard_index_encoding, spec.data_encoding) == ("raw", "raw")


def test_larger_shards_have_more_minishards_of_the_same_size():
    spec = choose_sharding((100, 100, 100), gzip=False, chunk_bits=15)
    assert (spec.preshift_bits, spec.minishard_bits, spec.shard_bits) == (9, 6, 6)


@pytest.mark.parametrize("chunk_bits", [-1, 19])
def test_shards_of_more_chunks_than_make_sense_are_refused(chunk_bits):
    with pytest.raises(InputError, match="0 to 18 bits"):
        choose_sharding((9, 9, 9), gzip=False, chunk_bits=chunk_bits)


@given(
    st.tuples(*[st.integers(1, 20)] * 3).filter(lambda shape: np.prod(shape) <= 2000),
    st.sampled_from([0, 3, 4, 6, 9, 12]),
)
def test_chosen_shards_are_boxes_of_few_chunks(grid_shape, chunk_bits):
    spec = choose_sharding(grid_shape, gzip=False, chunk_bits=chunk_bits)
    assert spec.preshift_bits + spec.minishard_bits <= chunk_bits
    cells_of = {}
    minishards = Counter()
    for cell in itertools.product(*map(range, grid_shape)):
        where = spec.locate(compressed_morton_code(cell, grid_shape))
        cells_of.setdefault(where[0], []).append(cell)
        minishards[where] += 1
    assert max(minishards.values()) <= 512
    for cells in cells_of.values():
        low, high = np.min(cells, axis=0), np.max(cells, axis=0)
        assert np.prod(high - low + 1) == len(cells) <= 2**chunk_bits
