"""Colours of segments: the file that keeps them, and those of Neuroglancer's own client."""

import numpy as np
import pytest

from ngcore.errors import FormatError
from ngcore.volume.segment_colours import (
    decode_colours,
    default_colours,
    encode_colours,
    parse_hex,
)


def test_colours_come_back_from_their_file():
    colours = {2**64 - 1: (0, 128, 255), 0: (0, 0, 0), 17: (220, 216, 20)}
    data = encode_colours(colours)
    assert decode_colours(data) == colours
    assert b'"17": "#dcd814"' in data


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b'{"x": "#000000"}',
        b'{"1": "black"}',
        b'{"1": [0, 0, 0]}',
        b'{"1": "#fff"}',
        b'{"18446744073709551616": "#000000"}',
    ],
)
def test_damaged_colours_are_refused(data):
    with pytest.raises(FormatError):
        decode_colours(data)


def test_a_colour_is_six_hexadecimal_digits():
    assert parse_hex("#Ff8000") == parse_hex("ff8000") == (255, 128, 0)
    assert parse_hex("#ff80") is None


def test_colours_without_a_table_are_those_of_the_client():
    segment_colors = pytest.importorskip("neuroglancer.segment_colors")
    ids = np.array([*range(300), 2**32 - 1, 2**32, 2**40 + 7, 2**64 - 1], dtype=np.uint64)
    expected = [segment_colors.hex_string_from_segment_id(0, int(label)) for label in ids]
    assert [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in default_colours(ids)] == expected
