"""The compressed Morton code against a slow twin, and against cloudvolume's."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.chunks import (
    cell_of_morton_code,
    cells_of_morton_codes,
    compressed_morton_code,
    compressed_morton_codes,
)

axes = st.one_of(st.integers(1, 40), st.integers(1, 2**21))
shapes = st.tuples(axes, axes, axes)


@st.composite
def cells_of_grids(draw):
    shape = draw(shapes)
    return tuple(draw(st.integers(0, n - 1)) for n in shape), shape


def slow_code(cell, shape):
    """Interleave as the format's page says it, bit by bit, as text."""
    digits = ""
    for i in range(64):
        for axis in range(3):
            if 2**i < shape[axis]:
                digits = str((cell[axis] // 2**i) % 2) + digits
    return int(digits or "0", 2)


@given(cells_of_grids())
def test_code_is_that_of_the_slow_twin(case):
    assert compressed_morton_code(*case) == slow_code(*case)


@given(cells_of_grids())
def test_code_leads_back_to_its_cell(case):
    cell, shape = case
    assert cell_of_morton_code(compressed_morton_code(cell, shape), shape) == cell


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 2), (1, 9, 1), (4, 1, 6), (8, 8, 8)])
def test_codes_of_a_grid_are_distinct_and_only_they_are_cells(shape):
    codes = {compressed_morton_code(c, shape) for c in itertools.product(*map(range, shape))}
    assert len(codes) == np.prod(shape)
    for code in range(2 ** sum((n - 1).bit_length() for n in shape) + 3):
        if code in codes:
            assert compressed_morton_code(cell_of_morton_code(code, shape), shape) == code
        else:
            with pytest.raises(FormatError, match=f"chunk id {code} is not a chunk"):
                cell_of_morton_code(code, shape)


def test_negative_code_is_no_cell():
    with pytest.raises(FormatError, match="chunk id -1"):
        cell_of_morton_code(-1, (4, 4, 4))


def test_cell_outside_of_the_grid_has_no_code():
    with pytest.raises(InputError, match="there is no chunk"):
        compressed_morton_code((4, 0, 0), (4, 4, 4))


def test_grid_of_64_bits_is_taken_and_of_65_refused():
    shape = (2**22, 2**21, 2**21)
    last = (2**22 - 1, 2**21 - 1, 2**21 - 1)
    assert compressed_morton_code(last, shape) == 2**64 - 1
    assert cell_of_morton_code(2**64 - 1, shape) == last
    with pytest.raises(InputError, match="needs 65 bits"):
        compressed_morton_code((0, 0, 0), (2**22, 2**22, 2**21))


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 1), (1, -4, 1)])
def test_grid_without_cells_is_refused(shape):
    with pytest.raises(InputError, match="1 or more chunks"):
        cell_of_morton_code(0, shape)


@given(shapes, st.lists(st.integers(0, 2**64 - 1), max_size=20), st.integers(0, 64))
def test_many_codes_at_once_are_those_one_by_one(shape, codes, shift):
    codes = np.array(codes, np.uint64) if shift == 64 else np.array(codes, np.uint64) >> shift
    cells, exists = cells_of_morton_codes(codes, shape)
    for code, cell, is_cell in zip(codes.tolist(), cells.tolist(), exists, strict=True):
        if is_cell:
            assert cell_of_morton_code(code, shape) == tuple(cell)
        else:
            with pytest.raises(FormatError):
                cell_of_morton_code(code, shape)
    assert compressed_morton_codes(cells[exists], shape).tolist() == codes[exists].tolist()


@pytest.mark.parametrize("shape", [(5, 3, 2), (1, 9, 1), (4, 1, 6), (17, 16, 15), (1, 1, 2)])
def test_codes_are_those_of_cloudvolume(shape):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudvolume.datasource.precomputed import common
    cells = np.array(list(itertools.product(*map(range, shape))), np.uint64)
    theirs = common.compressed_morton_code(cells, shape)
    assert compressed_morton_codes(cells, shape).tolist() == theirs.tolist()
