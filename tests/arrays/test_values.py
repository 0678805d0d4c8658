import math
import re
from fractions import Fraction

import numpy as np
import pytest
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.arrays.output_type import choose_output_type
from ngcore.arrays.values import BLOCK_VALUES, Counts, ValueMapping
from ngcore.errors import InputError

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
FLOATS = ["float16", "float32", "float64"]


def converted(values, output, **options):
    stored = np.asarray(values)
    mapping = ValueMapping(stored.dtype, np.dtype(output), **options)
    out = np.empty(stored.shape, output)
    return out, mapping.apply(stored, out)


def oracle(value, output, slope, intercept, input_range):
    """One value at a time, in exact arithmetic: (result, is clipped, is rounded)."""
    bounds = np.iinfo(output)
    lowest, largest = int(bounds.min), int(bounds.max)
    if isinstance(value, float) and math.isinf(value):
        return (largest if value > 0 else lowest), True, False
    meant = Fraction(value) * Fraction(slope) + Fraction(intercept)
    if input_range:
        low, high = map(Fraction, input_range)
        meant = (meant - low) / (high - low) * (largest - lowest) + lowest
    whole = round(meant)  # ties to even
    if whole < lowest or whole > largest:
        return (lowest if whole < lowest else largest), True, False
    return whole, False, whole != meant


@settings(max_examples=thorough.amount(50, 3000), deadline=None)
@given(data=st.data(), stored=st.sampled_from(INTEGERS), output=st.sampled_from(DATA_TYPES[:-1]))
def test_shifted_integers_are_exact_or_clipped_and_counted(data, stored, output):
    values = data.draw(hnp.arrays(stored, hnp.array_shapes(min_dims=1, max_dims=4, max_side=4)))
    intercept = data.draw(st.integers(-(2**40), 2**40) | st.integers(-300, 300))
    out, counts = converted(values, output, intercept=float(intercept))
    expected = [oracle(int(value), output, 1, intercept, None) for value in values.flat]
    assert [int(value) for value in out.flat] == [result for result, _, _ in expected]
    assert counts == Counts(clipped=sum(clipped for _, clipped, _ in expected))


@settings(max_examples=thorough.amount(50, 3000), deadline=None)
@given(data=st.data(), stored=st.sampled_from(FLOATS), output=st.sampled_from(DATA_TYPES[:-1]))
def test_floats_are_rounded_to_even_or_clipped_and_counted(data, stored, output):
    elements = hnp.from_dtype(np.dtype(stored), allow_nan=False) | st.sampled_from(
        [0.5, 1.5, -0.5, 255.5, 255.0, 254.5, 65504.0, math.inf, -math.inf]
    )
    values = data.draw(
        hnp.arrays(stored, hnp.array_shapes(max_dims=4, max_side=4), elements=elements)
    )
    out, counts = converted(values, output)
    expected = [oracle(float(value), output, 1, 0, None) for value in values.flat]
    assert [int(value) for value in out.flat] == [result for result, _, _ in expected]
    assert counts.clipped == sum(clipped for _, clipped, _ in expected)
    assert counts.rounded == sum(rounded for _, _, rounded in expected)


@settings(max_examples=thorough.amount(40, 2000), deadline=None)
@given(
    values=hnp.arrays("int16", 50),
    output=st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    low=st.integers(-1000, 1000),
    power=st.integers(0, 12),
)
def test_the_input_range_becomes_the_full_range_of_the_output(values, output, low, power):
    high = low + 2**power  # a power of two, so that float64 is exact and so is the oracle
    out, counts = converted(values, output, input_min=float(low), input_max=float(high))
    expected = [oracle(int(value), output, 1, 0, (low, high)) for value in values]
    assert out.tolist() == [result for result, _, _ in expected]
    assert counts.clipped == sum(clipped for _, clipped, _ in expected)
    assert counts.rounded == sum(rounded for _, _, rounded in expected)


@pytest.mark.parametrize("output", DATA_TYPES)
def test_the_ends_of_the_input_range_become_the_ends_of_the_type(output):
    out, counts = converted(np.array([0.1, 0.7]), output, input_min=0.1, input_max=0.7)
    limits = (0, 1) if output == "float32" else (np.iinfo(output).min, np.iinfo(output).max)
    assert tuple(out.tolist()) == limits
    assert counts.clipped == 0


def test_values_beyond_the_input_range_lie_beyond_0_and_1_in_float32():
    out, counts = converted(np.array([-50.0, 0.0, 300.0]), "float32", input_max=100.0)
    assert out.tolist() == [-0.5, 0, 3]
    assert counts.clipped == 0


def test_input_max_alone_starts_at_zero():
    out, _ = converted(np.array([0.0, 50.0, 100.0]), "uint8", input_max=100.0)
    assert out.tolist() == [0, 128, 255]


def test_scaled_values_become_float32():
    out, counts = converted(np.array([0, 1, 2], "int16"), "float32", slope=0.25, intercept=-1.0)
    assert out.tolist() == [-1.0, -0.75, -0.5]
    assert counts == Counts()


def test_nan_and_infinity_stay_in_float32():
    out, counts = converted(np.array([np.nan, np.inf, -np.inf, 1.5]), "float32")
    np.testing.assert_array_equal(out, np.float32([np.nan, np.inf, -np.inf, 1.5]))
    assert counts == Counts()


def test_values_beyond_float32_are_clipped_and_counted():
    out, counts = converted(np.array([1e300, -1e300, 3.0]), "float32")
    limit = np.finfo(np.float32).max
    assert out.tolist() == [limit, -limit, 3.0]
    assert counts == Counts(clipped=2)


def test_a_huge_float_is_clipped_to_the_largest_uint64():
    out, counts = converted(np.array([1e20, -1.0, 2.0**64, 2.0**63]), "uint64")
    assert out.tolist() == [2**64 - 1, 0, 2**64 - 1, 2**63]
    assert counts == Counts(clipped=3)


def test_nan_to_an_integer_is_an_error_that_counts_them():
    values = np.zeros(3 * BLOCK_VALUES)
    values[[0, BLOCK_VALUES + 1, -1]] = np.nan
    with pytest.raises(InputError, match=r"a\.nii: 3 of 98304 voxels read are NaN.*float32"):
        converted(values, "int16", name="a.nii")


@settings(max_examples=thorough.amount(40, 2000), deadline=None)
@given(data=st.data(), stored=st.sampled_from(INTEGERS))
def test_integers_that_float32_only_approximates_are_counted(data, stored):
    limits = np.iinfo(stored)
    edges = [v for v in (2**24, 2**24 + 1, 2**31 - 1, 2**63 - 1, 2**64 - 1) if v <= limits.max]
    elements = st.integers(int(limits.min), int(limits.max)) | st.sampled_from([0, *edges])
    values = data.draw(hnp.arrays(stored, 20, elements=elements))
    out, counts = converted(values, "float32")
    assert out.tolist() == [float(np.float32(v)) for v in values]
    assert counts.rounded == sum(int(np.float32(v)) != int(v) for v in values)


@pytest.mark.parametrize("stored", ["int64", "uint64"])
def test_labels_keep_their_last_bit(stored):
    labels = np.array([2**62 + 1, 0, 2**53 + 1], stored)
    out, counts = converted(labels, "uint64", is_label=True)
    assert out.tolist() == labels.tolist()
    assert counts == Counts()


@settings(max_examples=thorough.amount(40, 2000), deadline=None)
@given(
    data=st.data(), stored=st.sampled_from(INTEGERS), output=st.sampled_from(["uint32", "uint64"])
)
def test_labels_come_out_exact_or_not_at_all(data, stored, output):
    values = data.draw(hnp.arrays(stored, 8))
    if values.min() < 0 or int(values.max()) > np.iinfo(output).max:
        with pytest.raises(InputError, match=r"negative|beyond"):
            converted(values, output, is_label=True)
    else:
        out, _ = converted(values, output, is_label=True)
        assert out.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ([1.0, 2.5], "1 of the labels read are fractional"),
        ([-1.0, -2.0], "2 of the labels read are negative"),
        ([np.nan], "1 of 1 voxels read are NaN, .* pass --type image"),
        ([1e20], "1 of the labels read are beyond uint32"),
        ([np.inf], "1 of the labels read are beyond uint32"),
    ],
)
def test_float_labels_that_are_none_are_refused(values, complaint):
    with pytest.raises(InputError, match=f"seg.nii: {complaint}"):
        converted(np.array(values), "uint32", is_label=True, name="seg.nii")


def test_whole_float_labels_are_taken():
    out, _ = converted(np.array([0.0, 7.0, 4294967295.0]), "uint32", is_label=True)
    assert out.tolist() == [0, 7, 4294967295]


def test_scaled_labels_are_taken_where_they_are_whole():
    out, _ = converted(np.array([0, 2, 4], "int16"), "uint32", slope=0.5, is_label=True)
    assert out.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"fractional, by up to 0.5; .* pass --type image$"):
        converted(np.array([1], "int16"), "uint32", slope=0.5, is_label=True)


def test_labels_that_scaling_moved_a_little_are_rounded_and_counted():
    stored = np.array([0, 9362, 18725, 65535], "uint16")  # 7 / 65535 of these
    out, counts = converted(stored, "uint32", slope=7 / 65535, is_label=True)
    assert out.tolist() == [0, 1, 2, 7]
    assert counts == Counts(rounded=2)
    with pytest.raises(InputError, match=r"2 of the labels read are fractional, by up to 7.6e-05"):
        converted(stored, "uint32", slope=7 / 65535, is_label=True, label_tolerance=0.0)


def test_tolerance_that_an_error_advises_is_enough_wherever_labels_are_off():
    stored = np.arange(256, dtype="uint8")
    with pytest.raises(InputError, match="fractional") as refused:
        converted(stored[20:40], "uint32", slope=0.05, is_label=True)
    assert "--ignore-scaling" not in str(refused.value)
    advised = re.search(r"--label-tolerance (\S+)", str(refused.value))
    assert advised is None  # halves are no labels
    some = np.rint(np.arange(10) / (9 / 255)).astype("uint8")
    with pytest.raises(InputError, match="fractional") as refused:
        converted(some[:3], "uint32", slope=9 / 255, is_label=True)
    advised = re.search(r"--label-tolerance (\S+)", str(refused.value))
    out, counts = converted(
        some, "uint32", slope=9 / 255, is_label=True, label_tolerance=float(advised[1])
    )
    assert out.tolist() == list(range(10))
    assert counts.rounded > 0


def test_float_labels_are_rounded_only_when_asked():
    values = np.array([2.9999, 3.0001, 4.0])
    with pytest.raises(InputError, match=r"pass --label-tolerance 0\.0002 to round them, or"):
        converted(values, "uint32", is_label=True)
    out, counts = converted(values, "uint32", is_label=True, label_tolerance=0.01)
    assert (out.tolist(), counts.rounded) == ([3, 3, 4], 2)
    with pytest.raises(InputError, match="--label-tolerance is for labels"):
        converted(values, "uint8", label_tolerance=0.01)


def test_labels_that_scaling_makes_inexact_are_refused():
    with pytest.raises(InputError, match="too large to be exact"):
        converted(np.array([2**31 - 1], "int32"), "uint64", slope=2.0**24 + 1, is_label=True)
    with pytest.raises(InputError, match="64-bit labels with slope 2"):
        converted(np.array([1], "int64"), "uint64", slope=2.0, is_label=True)


@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("out_order", ["F", "C"])
def test_any_memory_order_and_size_gives_the_same_values(order, out_order):
    rng = np.random.default_rng(1)
    values = np.asarray(rng.integers(-200, 400, (37, 70, 41, 2), "int16"), order=order)
    mapping = ValueMapping(values.dtype, np.dtype("uint8"), slope=1.0, intercept=2.5)
    out = np.empty((40, 70, 41, 2), "uint8", order=out_order)[:37]
    counts = mapping.apply(values, out)
    np.testing.assert_array_equal(out, np.clip(np.rint(values + 2.5), 0, 255))
    meant = np.rint(values + 2.5)
    inside = (meant >= 0) & (meant <= 255)
    assert counts == Counts(clipped=int((~inside).sum()), rounded=int(inside.sum()))


def test_an_empty_array_is_no_trouble():
    assert converted(np.zeros((0, 3)), "uint8")[1] == Counts()


def test_values_that_need_no_change_are_copied_or_left_in_place():
    mapping = ValueMapping(np.dtype("float32"), np.dtype("float32"))
    values = np.float32([1.5, np.nan])
    assert mapping.is_identity
    assert mapping.apply(values, values) == Counts()
    assert not ValueMapping(np.dtype("int32"), np.dtype("int32"), is_label=True).is_identity
    assert ValueMapping(np.dtype("uint32"), np.dtype("uint32"), is_label=True).is_identity


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "expected"),
    [
        ("uint8", 1, 0, "uint8"),
        ("int8", 1, 0, "int8"),
        ("int32", 1, 0, "int32"),
        ("int16", 1, 5, "int32"),
        ("uint8", 1, 10, "uint16"),
        ("uint8", 1, -10, "int16"),
        ("int8", 1, 128, "uint8"),
        ("uint16", 1, -1024, "int32"),
        ("uint32", 1, 1, "uint64"),
        ("int32", 1, 2**31, "uint32"),
        ("int16", 2, 0, "float32"),
        ("int16", 1, 0.5, "float32"),
        ("float16", 1, 0, "float32"),
        ("float32", 1, 0, "float32"),
        ("float64", 1, 5, "float32"),
    ],
)
def test_an_image_keeps_its_type_where_it_can(stored, slope, intercept, expected):
    mapping = choose_output_type(np.dtype(stored), slope, intercept, is_label=False)
    assert mapping.output == expected


@pytest.mark.parametrize(
    ("stored", "expected"),
    [("uint8", "uint32"), ("int16", "uint32"), ("int64", "uint64"), ("uint64", "uint64"),
     ("float32", "uint32"), ("float64", "uint64")],
)  # fmt: skip
def test_labels_become_uint32_or_uint64(stored, expected):
    assert choose_output_type(np.dtype(stored), is_label=True).output == expected


@pytest.mark.parametrize(
    ("stored", "options", "complaint"),
    [
        ("complex64", {}, "complex"),
        ("longdouble", {}, "can't be converted"),
        ("int64", {}, "pass --data-type, or --type segmentation"),
        ("uint64", {}, "pass --data-type"),
        ("int64", {"slope": 1, "intercept": 3}, "pass --data-type"),
        ("uint32", {"slope": 1, "intercept": -1}, "fits no data type"),
        ("uint8", {"data_type": "int64"}, "'int64' is not one of uint8"),
        ("uint8", {"data_type": "float32", "is_label": True}, "labels must be integers"),
        ("uint8", {"input_min": 3}, "needs --input-max"),
        ("uint8", {"input_min": 3, "input_max": 3}, "must be below"),
        ("uint8", {"input_max": math.nan}, "must be below"),
        ("uint8", {"input_max": 9, "is_label": True}, "would change labels"),
    ],
)
def test_what_is_impossible_is_refused_with_a_way_out(stored, options, complaint):
    options = {"is_label": False, "name": "a.nii", **options}
    with pytest.raises(InputError, match=re.escape(complaint)):
        choose_output_type(np.dtype(stored), **options)


@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_any_data_type_can_be_asked_for(data_type):
    mapping = choose_output_type(np.dtype("int64"), is_label=False, data_type=data_type)
    assert mapping.output == data_type


def test_counts_add_up():
    assert Counts(1, 2).plus(Counts(3, 4)) == Counts(4, 6)
