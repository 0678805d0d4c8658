from __future__ import annotations

import numpy as np
import pytest
from encoding_contract import EncodingContract

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.errors import FormatError
from ngcore.precomputed.encodings.raw import RawEncoding


class TestRaw(EncodingContract):
    kinds = (*((dtype, 1) for dtype in DATA_TYPES), ("uint16", 3), ("float32", 7))

    def make(self, dtype, channels):
        return RawEncoding(dtype, channels)

    def test_bytes_are_little_endian_x_fastest_and_channel_slowest(self):
        chunk = np.array([[[[1, 5]], [[3, 7]]], [[[2, 6]], [[4, 8]]]], np.uint16)
        assert RawEncoding(np.dtype("uint16"), 2).encode(chunk) == bytes(
            [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0]
        )

    def test_one_byte_too_many_is_refused(self):
        with pytest.raises(FormatError, match="has 16 bytes, got 17"):
            RawEncoding(np.dtype("uint16"), 1).decode(bytes(17), (2, 2, 2, 1))

    def test_nan_keeps_its_bits(self):
        chunk = np.full((1, 1, 1, 1), np.float32(np.nan))
        encoding = RawEncoding(np.dtype("float32"), 1)
        assert np.isnan(encoding.decode(encoding.encode(chunk), chunk.shape)).all()
