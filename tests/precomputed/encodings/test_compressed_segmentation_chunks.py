from __future__ import annotations

import numpy as np
import pytest
from encoding_contract import EncodingContract, smooth_voxels

import ngcore.compressed_segmentation
from ngcore.errors import InputError
from ngcore.precomputed.encodings.compressed_segmentation import CompressedSegmentationEncoding


class TestCompressedSegmentation(EncodingContract):
    kinds = (("uint32", 1), ("uint64", 1), ("uint64", 3))

    def make(self, dtype, channels):
        return CompressedSegmentationEncoding(dtype, channels)

    def test_bytes_are_those_of_the_public_function(self):
        chunk = smooth_voxels((20, 9, 5, 1), "uint64")
        for block_size in ((8, 8, 8), (4, 8, 2)):
            encoding = CompressedSegmentationEncoding(np.dtype("uint64"), 1, block_size)
            expected = ngcore.compressed_segmentation.encode(chunk, block_size=block_size)
            assert encoding.encode(chunk) == expected
            np.testing.assert_array_equal(encoding.decode(expected, chunk.shape), chunk)

    def test_labels_that_fill_64_bits_come_back(self):
        chunk = np.full((3, 3, 3, 1), 2**64 - 1, np.uint64)
        chunk[0, 0, 0] = 2**62 + 1
        encoding = CompressedSegmentationEncoding(np.dtype("uint64"), 1)
        np.testing.assert_array_equal(encoding.decode(encoding.encode(chunk), chunk.shape), chunk)

    @pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
    def test_types_it_can_not_hold_are_refused(self, dtype):
        with pytest.raises(InputError, match="uint32 or uint64"):
            CompressedSegmentationEncoding(np.dtype(dtype), 1)

    def test_bound_counts_padding_of_partial_blocks(self):
        encoding = CompressedSegmentationEncoding(np.dtype("uint32"), 1, (64, 64, 64))
        chunk = smooth_voxels((2, 1, 1, 1), "uint32")
        assert len(encoding.encode(chunk)) <= encoding.max_encoded_size(chunk.shape)
