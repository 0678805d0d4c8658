from __future__ import annotations

import contextlib
import io
import struct
import sys
import zlib

import numpy as np
import pytest
import thorough
from encoding_contract import EncodingContract, mutants, smooth_voxels
from PIL import Image

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.precomputed.encodings.png import PngEncoding

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png(*parts):
    """Put a PNG together from (name, content) parts, with valid lengths and checksums."""
    return SIGNATURE + b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )


def header(width, height, bits=8, colour=0, rest=b"\0\0\0"):
    return b"IHDR", struct.pack(">IIBB", width, height, bits, colour) + rest


@pytest.fixture
def grey():
    return PngEncoding(np.dtype("uint8"), 1)


class TestPng(EncodingContract):
    kinds = (
        *(("uint8", channels) for channels in (1, 2, 3, 4)),
        *(("uint16", channels) for channels in (1, 2, 3, 4)),
    )

    def make(self, dtype, channels):
        return PngEncoding(dtype, channels)

    def test_picture_is_as_wide_as_x_and_as_high_as_y_times_z(self, grey):
        chunk = smooth_voxels((5, 3, 2, 1), "uint8")
        with Image.open(io.BytesIO(grey.encode(chunk))) as picture:
            assert picture.size == (5, 6)
            np.testing.assert_array_equal(np.asarray(picture).ravel(), chunk.ravel(order="F"))

    def test_sixteen_bits_of_three_channels_keep_all_their_bits(self):
        chunk = np.arange(5 * 4 * 3 * 3, dtype=np.uint16).reshape(5, 4, 3, 3) * 257 + 1
        encoding = PngEncoding(np.dtype("uint16"), 3)
        np.testing.assert_array_equal(encoding.decode(encoding.encode(chunk), chunk.shape), chunk)

    def test_sixteen_bits_of_several_channels_name_the_extra_they_need(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "imagecodecs", None)
        with pytest.raises(
            MissingExtraError, match=r"pip install 'ngcore-neuroglancer\[formats\]'"
        ):
            PngEncoding(np.dtype("uint16"), 2)

    @pytest.mark.parametrize(("dtype", "channels"), [("uint32", 1), ("int8", 1), ("uint8", 5)])
    def test_what_png_can_not_hold_is_refused(self, dtype, channels):
        with pytest.raises(InputError, match="use raw"):
            PngEncoding(np.dtype(dtype), channels)

    def test_any_width_and_height_are_decoded(self, grey):
        chunk = smooth_voxels((4, 3, 2, 1), "uint8")
        for width in (1, 2, 6, 24):
            file = io.BytesIO()
            Image.fromarray(chunk.ravel(order="F").reshape(-1, width)).save(file, "PNG")
            np.testing.assert_array_equal(grey.decode(file.getvalue(), chunk.shape), chunk)

    def test_interlaced_picture_is_decoded(self, grey):
        # Adam7 of 2 x 1 pixels: pass 1 holds the first, pass 6 the second.
        rows = zlib.compress(b"\0\x07\0\x09")
        data = png(header(2, 1, rest=b"\0\0\1"), (b"IDAT", rows), (b"IEND", b""))
        assert grey.decode(data, (2, 1, 1, 1)).ravel().tolist() == [7, 9]

    def test_header_that_claims_a_huge_picture_is_refused_before_decompression(self, grey):
        data = png(
            header(2**31 - 1, 2**31 - 1), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")
        )
        with pytest.raises(FormatError, match="2147483647 x 2147483647 pixels, but"):
            grey.decode(data, (4, 4, 4, 1))

    def test_interlaced_pictures_of_any_size_are_decoded(self, grey):
        # Each pass of zeros: as many bytes as its rows have, with a filter byte before each row.
        for width, height, size in ((1, 1, 2), (8, 8, 64 + 15), (5, 3, 15 + 7), (3, 5, 15 + 10)):
            rows = zlib.compress(bytes(size))
            data = png(header(width, height, rest=b"\0\0\1"), (b"IDAT", rows), (b"IEND", b""))
            assert not grey.decode(data, (width, height, 1, 1)).any()

    def test_palette_or_few_bits_are_refused(self, grey):
        for bits, colour in ((1, 0), (4, 0), (8, 3), (16, 0), (8, 2), (8, 9)):
            data = png(
                header(4, 16, bits, colour), (b"IDAT", zlib.compress(bytes(999))), (b"IEND", b"")
            )
            with pytest.raises(FormatError, match=f"{bits} bits,? (and )?colour type {colour}"):
                grey.decode(data, (4, 4, 4, 1))

    def test_sixteen_bit_colour_is_not_silently_cut_to_eight(self):
        wide = PngEncoding(np.dtype("uint16"), 3).encode(np.ones((2, 2, 2, 3), np.uint16))
        with pytest.raises(FormatError, match="16 bits"):
            PngEncoding(np.dtype("uint8"), 3).decode(wide, (2, 2, 2, 3))

    def test_text_bomb_is_never_unpacked(self, grey):
        chunk = smooth_voxels((4, 3, 2, 1), "uint8")
        data = grey.encode(chunk)
        text = b"zTXt", b"bomb\0\0" + zlib.compress(bytes(200_000_000), 9)
        bomb = data[:33] + png(text)[8:] + data[33:]
        np.testing.assert_array_equal(grey.decode(bomb, chunk.shape), chunk)

    def test_pixels_that_are_too_few_are_refused(self, grey):
        data = png(header(4, 16), (b"IDAT", zlib.compress(bytes(5 * 15))), (b"IEND", b""))
        with pytest.raises(FormatError, match="must decompress to 80 bytes"):
            grey.decode(data, (4, 4, 4, 1))

    @pytest.mark.parametrize(
        "parts",
        [
            [(b"IEND", b"")],
            [header(4, 16), (b"IEND", b"")],
            [header(4, 16), header(9, 9), (b"IEND", b"")],
            [(b"IHDR", b"short"), (b"IEND", b"")],
            [header(4, 16, rest=b"\1\0\0"), (b"IEND", b"")],
            [header(4, 16), (b"IDAT", b""), (b"IEND", b"")],
        ],
    )
    def test_pictures_without_sound_parts_are_refused(self, grey, parts):
        with pytest.raises(FormatError):
            grey.decode(png(*parts), (4, 4, 4, 1))

    def test_anything_after_the_end_is_refused(self, grey):
        chunk = smooth_voxels((4, 3, 2, 1), "uint8")
        with pytest.raises(FormatError, match="png ends at byte"):
            grey.decode(grey.encode(chunk) + b"\0", chunk.shape)

    def test_damage_that_checksums_do_not_show_never_crashes(self):
        for dtype, channels, encoding in self.each_kind():
            chunk = smooth_voxels((16, 9, 5, channels), dtype)
            data = encoding.encode(chunk)
            pixels = data[data.index(b"IDAT") + 4 : -16]
            start = data[16 : 33 - 4]
            for mutant in mutants(pixels, thorough.amount(120, 20_000)):
                with contextlib.suppress(FormatError):
                    damaged = png((b"IHDR", start), (b"IDAT", mutant), (b"IEND", b""))
                    assert encoding.decode(damaged, chunk.shape).shape == chunk.shape
