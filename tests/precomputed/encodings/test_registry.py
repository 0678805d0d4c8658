from __future__ import annotations

import numpy as np
import pytest
from volumes import make_info

from ngcore.errors import InputError
from ngcore.precomputed.encodings import make_encoding
from ngcore.precomputed.scale_info import ENCODINGS

BLOCK = {"compressed_segmentation_block_size": (4, 8, 2)}


def made(dtype, channels, encoding, members=None, **options):
    info = make_info(np.zeros((2, 2, 2, channels), dtype), encoding=encoding, **(members or {}))
    return make_encoding(info, info.scales[0], **options)


def test_encoding_is_made_for_the_type_and_channels_of_the_volume():
    cases = {
        "raw": ("float32", 5, {}),
        "png": ("uint16", 1, {}),
        "jpeg": ("uint8", 3, {}),
        "jxl": ("uint8", 1, {}),
        "compressed_segmentation": ("uint64", 1, BLOCK),
    }
    assert set(cases) == set(ENCODINGS)
    for encoding, (dtype, channels, members) in cases.items():
        result = made(dtype, channels, encoding, members)
        assert result.name == encoding
        assert (result.dtype, result.channels) == (np.dtype(dtype), channels)


def test_options_of_the_scale_and_of_the_caller_are_heeded():
    assert made("uint32", 1, "compressed_segmentation", BLOCK).block_size == (4, 8, 2)
    jpeg = made("uint8", 1, "jpeg", jpeg_quality=33, jpeg_plane="xz")
    assert (jpeg.quality, jpeg.plane) == (33, "xz")


@pytest.mark.parametrize(
    ("dtype", "encoding", "members"),
    [
        ("uint16", "jpeg", {}),
        ("float32", "png", {}),
        ("uint16", "jxl", {}),
        ("uint8", "compressed_segmentation", BLOCK),
        ("uint8", "jpegxl", {}),
        ("uint8", "kempressed", {}),
    ],
)
def test_impossible_pairs_are_refused(dtype, encoding, members):
    with pytest.raises(InputError):
        made(dtype, 1, encoding, members)
