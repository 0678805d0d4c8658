import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import arranged
from thorough import amount

import oracles
from ngcore.arrays.chunk_copy import copy_chunk
from ngcore.errors import InputError

DTYPES = ["uint8", "int16", "uint32", "float32", "uint64", "float64", ">u4"]
GUARD = 64


@st.composite
def chunks(draw):
    """Chunks that are cut out of a larger array, and hold anything, one item, or nothing."""
    long_axes = draw(st.sets(st.integers(0, 2), max_size=2))
    most = 140 if len(long_axes) < 2 else 67
    shape = [draw(st.integers(1, most if axis in long_axes else 4)) for axis in range(3)]
    shape.append(draw(st.integers(1, 3)))
    before = [draw(st.integers(0, 2)) for _ in shape]
    room = np.zeros([n + 2 + b for n, b in zip(shape, before, strict=True)], "uint64")
    chunk = tuple(slice(b, b + n) for n, b in zip(shape, before, strict=True))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    kind = draw(st.sampled_from(["any", "one", "zeros", "negative zeros"]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    room = room.astype(dtype)
    if kind == "any":
        room[...] = random.integers(0, 200, room.shape)
    elif kind == "one":
        room[chunk][tuple(random.integers(0, shape))] = 1
    elif kind == "negative zeros":
        room[...] = -0.0 if dtype.kind == "f" else 0
    return arranged(draw, room)[chunk]


@settings(max_examples=amount(40, 5000), deadline=None)
@given(voxels=chunks())
def test_a_copy_equals_its_oracle_and_nothing_around_it_is_written(voxels):
    expected = oracles.copied(voxels)
    memory = np.full(len(expected) + 2 * GUARD, 0xAB, np.uint8)
    copy = memory[GUARD:-GUARD].view(voxels.dtype).reshape(voxels.shape, order="F")
    assert copy_chunk(voxels, copy) == any(expected)
    assert memory[GUARD:-GUARD].tobytes() == expected
    assert (memory[:GUARD] == 0xAB).all()
    assert (memory[-GUARD:] == 0xAB).all()


@pytest.mark.parametrize("order", ["xyzc", "czyx", "yxcz", "zcxy"])
@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_a_single_set_bit_is_seen_wherever_it_is(order, itemsize):
    shape = dict(zip("xyzc", (66, 5, 67, 2), strict=True))
    memory = np.zeros([shape[axis] for axis in order], f"u{itemsize}")
    voxels = memory.transpose([order.index(axis) for axis in "xyzc"])
    copy = np.empty(voxels.shape, voxels.dtype, order="F")
    assert not copy_chunk(voxels, copy)
    random = np.random.default_rng(0)
    for _ in range(amount(20, 2000)):
        at = tuple(random.integers(0, voxels.shape))
        voxels[at] = 1 << random.integers(0, 8 * itemsize)
        assert copy_chunk(voxels, copy)
        np.testing.assert_array_equal(copy, voxels)
        voxels[at] = 0


def test_an_empty_chunk_is_copied_and_has_no_bits():
    assert not copy_chunk(np.ones((3, 0, 2, 1)), np.ones((3, 0, 2, 1), order="F"))


@pytest.mark.parametrize(
    ("voxels", "out"),
    [
        (np.ones((2, 2, 2)), np.ones((2, 2, 2), order="F")),
        (np.ones((2, 2, 2, 1), "complex128"), np.ones((2, 2, 2, 1), "complex128", order="F")),
        (np.ones((2, 2, 2, 1)), np.ones((2, 2, 2, 1))),
        (np.ones((2, 2, 2, 1)), np.ones((2, 2, 3, 1), order="F")),
        (np.ones((2, 2, 2, 1)), np.ones((2, 2, 2, 1), "uint64", order="F")),
    ],
)
def test_what_can_not_be_copied_is_refused(voxels, out):
    with pytest.raises(InputError):
        copy_chunk(voxels, out)
