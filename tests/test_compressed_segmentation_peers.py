"""compressed_segmentation, exchanged with the implementations that others read with."""

import compressed_segmentation as peer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import amount

from ngcore import compressed_segmentation


def labels_of(number, dtype):
    random = np.random.default_rng(number)
    labels = random.integers(1, random.choice([2, 3, 9, 40, 2**31]), (5, 6, 7)).astype(dtype)
    repeat = random.integers(1, 9)
    labels = labels.repeat(repeat, 0).repeat(repeat, 1).repeat(repeat, 2)
    return np.asfortranarray(labels[:37, :29, :41])


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
@pytest.mark.parametrize("block_size", [(8, 8, 8), (4, 8, 16), (5, 7, 3)])
@pytest.mark.parametrize("number", range(6))
def test_chunks_are_exchanged_and_never_larger(number, block_size, dtype):
    labels = labels_of(number, dtype)
    ours = compressed_segmentation.encode(labels, block_size=block_size)
    theirs = peer.compress(labels, block_size=block_size, order="F")
    assert len(ours) <= len(theirs)
    options = {"block_size": block_size, "order": "F"}
    read_back = peer.decompress(ours, labels.shape, labels.dtype, **options)
    np.testing.assert_array_equal(read_back.reshape(labels.shape), labels)
    decoded = compressed_segmentation.decode(theirs, labels.shape, dtype, block_size=block_size)
    np.testing.assert_array_equal(decoded, labels)


@settings(max_examples=amount(30, 3000), deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    block_size=st.one_of(st.just((8, 8, 8)), st.tuples(*[st.integers(1, 64)] * 3)),
    dtype=st.sampled_from(["uint32", "uint64"]),
    labels=st.integers(1, 300),
    run=st.integers(1, 9),
    seed=st.integers(0, 2**32),
)
def test_no_chunk_is_larger_than_the_peer_makes_it(shape, block_size, dtype, labels, run, seed):
    ids = np.random.default_rng(seed).integers(0, labels, [-(-n // run) for n in shape])
    for axis in range(3):
        ids = ids.repeat(run, axis)
    chunk = np.asfortranarray(ids[: shape[0], : shape[1], : shape[2]].astype(dtype))
    ours = compressed_segmentation.encode(chunk, block_size=block_size)
    theirs = peer.compress(chunk, block_size=block_size, order="F")
    assert len(ours) <= len(theirs)
    read_back = peer.decompress(ours, shape, chunk.dtype, block_size=block_size, order="F")
    np.testing.assert_array_equal(read_back.reshape(shape, order="F"), chunk)
