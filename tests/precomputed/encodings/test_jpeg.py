from __future__ import annotations

import io

import numpy as np
import pytest
from encoding_contract import EncodingContract, smooth_voxels
from PIL import Image

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.encodings.jpeg import JpegEncoding, picture_size


@pytest.fixture
def grey():
    return JpegEncoding(np.dtype("uint8"), 1)


def saved(picture, **options):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", **options)
    return file.getvalue()


class TestJpeg(EncodingContract):
    kinds = (("uint8", 1), ("uint8", 3))
    is_lossless = False

    def make(self, dtype, channels):
        return JpegEncoding(dtype, channels)

    def test_channels_stay_apart(self):
        chunk = np.zeros((8, 8, 8, 3), np.uint8)
        chunk[..., 0], chunk[..., 1], chunk[..., 2] = 250, 120, 10
        encoding = JpegEncoding(np.dtype("uint8"), 3, quality=100)
        decoded = encoding.decode(encoding.encode(chunk), chunk.shape)
        np.testing.assert_allclose(decoded, chunk, atol=2)

    def test_colour_is_stored_at_full_resolution(self):
        chunk = smooth_voxels((16, 16, 2, 3), "uint8")
        with Image.open(io.BytesIO(self.make(np.dtype("uint8"), 3).encode(chunk))) as picture:
            assert {component[1:3] for component in picture.layer} == {(1, 1)}

    def test_plane_chooses_the_picture(self):
        chunk = smooth_voxels((10, 20, 30, 1), "uint8")
        for plane, size in (("xy", (10, 600)), ("xz", (200, 30))):
            data = JpegEncoding(np.dtype("uint8"), 1, plane=plane).encode(chunk)
            with Image.open(io.BytesIO(data)) as picture:
                assert picture.size == size

    @pytest.mark.parametrize("plane", ["xy", "xz"])
    @pytest.mark.parametrize(
        "shape", [(1, 256, 257), (257, 256, 1), (2, 300, 300), (1, 1, 70_000), (65_500, 2, 1)]
    )
    def test_no_side_is_longer_than_jpeg_allows(self, plane, shape):
        width, height = picture_size(shape, plane)
        assert width * height == np.prod(shape)
        assert max(width, height) <= 65_500
        chunk = smooth_voxels((*shape, 1), "uint8")
        encoding = JpegEncoding(np.dtype("uint8"), 1, plane=plane)
        assert encoding.decode(encoding.encode(chunk), chunk.shape).shape == chunk.shape

    def test_chunk_that_no_picture_holds_is_refused(self, grey):
        with pytest.raises(InputError, match="use another chunk size"):
            grey.encode(np.zeros((1, 1, 65_519, 1), np.uint8))

    def test_any_width_and_height_are_decoded(self, grey):
        chunk = np.full((4, 3, 2, 1), 77, np.uint8)
        for width in (1, 2, 6, 24):
            data = saved(chunk.reshape(-1, width))
            np.testing.assert_array_equal(grey.decode(data, chunk.shape), chunk)

    def test_progressive_picture_is_decoded(self, grey):
        chunk = np.full((4, 3, 2, 1), 77, np.uint8)
        data = saved(chunk.reshape(6, 4), progressive=True)
        np.testing.assert_array_equal(grey.decode(data, chunk.shape), chunk)

    def test_higher_quality_is_closer(self):
        chunk = np.random.default_rng(0).integers(0, 255, (16, 16, 16, 1), np.uint8)
        errors = []
        for quality in (1, 50, 100):
            encoding = JpegEncoding(np.dtype("uint8"), 1, quality)
            decoded = encoding.decode(encoding.encode(chunk), chunk.shape)
            errors.append(np.abs(decoded.astype(int) - chunk).mean())
        assert errors[0] > errors[1] > errors[2]

    @pytest.mark.parametrize("quality", [0, 101, -5])
    def test_quality_is_1_to_100(self, quality):
        with pytest.raises(InputError, match="1 to 100"):
            JpegEncoding(np.dtype("uint8"), 1, quality)

    def test_plane_is_xy_or_xz(self):
        with pytest.raises(InputError, match="xy or xz"):
            JpegEncoding(np.dtype("uint8"), 1, plane="yz")

    @pytest.mark.parametrize(("dtype", "channels"), [("uint16", 1), ("int8", 1), ("uint8", 2)])
    def test_what_jpeg_can_not_hold_is_refused(self, dtype, channels):
        with pytest.raises(InputError, match="use raw"):
            JpegEncoding(np.dtype(dtype), channels)

    def test_picture_of_other_channels_is_refused(self, grey):
        for mode in ("RGB", "CMYK"):
            file = io.BytesIO()
            Image.new(mode, (4, 6)).save(file, "JPEG")
            data = file.getvalue()
            with pytest.raises(FormatError, match="has mode"):
                grey.decode(data, (4, 3, 2, 1))

    def test_header_that_claims_a_huge_picture_is_refused_before_decompression(self, grey):
        data = bytearray(saved(np.zeros((6, 4), np.uint8)))
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = b"\xff\xdc\xff\xdc"
        with pytest.raises(FormatError, match="65500 x 65500 pixels, but"):
            grey.decode(data, (4, 3, 2, 1))

    def test_picture_whose_pixels_are_cut_short_is_refused_even_with_an_end_marker(self, grey):
        chunk = np.random.default_rng(0).integers(0, 255, (64, 64, 1, 1), np.uint8)
        data = grey.encode(chunk)
        with pytest.raises(FormatError):
            grey.decode(data[: len(data) // 2], chunk.shape)

    def test_picture_of_endless_scans_is_refused(self, grey):
        data = saved(np.zeros((6, 4), np.uint8), progressive=True)
        at = data.rindex(b"\xff\xda")
        endless = data[:at] + data[at:-2] * 1000 + data[-2:]
        with pytest.raises(FormatError, match="scans"):
            grey.decode(endless, (4, 3, 2, 1))
