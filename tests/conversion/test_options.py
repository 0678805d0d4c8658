"""Options as Python gives them: any library's numbers are taken, anything else is refused."""

import numpy as np
import pytest

from ngcore.conversion.options import ConvertOptions, parse_memory
from ngcore.errors import InputError


@pytest.mark.parametrize("data_type", [np.uint16, np.dtype(">u2"), np.zeros(1, "u2").dtype])
def test_types_of_numpy_become_their_names(data_type):
    assert ConvertOptions(data_type=data_type).data_type == "uint16"


@pytest.mark.parametrize("data_type", [np.complex64, float, 5, object])
def test_other_types_are_refused(data_type):
    with pytest.raises(InputError, match="--data-type must be"):
        ConvertOptions(data_type=data_type)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"chunk_size": np.int64(3)}, 3),
        ({"chunk_size": np.array([3, 2, 1])}, (3, 2, 1)),
        ({"chunk_size": [3, 2, 1]}, (3, 2, 1)),
        ({"resolution": np.array([8, 8, 40.5], np.float32)}, (8.0, 8.0, 40.5)),
        ({"resolution": "1mm"}, (1e6, 1e6, 1e6)),
        ({"resolution": "8nm,8 nm,0.04um"}, (8.0, 8.0, 40.0)),
        ({"resolution": "0.1\u00b5m,1e-3mm,.5"}, (100.0, 1000.0, 0.5)),
        ({"voxel_offset": np.array([-1, 2, 3])}, (-1, 2, 3)),
        ({"voxel_offset": (1.0, 2, -3)}, (1, 2, -3)),
        ({"jpeg_quality": np.uint8(90)}, 90),
        ({"max_scales": 2.0}, 2),
        ({"input_max": np.float32(0.5)}, 0.5),
    ],
)
def test_numbers_of_any_library_become_plain_ones(given, plain):
    (name,) = given
    value = getattr(ConvertOptions(**given), name)
    assert value == plain
    numbers = value if isinstance(value, tuple) else (value,)
    assert all(type(number) in (int, float) for number in numbers)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("chunk_size", "3"),
        ("chunk_size", 2.5),
        ("chunk_size", 0),
        ("chunk_size", (1, 2)),
        ("resolution", 8),
        ("resolution", "8,8"),
        ("resolution", "8px"),
        ("resolution", "-1mm"),
        ("label_tolerance", 0.5),
        ("label_tolerance", -1),
        ("chunk_size", (2049, 1, 1)),
        ("resolution", (np.nan, 1, 1)),
        ("resolution", (1, 0, 1)),
        ("voxel_offset", (0.5, 0, 0)),
        ("voxel_offset", (np.nan, 0, 0)),
        ("voxel_offset", (np.inf, 0, 0)),
        ("voxel_offset", 3),
        ("jpeg_quality", None),
        ("jpeg_quality", "95"),
        ("jpeg_quality", 95.5),
        ("max_scales", 1.5),
        ("workers", "2"),
        ("workers", 0),
        ("input_max", "1"),
        ("outside_value", "1"),
        ("outside_value", np.nan),
        ("outside_value", np.inf),
        ("outside_value", -1e39),
        ("memory", None),
        ("memory", "1e9"),
        ("data_type", "int64"),
        ("type", None),
    ],
)
def test_what_is_no_such_value_is_refused_by_the_name_of_its_option(option, value):
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')} must be "):
        ConvertOptions(**{option: value})


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("2G", 2 << 30),
        ("200M", 200 << 20),
        ("1.5GiB", 3 << 29),
        ("2Gi", 2 << 30),
        ("1GB", 1 << 30),
        ("300000000", 300_000_000),
        (300_000_000, 300_000_000),
        ("1t", 1 << 40),
        ("9" * 500, 1 << 62),
    ],
)
def test_sizes_are_written_in_many_ways(size, expected):
    assert parse_memory(size) == expected
