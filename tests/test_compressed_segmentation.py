import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from layouts import arranged
from thorough import amount

import oracles
from ngcore import compressed_segmentation as cseg
from ngcore.errors import FormatError, InputError

shapes = st.tuples(*[st.integers(1, 21)] * 3, st.integers(1, 3))
block_sizes = st.one_of(
    st.just((8, 8, 8)), st.tuples(*[st.integers(1, 64)] * 3), st.tuples(*[st.integers(1, 8)] * 3)
)


@st.composite
def label_volumes(draw, dtypes=("uint32", "uint64")):
    """Labels in any memory order, with few or many values, in runs or not."""
    shape = draw(shapes)
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    top = draw(st.sampled_from([0, 1, 2, 3, 6, 7, 8, 9, 20, 300, np.iinfo(dtype).max]))
    labels = random.integers(0, top, shape, dtype, endpoint=True)
    if draw(st.booleans()):
        repeat = draw(st.integers(1, 5))
        for axis in range(3):
            labels = labels.repeat(repeat, axis=axis)
        labels = labels[: shape[0], : shape[1], : shape[2]]
    return arranged(draw, labels)


@settings(max_examples=amount(50, 3000), deadline=None)
@given(labels=label_volumes(), block_size=block_sizes)
def test_encoding_is_read_back_and_equals_the_oracle(labels, block_size):
    encoded = cseg.encode(labels, block_size=block_size)
    decoded = cseg.decode(encoded, labels.shape, labels.dtype, block_size=block_size)
    np.testing.assert_array_equal(decoded, labels)
    if labels.size * np.prod(block_size) < 2e6:
        assert encoded == oracles.encode(labels, block_size)
    np.testing.assert_array_equal(
        oracles.decode(encoded, labels.shape, labels.dtype, block_size), labels
    )


@settings(max_examples=amount(40, 2000), deadline=None)
@given(data=st.data(), labels=label_volumes(), block_size=block_sizes)
def test_decoding_writes_into_any_out(data, labels, block_size):
    encoded = cseg.encode(labels, block_size=block_size)
    out = arranged(data.draw, np.zeros_like(labels))
    out.flags.writeable = True
    assert cseg.decode(encoded, labels.shape, labels.dtype, block_size=block_size, out=out) is out
    np.testing.assert_array_equal(out, labels)


@settings(max_examples=amount(60, 3000), deadline=None)
@given(data=st.data(), labels=label_volumes(), block_size=block_sizes)
def test_a_region_is_the_same_box_of_the_whole_chunk(data, labels, block_size):
    encoded = cseg.encode(labels, block_size=block_size)
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in labels.shape[:3]]
    region = tuple(slice(*pair) for pair in ends)
    out = arranged(data.draw, np.zeros_like(labels[region]))
    out.flags.writeable = True
    decoded = cseg.decode(
        encoded, labels.shape, labels.dtype, block_size=block_size, region=region, out=out
    )
    assert decoded is out
    np.testing.assert_array_equal(out, labels[region])
    alone = cseg.decode(encoded, labels.shape, labels.dtype, block_size=block_size, region=region)
    np.testing.assert_array_equal(alone, labels[region])


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16, 32])
def test_a_region_is_decoded_at_every_width(width):
    labels = np.random.default_rng(0).integers(0, 2, (21, 10, 11, 2)).astype("uint64")
    encoded = oracles.encode(labels, width_of=lambda _: width)
    region = (slice(3, 20), slice(-8, None), slice(None, 9))
    decoded = cseg.decode(encoded, labels.shape, "uint64", region=region)
    np.testing.assert_array_equal(decoded, labels[region])


@pytest.mark.parametrize(
    "region", [(slice(0, 4, 2), slice(None), slice(None)), (slice(None),), (1, 2, 3)]
)
def test_regions_of_other_kinds_are_refused(region):
    encoded = cseg.encode(np.zeros((4, 4, 4), np.uint32))
    with pytest.raises(InputError, match="region must"):
        cseg.decode(encoded, (4, 4, 4), "uint32", region=region)


def test_damage_is_found_in_a_region_that_touches_it():
    labels = np.random.default_rng(0).integers(0, 200, (16, 8, 8)).astype("uint32")
    encoded = bytearray(cseg.encode(labels))
    encoded[4 + 8 + 3] = 3  # the width of the second block
    first, second = (slice(0, 8), slice(8, 16))
    rest = (slice(None), slice(None))
    np.testing.assert_array_equal(
        cseg.decode(encoded, labels.shape, "uint32", region=(first, *rest)), labels[first]
    )
    with pytest.raises(FormatError, match="width"):
        cseg.decode(encoded, labels.shape, "uint32", region=(second, *rest))


@settings(max_examples=amount(60, 5000), deadline=None)
@given(data=st.data(), labels=label_volumes(), block_size=block_sizes)
def test_a_region_of_a_damaged_chunk_is_what_its_bytes_say_or_is_refused(data, labels, block_size):
    assume(labels.size * np.prod(block_size) < 2e6)
    encoded = bytearray(cseg.encode(labels, block_size=block_size))
    for _ in range(data.draw(st.integers(0, 3))):
        # Most damage is in headers, of which a chunk begins with some.
        last = data.draw(st.sampled_from([40, len(encoded)]))
        encoded[data.draw(st.integers(0, min(last, len(encoded)) - 1))] ^= 1 << data.draw(
            st.integers(0, 7)
        )
    ends = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in labels.shape[:3]]
    region = tuple(slice(*pair) for pair in ends)
    shape, dtype = labels.shape, labels.dtype
    try:
        whole = cseg.decode(encoded, shape, dtype, block_size=block_size)
    except FormatError:
        whole = None
    try:
        found = cseg.decode(encoded, shape, dtype, block_size=block_size, region=region)
    except FormatError:
        assert whole is None
        return
    if whole is not None:
        np.testing.assert_array_equal(found, whole[region])
    expected = oracles.decode(bytes(encoded), shape, dtype, block_size, region)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("width", [1, 2, 4, 8, 16, 32])
def test_every_width_is_decoded(dtype, width):
    labels = np.random.default_rng(0).integers(0, 2, (9, 10, 11, 2)).astype(dtype)
    encoded = oracles.encode(labels, width_of=lambda _: width)
    np.testing.assert_array_equal(cseg.decode(encoded, labels.shape, dtype), labels)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_a_block_may_hold_65536_labels_but_no_more(dtype):
    labels = np.arange(65537, dtype=dtype)[::-1].reshape(-1, 1, 1)
    block_size = (65537, 1, 1)
    most = labels[:65536]
    encoded = cseg.encode(most, block_size=block_size)
    decoded = cseg.decode(encoded, most.shape, dtype, block_size=block_size)
    np.testing.assert_array_equal(decoded, most)
    with pytest.raises(InputError, match=r"65536 labels.*smaller block_size"):
        cseg.encode(labels, block_size=block_size)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_a_chunk_past_the_limit_of_offsets_is_refused(dtype):
    labels = np.arange(2**23, dtype=dtype).reshape(256, 256, 128)
    with pytest.raises(InputError, match=r"2\^24 words.*use smaller chunks"):
        cseg.encode(labels, block_size=(1, 1, 1))


def test_second_channel_past_the_limit_of_offsets_is_refused():
    labels = np.zeros((256, 256, 128, 2), np.uint32)
    with pytest.raises(InputError, match=r"2\^24 words.*use smaller chunks"):
        cseg.encode(labels, block_size=(1, 1, 1))


def test_three_axes_are_one_channel():
    labels = np.arange(60, dtype=np.uint64).reshape(3, 4, 5)
    encoded = cseg.encode(labels)
    assert encoded == cseg.encode(labels[..., np.newaxis])
    decoded = cseg.decode(encoded, (3, 4, 5), np.uint64)
    assert decoded.flags.f_contiguous
    np.testing.assert_array_equal(decoded, labels)


def test_foreign_byte_order_and_unaligned_labels_are_encoded():
    labels = np.arange(60, dtype=np.uint64).reshape(3, 4, 5)
    unaligned = np.frombuffer(b"x" + labels.tobytes(), np.uint64, offset=1).reshape(3, 4, 5)
    assert cseg.encode(labels.astype(">u8")) == cseg.encode(labels) == cseg.encode(unaligned)


def test_equal_tables_are_stored_once():
    labels = np.tile(np.array([5, 9], np.uint64).reshape(1, 2, 1), (64, 4, 8))
    assert len(cseg.encode(labels)) == 4 * (1 + 8 * 2 + 8 * 16 + 4)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "float32", "bool", "U3", "O"])
def test_other_types_are_refused(dtype):
    with pytest.raises(InputError, match="labels must be uint32 or uint64, got"):
        cseg.encode(np.zeros((2, 2, 2), dtype))
    with pytest.raises(InputError, match="labels must be uint32 or uint64, got"):
        cseg.decode(bytes(16), (2, 2, 2), dtype)


@pytest.mark.parametrize(
    "shape", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1, 0), (1, 1), (1,) * 5]
)
def test_empty_axes_and_other_ranks_are_refused(shape):
    with pytest.raises(InputError, match="3 or 4 axes"):
        cseg.encode(np.zeros(shape, np.uint32))
    with pytest.raises(InputError, match="3 or 4 axes"):
        cseg.decode(bytes(16), shape, np.uint32)


@pytest.mark.parametrize("block_size", [(0, 8, 8), (8, 8), (-8, 8, 8), (1 << 20, 1 << 20, 1)])
def test_impossible_block_sizes_are_refused(block_size):
    with pytest.raises(InputError, match="block_size must be"):
        cseg.encode(np.zeros((1, 1, 1), np.uint32), block_size=block_size)
    with pytest.raises(InputError, match="block_size must be"):
        cseg.decode(bytes(16), (1, 1, 1), np.uint32, block_size=block_size)


def test_unfit_out_is_refused():
    encoded = cseg.encode(np.ones((2, 2, 2), np.uint32))
    read_only = np.zeros((2, 2, 2), np.uint32)
    read_only.flags.writeable = False
    for out in (np.zeros((2, 2, 3), np.uint32), np.zeros((2, 2, 2), np.uint64), read_only):
        with pytest.raises(InputError, match="out must be a writable array of uint32"):
            cseg.decode(encoded, (2, 2, 2), np.uint32, out=out)


def sound_chunk(random, dtype="uint64"):
    labels = random.integers(0, random.choice([1, 2, 4, 30]), (11, 9, 10, 2), dtype, endpoint=True)
    return labels, cseg.encode(labels)


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_every_truncation_and_extension_is_refused(dtype):
    random = np.random.default_rng(1)
    labels, encoded = sound_chunk(random, dtype)
    for length in range(len(encoded)):
        with pytest.raises(FormatError):
            cseg.decode(encoded[:length], labels.shape, dtype)
    for extra in (b"\0", bytes(4), bytes(8), encoded):
        with pytest.raises(FormatError):
            cseg.decode(encoded + extra, labels.shape, dtype)


def test_mutated_and_random_chunks_decode_or_raise_format_error():
    random = np.random.default_rng(2)
    refused = 0
    count = amount(8_000, 400_000)
    for number in range(count):
        if number % 100 == 0:
            dtype = random.choice(["uint32", "uint64"])
            labels, encoded = sound_chunk(random, dtype)
            out = np.empty(labels.shape, dtype)
        chunk = bytearray(encoded)
        if number % 10 == 0:
            chunk[random.integers(0, len(chunk)) :] = random.bytes(random.integers(0, 400))
        for _ in range(random.integers(1, 4)):
            if chunk:
                # Offsets and headers come first: aim there half of the time.
                limit = len(chunk) if random.random() < 0.5 else min(len(chunk), 72)
                chunk[random.integers(0, limit)] = random.integers(0, 256)
        try:
            cseg.decode(bytes(chunk), labels.shape, dtype, out=out)
        except FormatError:
            refused += 1
    assert count // 10 < refused < count


@pytest.mark.parametrize("data", [None, 5, "text", np.zeros((4, 4), np.uint8)[:, ::2]])
def test_what_is_not_bytes_is_refused(data):
    with pytest.raises(InputError, match="data must be bytes"):
        cseg.decode(data, (8, 8, 8), "uint32")


@pytest.mark.parametrize("size", [None, 8, "abc", (8.5, 8, 8), (float("nan"), 8, 8)])
def test_sizes_that_are_not_whole_numbers_are_refused(size):
    with pytest.raises(InputError, match="block_size must be whole numbers"):
        cseg.encode(np.zeros((8, 8, 8), np.uint32), block_size=size)
    with pytest.raises(InputError, match="shape must be whole numbers"):
        cseg.decode(bytes(16), size, "uint32")
