"""The indexes of shards: built, parsed, read by tensorstore, and broken in every way."""

import dataclasses
import gzip

import numpy as np
import pytest
import tensorstore
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.shard_index import (
    MinishardIndex,
    build_minishard_index,
    build_shard_index,
    layout_shard,
    parse_minishard_index,
    parse_shard_index,
)
from ngcore.precomputed.sharding import ShardingSpec

FOUR = ShardingSpec(preshift_bits=1, hash="identity", minishard_bits=2, shard_bits=0)
HEADER = 64

encodings = st.sampled_from(["raw", "gzip"])
specs = st.builds(
    ShardingSpec,
    preshift_bits=st.integers(0, 4),
    hash=st.sampled_from(["identity", "murmurhash3_x86_128"]),
    minishard_bits=st.integers(0, 4),
    shard_bits=st.just(0),
    minishard_index_encoding=encodings,
    data_encoding=encodings,
)
chunks_of_a_shard = st.dictionaries(
    st.one_of(st.integers(0, 100), st.integers(0, 2**64 - 1)),
    st.binary(min_size=1, max_size=30),
    max_size=20,
)


def words(*values):
    """Return little-endian uint64s; a row per line of a minishard index."""
    return np.array(values, "<u8").tobytes()


def laid_down(spec, chunks):
    """Return the shard file with these chunks, stored as `spec` says."""
    stored = chunks
    if spec.data_encoding == "gzip":
        stored = {chunk_id: gzip.compress(data) for chunk_id, data in chunks.items()}
    layout = layout_shard(spec, {chunk_id: len(data) for chunk_id, data in stored.items()})
    return layout.header + b"".join(stored[i] for i in layout.ids) + layout.trailer


def taken_apart(spec, file):
    """Return the chunks of a shard file, by the indexes alone."""
    size = len(file)
    chunks = {}
    ranges = parse_shard_index(file[: spec.shard_index_size], spec, file_size=size)
    for minishard, (start, stop) in enumerate(ranges.tolist()):
        if start == stop:
            continue
        data = file[start:stop]
        if spec.minishard_index_encoding == "gzip":
            data = gzip.decompress(data)
        index = parse_minishard_index(data, spec, file_size=size)
        for chunk_id in index.ids.tolist():
            assert spec.locate(chunk_id) == (0, minishard)
            first, last = index.find(chunk_id)
            chunk = file[first:last]
            chunks[chunk_id] = gzip.decompress(chunk) if spec.data_encoding == "gzip" else chunk
    return chunks


@given(specs, chunks_of_a_shard)
def test_shard_is_taken_apart_as_it_was_laid_down(spec, chunks):
    assert taken_apart(spec, laid_down(spec, chunks)) == chunks


@given(specs, chunks_of_a_shard, st.randoms())
def test_layout_does_not_depend_on_the_order_of_arrival(spec, chunks, random):
    sizes = [(chunk_id, len(data)) for chunk_id, data in chunks.items()]
    layout = layout_shard(spec, dict(sizes))
    random.shuffle(sizes)
    assert layout_shard(spec, dict(sizes)) == layout


@given(specs, chunks_of_a_shard)
def test_chunks_lie_in_the_order_of_minishard_and_id(spec, chunks):
    ids = layout_shard(spec, {chunk_id: len(data) for chunk_id, data in chunks.items()}).ids
    assert list(ids) == sorted(chunks, key=lambda chunk_id: (spec.locate(chunk_id)[1], chunk_id))


def test_shard_without_chunks_is_its_zeroed_index():
    layout = layout_shard(FOUR, {})
    assert (layout.header, layout.ids, layout.trailer) == (bytes(HEADER), (), b"")


def test_shard_has_the_bytes_that_the_format_says():
    assert laid_down(FOUR, {0: b"zero", 1: b"one", 4: b"four"}) == (
        words(11, 59, 0, 0, 59, 83, 0, 0)
        + b"zeroonefour"
        + words(0, 1, 0, 0, 4, 3)
        + words(4, 7, 4)
    )


def theirs(spec, folder):
    return tensorstore.KvStore.open(
        {
            "driver": "neuroglancer_uint64_sharded",
            "base": {"driver": "file", "path": f"{folder}/"},
            "metadata": spec.to_json(),
        }
    ).result()


@settings(max_examples=thorough.amount(25, 1000))
@given(specs, chunks_of_a_shard)
def test_tensorstore_reads_what_was_laid_down(tmp_path_factory, spec, chunks):
    folder = tmp_path_factory.mktemp("shard")
    (folder / spec.file_name(0)).write_bytes(laid_down(spec, chunks))
    store = theirs(spec, folder)
    for chunk_id, data in chunks.items():
        assert store.read(chunk_id.to_bytes(8, "big")).result().value == data
    assert store.read((101).to_bytes(8, "big")).result().state == (
        "value" if 101 in chunks else "missing"
    )


@settings(max_examples=thorough.amount(25, 1000))
@given(specs, chunks_of_a_shard)
def test_shards_of_tensorstore_are_taken_apart(tmp_path_factory, spec, chunks):
    folder = tmp_path_factory.mktemp("shard")
    store = theirs(spec, folder)
    with tensorstore.Transaction() as transaction:
        for chunk_id, data in chunks.items():
            store.with_transaction(transaction)[chunk_id.to_bytes(8, "big")] = data
    if chunks:
        assert taken_apart(spec, (folder / spec.file_name(0)).read_bytes()) == chunks


def test_index_of_512_chunks_stays_small():
    spec = ShardingSpec(9, "identity", 0, 3, "raw", "raw")
    layout = layout_shard(spec, dict.fromkeys(range(512), 100_000))
    assert len(layout.trailer) == 512 * 24


def test_ids_of_two_shards_are_refused():
    spec = ShardingSpec(0, "identity", 0, 1)
    with pytest.raises(InputError, match="ids of 2 shards"):
        layout_shard(spec, {0: 1, 1: 1})


def test_chunk_without_bytes_is_refused():
    with pytest.raises(InputError, match="chunk 7 has no bytes"):
        layout_shard(FOUR, {3: 1, 7: 0})


def test_shard_index_that_no_disk_holds_is_refused():
    with pytest.raises(InputError, match="use at most 24 minishard_bits"):
        layout_shard(ShardingSpec(0, "identity", 40, 0), {})


def test_id_that_is_not_listed_is_not_found():
    index = parse_minishard_index(words(3, 4, 0, 0, 1, 2), FOUR, file_size=HEADER + 3)
    assert len(index) == 2
    assert index.find(3) == (HEADER, HEADER + 1)
    assert index.find(7) == (HEADER + 1, HEADER + 3)
    assert [index.find(chunk_id) for chunk_id in (0, 4, 8, 2**64 - 1)] == [None] * 4


def test_minishard_without_ids_is_empty():
    index = parse_minishard_index(b"", FOUR, file_size=HEADER)
    assert len(index) == 0
    assert index.find(0) is None


def test_ids_without_data_are_listed_as_some_writers_do():
    index = parse_minishard_index(words(3, 4, 0, 0, 0, 2), FOUR, file_size=HEADER + 2)
    assert index.find(3) == (HEADER, HEADER)


def test_one_entry_of_a_shard_index_can_be_parsed_alone():
    ranges = parse_shard_index(words(2, 5), FOUR, file_size=HEADER + 5, first_minishard=3)
    assert ranges.tolist() == [[HEADER + 2, HEADER + 5]]


def test_entry_whose_ends_are_equal_is_empty_wherever_it_points():
    ranges = parse_shard_index(words(2**64 - 1, 2**64 - 1), FOUR, file_size=HEADER)
    assert ranges.tolist() == [[0, 0]]


TOP = 2**64 - 1


@pytest.mark.parametrize(
    ("data", "first", "message"),
    [
        (bytes(15), 0, "15 bytes are not a whole number of 16-byte entries"),
        (words(0, 0, 5, 4), 0, "byte 16: the index of minishard 1 is listed at bytes 5 to 4"),
        (
            words(0, 11),
            2,
            "byte 32: the index of minishard 2 is listed at bytes 0 to 11 of the 10",
        ),
        (words(11, 12), 0, "byte 0"),
        (words(TOP - 63, TOP - 50), 0, "byte 0"),
        (words(0, TOP), 0, "byte 0"),
    ],
)
def test_damaged_shard_index_is_refused_with_its_byte(data, first, message):
    with pytest.raises(FormatError) as caught:
        parse_shard_index(data, FOUR, file_size=HEADER + 10, first_minishard=first)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(23), "23 bytes are not a whole number of 24-byte entries"),
        (words(1, 0, 0, 0, 1, 1), "byte 8: ids must increase, but 1 follows 1"),
        (words(2, TOP, 0, 0, 1, 1), "byte 8: ids must increase, but 1 follows 2"),
        (words(1, 11, 0), "byte 8: the data of id 1 lie outside of the file"),
        (words(1, 0, 11), "byte 16: the data of id 1 lie outside of the file"),
        (words(1, 1, 0, 10, 1, 1), "byte 24: the data of id 2 lie outside of the file"),
        (words(1, 1, 0, 9, 1, 1), "byte 40: the data of id 2 lie outside of the file"),
        (
            words(1, 1, 4, TOP, 2, 2),
            "byte 24: the data of id 2 lie outside of the file, or before",
        ),
        (words(1, 1, 0, 0, 5, TOP), "byte 40: the data of id 2 lie outside of the file"),
        (words(1, TOP, TOP), "byte 8"),
    ],
)
def test_damaged_minishard_index_is_refused_with_its_byte(data, message):
    with pytest.raises(FormatError) as caught:
        parse_minishard_index(data, FOUR, file_size=HEADER + 10)
    assert message in str(caught.value)


@pytest.mark.parametrize("parse", [parse_shard_index, parse_minishard_index])
def test_file_shorter_than_its_shard_index_is_refused(parse):
    with pytest.raises(FormatError, match="the file has 63 bytes, fewer than the 64"):
        parse(b"", FOUR, file_size=63)
    with pytest.raises(FormatError, match="fewer than"):
        parse(b"", ShardingSpec(0, "identity", 64, 0), file_size=2**63)


@settings(max_examples=thorough.amount(100, 10000))
@given(
    st.one_of(
        st.binary(max_size=100),
        st.lists(st.one_of(st.integers(0, 20), st.integers(TOP - 20, TOP)), max_size=12).map(
            lambda values: words(*values)
        ),
    ),
    st.integers(0, 100),
)
def test_any_bytes_are_ranges_within_the_file_or_a_format_error(data, room):
    size = HEADER + room
    try:
        ranges = parse_shard_index(data, FOUR, file_size=size)
    except FormatError:
        pass
    else:
        assert ((ranges[:, 0] <= ranges[:, 1]) & (ranges[:, 1] <= size)).all()
        assert (
            parse_shard_index(build_shard_index(ranges, FOUR), FOUR, file_size=size) == ranges
        ).all()
    try:
        index = parse_minishard_index(data, FOUR, file_size=size)
    except FormatError:
        return
    assert (index.starts >= HEADER).all()
    assert (index.starts <= index.stops).all()
    assert (index.stops <= size).all()
    assert (index.ids[1:] > index.ids[:-1]).all()
    assert build_minishard_index(index, FOUR) == data


@given(st.sets(st.integers(0, TOP), max_size=20), st.data())
def test_minishard_index_round_trips(ids, data):
    edges = sorted(
        data.draw(
            st.lists(st.integers(HEADER, 2**40), min_size=2 * len(ids), max_size=2 * len(ids))
        )
    )
    table = np.array(edges, np.uint64)
    index = MinishardIndex(np.array(sorted(ids), np.uint64), table[0::2], table[1::2])
    again = parse_minishard_index(build_minishard_index(index, FOUR), FOUR, file_size=2**40)
    assert again.ids.tolist() == index.ids.tolist()
    assert again.starts.tolist() == index.starts.tolist()
    assert again.stops.tolist() == index.stops.tolist()


@given(spec=specs, chunks=chunks_of_a_shard)
def test_what_leads_a_chunk_lies_right_before_it(spec, chunks):
    leads = {chunk_id: bytes([chunk_id % 251]) * (chunk_id % 7) for chunk_id in chunks}
    sizes = {chunk_id: len(data) for chunk_id, data in chunks.items()}
    layout = layout_shard(spec, sizes, {chunk_id: len(lead) for chunk_id, lead in leads.items()})
    file = b"".join([layout.header, *(leads[i] + chunks[i] for i in layout.ids), layout.trailer])
    raw = dataclasses.replace(spec, data_encoding="raw")
    assert taken_apart(raw, file) == chunks
    assert all(leads[i] + chunks[i] in file for i in chunks)
