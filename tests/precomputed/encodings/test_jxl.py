from __future__ import annotations

import sys

import numpy as np
import pytest
from encoding_contract import EncodingContract, smooth_voxels

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.precomputed.encodings.jxl import JxlEncoding, picture_size

imagecodecs = pytest.importorskip("imagecodecs")


@pytest.fixture
def jxl():
    return JxlEncoding(np.dtype("uint8"), 1)


class TestJxl(EncodingContract):
    kinds = (("uint8", 1),)

    def make(self, dtype, channels):
        return JxlEncoding(dtype, channels)

    @pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("uint16", 1), ("uint8", 2)])
    def test_what_the_client_shows_wrong_is_refused(self, dtype, channels):
        with pytest.raises(InputError, match=f"got {channels} of {dtype}; use png or raw"):
            JxlEncoding(np.dtype(dtype), channels)

    def test_missing_library_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
        with pytest.raises(MissingExtraError, match=r"ngcore-neuroglancer\[formats\]"):
            JxlEncoding(np.dtype("uint8"), 1)

    @pytest.mark.parametrize("container", [False, True])
    @pytest.mark.parametrize(
        "size",
        [(8, 8), (64, 4096), (256, 256), (5, 3), (640, 360), (1, 700), (9000, 2), (16, 9)],
    )
    def test_size_is_read_from_the_header(self, size, container):
        pixels = np.zeros(size[::-1], np.uint8)
        data = imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=container)
        assert picture_size(bytes(data)) == size

    def test_pictures_of_other_kinds_are_refused(self, jxl):
        for other in (np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint16)):
            data = imagecodecs.jpegxl_encode(other, lossless=True)
            with pytest.raises(FormatError, match="one channel of uint8"):
                jxl.decode(data, (6, 2, 2, 1))

    def test_picture_of_another_size_is_refused_before_it_is_decoded(self, jxl):
        data = jxl.encode(smooth_voxels((64, 8, 8, 1), "uint8"))
        with pytest.raises(FormatError, match="64 x 64 pixels, but a chunk of shape"):
            jxl.decode(data, (4, 4, 4, 1))
