import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import arranged
from thorough import amount

import oracles
from ngcore.arrays.chunk_copy import copy_box, copy_chunk
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


@st.composite
def places_for(draw, voxels):
    """Return a place for voxels in a larger array, its axes in any order, and that array."""
    order = draw(st.permutations(range(4)))
    steps = draw(st.sampled_from([(1, 1, 1, 1), (1, 1, 1, 1), (1, 2, 1, 1), (2, 1, 1, 1)]))
    before = [draw(st.integers(0, 2)) for _ in range(4)]
    sides = [b + n * step + 1 for b, n, step in zip(before, voxels.shape, steps, strict=True)]
    room = np.empty([sides[axis] for axis in order], voxels.dtype)
    room.view(np.uint8)[...] = 0xAB
    box = tuple(
        slice(b, b + n * step, step)
        for b, n, step in zip(before, voxels.shape, steps, strict=True)
    )
    return room.transpose(np.argsort(order))[box], room


@settings(max_examples=amount(80, 5000), deadline=None)
@given(data=st.data(), voxels=chunks())
def test_a_box_goes_anywhere_and_nothing_around_it_is_written(data, voxels):
    out, room = data.draw(places_for(voxels))
    copy_box(voxels, out)
    assert out.tobytes("F") == oracles.copied(voxels)
    out.view(np.uint8 if out.itemsize == 1 else f"u{out.itemsize}")[...] = int("AB" * 8, 16) % (
        1 << 8 * out.itemsize
    )
    assert (room.view(np.uint8) == 0xAB).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "uint64"])
def test_whole_tiles_and_their_rests_are_turned(dtype):
    voxels = np.random.default_rng(0).integers(0, 250, (67, 66, 5, 2)).astype(dtype, order="F")
    for order in [(1, 2, 3, 0), (2, 1, 0, 3), (3, 1, 2, 0)]:
        # Axes from the closest on; the first of `voxels` is never that.
        room = np.zeros([voxels.shape[axis] for axis in reversed(order)], dtype)
        out = room.transpose(np.argsort(order[::-1]))
        copy_box(voxels, out)
        np.testing.assert_array_equal(out, voxels)


@pytest.mark.parametrize(
    ("voxels", "out"),
    [
        (np.full((2, 3, 1, 2), 7j), np.zeros((2, 3, 1, 2), "complex128")),
        (np.full((2, 3, 1, 2), 7, ">u4"), np.zeros((2, 3, 1, 2), "<u4")),
        (np.full((2, 1, 1, 2), 7.0), np.zeros((2, 3, 1, 2))),
        (np.full((2, 3), 7), np.zeros((2, 3), int)),
        (np.full((2, 3, 1, 2), 7), np.zeros((2, 3, 1, 2), int)[::-1, ::-1, :, ::-1]),
    ],
)
def test_what_the_kernel_does_not_know_is_copied_too(voxels, out):
    copy_box(voxels, out)
    assert (out == voxels[:1, :1]).all()


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
