from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import arranged
from thorough import amount

import oracles
from ngcore.downsampling import METHODS, downsample
from ngcore.errors import InputError

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32"]

factors = st.one_of(
    st.sampled_from([(2, 2, 2), (2, 2, 1), (1, 1, 2), (1, 2, 1)]),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.tuples(*[st.integers(1, 40)] * 3),
)
offsets = st.one_of(st.just((0, 0, 0)), st.tuples(*[st.integers(-50, 50)] * 3))


def values(random, dtype, shape, kind):
    """Voxels that few cells, all cells or the type's ends make hard."""
    if dtype.kind == "f":
        if kind == "few":
            return random.integers(-1, 2, shape).astype(dtype)
        voxels = (random.standard_normal(shape) * 1000).astype(dtype)
        if kind == "special":
            special = [np.nan, np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38]
            voxels[:] = random.choice(np.array(special, dtype), shape)
        return voxels
    limits = np.iinfo(dtype)
    if kind == "few":
        return random.integers(0, 3, shape).astype(dtype)
    if kind == "special":
        ends = [limits.min, limits.max, limits.max - 1, 0]
        return random.choice(np.array(ends, dtype), shape)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


@st.composite
def arrays(draw):
    shape = draw(st.tuples(*[st.integers(1, 19)] * 3, st.integers(1, 3)))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    array = values(random, dtype, shape, draw(st.sampled_from(["any", "few", "special"])))
    return arranged(draw, array)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=amount(25, 3000), deadline=None)
@given(data=st.data(), array=arrays(), factors=factors, offset=offsets)
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # the oracle's inf - inf
def test_every_method_equals_its_oracle(method, data, array, factors, offset):
    outside = None
    if method == "average" and np.prod(factors) < 1000:
        outside = data.draw(st.sampled_from([None, 0, 100]))
    expected = oracles.downsample(array, factors, method, offset, outside)
    out = None
    if data.draw(st.booleans()):
        out = arranged(data.draw, np.zeros_like(expected))
        out.flags.writeable = True
    result = downsample(
        array, factors, method=method, offset=offset, outside_value=outside, out=out
    )
    assert out is None or result is out
    assert result.dtype == array.dtype
    if array.dtype.kind == "f" and method == "average":
        # Sums of float64 in another order differ in the last bits of their largest term.
        largest = np.abs(array[np.isfinite(array)], dtype=np.float64).max(initial=0)
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-12 * largest)
    else:
        np.testing.assert_array_equal(result, expected)


def reduced_at_once(array, factors, method):
    """The oracle for offset 0, quick enough for long rows: float32 must hold small integers."""
    fx, fy, fz = factors
    cells = [n // f for n, f in zip(array.shape, factors, strict=True)]
    array = array[: cells[0] * fx, : cells[1] * fy, : cells[2] * fz]
    voxels = array.reshape(cells[0], fx, cells[1], fy, cells[2], fz)
    voxels = voxels.transpose(0, 2, 4, 5, 3, 1).reshape(*cells, -1)
    if method == "stride":
        return voxels[..., 0]
    if method in ("min", "max"):
        return getattr(voxels, method)(axis=-1)
    flat = voxels.reshape(-1, voxels.shape[-1])
    return np.array([oracles.REDUCTIONS[method](cell) for cell in flat], array.dtype).reshape(
        cells
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_longer_than_vectors_equal_the_oracle(dtype, method):
    """Vectors take up to 32 cells of a row at once, batches several rows of flat cells."""
    random = np.random.default_rng(4)
    whole_cells = [
        *(((f, 1, 1), 33 + int(random.integers(32))) for f in range(1, 10)),
        *(((f, 2, 1), 33 + int(random.integers(32))) for f in range(2, 9)),
        *(((f, 3, 2), int(random.integers(1, 40))) for f in range(1, 9)),
        *(((f, f, f), int(random.integers(1, 5))) for f in (4, 5, 6, 7, 8, 13)),
    ]
    for factors, cells in whole_cells * amount(1, 20):
        rows = int(random.integers(1, 9)) if factors[1:] == (1, 1) else factors[1]
        shape = (cells * factors[0] + int(random.integers(factors[0])), rows, factors[2])
        kind = random.choice(["few", "any", "special"]) if dtype != "float32" else "few"
        array = np.asfortranarray(values(random, np.dtype(dtype), shape, kind))
        result = downsample(array, factors, method=method)
        expected = reduced_at_once(array, factors, method)
        np.testing.assert_array_equal(result[: len(expected)], expected, str((factors, kind)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_short_rows_that_are_taken_end_to_end_equal_the_oracle(dtype, method):
    """Rows of few cells, more of them than a batch takes, with and without partial cells."""
    random = np.random.default_rng(6)
    cases = [((1, 1, 1), 0), ((2, 2, 1), 0), ((3, 1, 1), 1), ((3, 2, 2), 1)]
    for factors, more in cases * amount(1, 20):
        cells = int(random.integers(5, 8)), 120, 1
        shape = [n * f + more for n, f in zip(cells, factors, strict=True)]
        kind = random.choice(["few", "any", "special"]) if dtype != "float32" else "few"
        array = np.asfortranarray(values(random, np.dtype(dtype), shape, kind))
        if more and random.integers(2):
            array = array[::-1]
        expected = reduced_at_once(array, factors, method)
        result = downsample(array, factors, method=method)[tuple(map(slice, expected.shape))]
        np.testing.assert_array_equal(result, expected, str((factors, kind)))


def test_majority_of_large_cells_with_any_number_of_labels():
    random = np.random.default_rng(5)
    for number in range(amount(150, 20_000)):
        factors = random.integers(1, 15, 3).tolist()
        labels = int(random.choice([2, 3, 4, 9, 40, 120]))
        dtype = DTYPES[number % len(DTYPES)]
        array = np.minimum(
            random.integers(0, labels, factors), random.integers(0, labels, factors)
        )
        array = np.asfortranarray(array.astype(dtype))
        result = downsample(array, factors, method="majority").item()
        assert result == oracles.REDUCTIONS["majority"](array.ravel())


@pytest.mark.parametrize("dtype", ["uint64", "int64"])
@pytest.mark.parametrize("factors", [(2, 2, 2), (3, 3, 3), (7, 1, 5)])
def test_average_of_extreme_64_bit_values_does_not_overflow(dtype, factors):
    limits = np.iinfo(dtype)
    for value in (limits.min, limits.max, limits.max - 1):
        array = np.full((14, 12, 10), value, dtype)
        assert (downsample(array, factors) == value).all()


@settings(max_examples=amount(20, 5000), deadline=None)
@given(data=st.data())
def test_average_of_64_bit_values_next_to_a_tie_rounds_as_exact_arithmetic_does(data):
    """Sums as near to a tie, and to a whole mean, as they come, at the ends of the type too."""
    limits = np.iinfo(data.draw(st.sampled_from(["uint64", "int64"])))
    factors = data.draw(
        st.one_of(
            st.tuples(*[st.integers(1, 9)] * 3),
            st.tuples(st.integers(1, 300), st.integers(1, 3), st.just(1)),
            st.sampled_from([(64, 64, 64), (61, 64, 67), (63, 65, 64), (65, 64, 64)]),
        )
    )
    voxels = int(np.prod(factors))
    cells = []
    for _ in range(data.draw(st.sampled_from([1, 5])) if voxels < 1000 else 1):
        mean = data.draw(
            st.one_of(
                st.sampled_from([limits.min, limits.max - 1, 0, 2**32 - 1, 2**52]),
                st.integers(limits.min, limits.max - 1),
            )
        )
        above = data.draw(
            st.one_of(
                st.integers(0, voxels),
                st.integers(-2, 2).map(lambda more: min(max(voxels // 2 + more, 0), voxels)),
            )
        )
        cell = np.full(voxels, mean, limits.dtype)
        cell[:above] += 1
        spread = data.draw(st.integers(0, min(mean - limits.min, limits.max - 1 - mean)))
        cell[: voxels // 2] -= limits.dtype.type(spread)
        cell[voxels - voxels // 2 :] += limits.dtype.type(spread)
        np.random.default_rng(above).shuffle(cell)
        cells.append(cell.reshape(factors, order="F"))
    array = np.asfortranarray(np.concatenate(cells))
    result = downsample(array, factors)
    assert result.ravel().tolist() == [
        round(Fraction(sum(cell.ravel().tolist()), voxels)) for cell in cells
    ]


@pytest.mark.parametrize(
    ("pair", "mean"), [((0, 1), 0), ((1, 2), 2), ((-1, 0), 0), ((-3, -2), -2)]
)
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_average_rounds_half_to_even(dtype, pair, mean):
    array = np.array(pair, dtype).reshape(2, 1, 1)
    assert downsample(array, (2, 1, 1)).item() == mean


@pytest.mark.parametrize("dtype", DTYPES)
def test_majority_ties_go_to_the_smallest(dtype):
    array = np.array([9, 3, 9, 3, 7, 8, 5, 6], dtype).reshape(2, 2, 2)
    assert downsample(array, method="majority").item() == 3


@pytest.mark.parametrize(("method", "reduced"), [("average", 4.5), ("min", 1), ("max", 8)])
def test_nan_is_absence(method, reduced):
    array = np.full((4, 4, 4), np.nan, np.float32)
    array[0, 0, 0], array[1, 1, 1] = 1, 8
    result = downsample(array, method=method)
    assert result[0, 0, 0] == reduced
    assert np.isnan(result).sum() == 7


def test_nan_is_absent_from_cells_filled_up_with_an_outside_value():
    array = np.array([np.nan, 3, 5], np.float32).reshape(3, 1, 1)
    assert downsample(array, (2, 1, 1), outside_value=1).ravel().tolist() == [3, 3]
    array[2] = np.nan
    assert downsample(array, (2, 1, 1), outside_value=1).ravel().tolist() == [3, 1]


def test_odd_offset_makes_the_first_cell_partial():
    array = np.arange(6, dtype=np.uint16).reshape(6, 1, 1)
    result = downsample(array, (2, 1, 1), offset=(3, 0, 0), method="max")
    assert result.ravel().tolist() == [0, 2, 4, 5]
    result = downsample(array, (4, 1, 1), offset=(-1, 0, 0), method="stride")
    assert result.ravel().tolist() == [0, 1, 5]


def test_outside_value_fills_the_cell():
    array = np.full((3, 3, 3), 80, np.uint8)
    result = downsample(array, outside_value=0)
    assert result[0, 0, 0] == 80
    assert result[1, 0, 0] == 40
    assert result[1, 1, 1] == 10
    array = np.ones((1, 1, 1), np.float32)
    assert downsample(array, outside_value=float("nan")).item() == 1  # NaN is absence


def test_huge_factors_are_one_cell():
    array = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    assert downsample(array, (2**31 - 1,) * 3).item() == 12  # 11.5
    assert downsample(array, (2**31 - 1,) * 3, offset=(-1, 0, 0)).shape == (2, 1, 1)


def test_order_of_the_result_follows_the_input():
    array = np.zeros((4, 6, 8), np.uint8)
    assert downsample(array).flags.c_contiguous
    assert downsample(np.asfortranarray(array)).flags.f_contiguous


@pytest.mark.parametrize("dtype", ["bool", "float64", "complex64", "float16", "U1"])
def test_other_types_are_refused(dtype):
    with pytest.raises(InputError, match=r"array must be of one of the types uint8.*got"):
        downsample(np.zeros((2, 2, 2), dtype))


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 1, 0), (1, 1, 1, 0), (1, 1), (1,) * 5])
def test_empty_axes_and_other_ranks_are_refused(shape):
    with pytest.raises(InputError, match="3 or 4 axes"):
        downsample(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factors": (0, 1, 1)}, "factors must be between"),
        ({"factors": (2, 2)}, "factors must be three integers"),
        ({"factors": (2.5, 2, 2)}, "factors must be three integers"),
        ({"method": "mode"}, "method must be one of average"),
        ({"offset": (1, 2)}, "offset must be three integers"),
        ({"outside_value": 256}, "outside_value must be a value of uint8"),
        ({"outside_value": 0.5}, "outside_value must be a value of uint8"),
        ({"outside_value": float("nan")}, "outside_value must be a value of uint8"),
        ({"outside_value": 0, "method": "min"}, "goes with method 'average' only"),
        ({"outside_value": 0, "factors": (2**11, 2**10, 2**10)}, "2\\^31 voxels or more"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        downsample(np.zeros((2, 2, 2), np.uint8), **arguments)


def test_unfit_out_is_refused():
    array = np.zeros((4, 4, 4), np.uint8)
    for out in (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 2), np.int8)):
        with pytest.raises(InputError, match="out must be a writable array of uint8"):
            downsample(array, out=out)
    with pytest.raises(InputError, match="must not share memory"):
        downsample(array, out=array[:2, :2, :2])


def test_arguments_that_are_not_numbers_are_refused():
    voxels = np.zeros((4, 4, 4), np.uint8)
    for factors in (2, None, "abc", (2, 2, float("nan"))):
        with pytest.raises(InputError, match="factors must be three integers"):
            downsample(voxels, factors)
    with pytest.raises(InputError, match="outside_value must be a number"):
        downsample(voxels, outside_value="a")
