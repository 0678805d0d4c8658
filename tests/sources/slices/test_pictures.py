"""What the pixels of a picture become, and pictures that are damaged or can not be read."""

import struct
import subprocess
import sys
import zlib
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from slice_stacks import (
    as_pixels,
    random_volume,
    read_all,
    read_slices,
    write_picture,
)
from thorough import amount

from ngcore.codecs.png_file import PngCheck
from ngcore.errors import FormatError, InputError, NgcoreError
from ngcore.sources.slices.folder import SlicesSource


@pytest.mark.parametrize(
    "dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
)
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_tiff_slices_keep_every_value_of_their_type(tmp_path, dtype, byte_order):
    planes = random_volume((3, 7, 5), dtype)
    for number, plane in enumerate(planes):
        tifffile.imwrite(tmp_path / f"{number}.tif", plane, byteorder=byte_order)
    volume = read_slices(tmp_path)
    assert volume.dtype == np.dtype(dtype)
    assert np.array_equal(volume[..., 0].T, planes)


@pytest.mark.parametrize(
    ("pixels", "samples"),
    [
        (random_volume((9, 7)), 1),
        (random_volume((9, 7), np.uint16), 1),
        (random_volume((9, 7, 2)), 2),
        (random_volume((9, 7, 3)), 3),
        (random_volume((9, 7, 4)), 4),
    ],
    ids=["grey", "16-bit grey", "grey and alpha", "RGB", "RGBA"],
)
def test_png_pixels_come_back_as_stored(tmp_path, pixels, samples):
    volume = read_slices(write_picture(tmp_path / "0.png", pixels))
    assert volume.dtype == pixels.dtype
    assert volume.shape[3] == samples
    assert np.array_equal(as_pixels(volume), pixels.reshape(9, 7, samples))


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_16_bit_colour_png_keeps_its_low_bits(tmp_path, samples):
    pixels = random_volume((9, 7, samples), np.uint16)
    (tmp_path / "0.png").write_bytes(imagecodecs.png_encode(pixels))
    assert np.array_equal(as_pixels(read_slices(tmp_path)), pixels)


def test_colours_that_are_said_to_be_transparent_make_no_channel(tmp_path):
    # Pillow writes no 16-bit colours
    wide = random_volume((9, 7, 3), np.uint16)
    png = imagecodecs.png_encode(wide)
    clear = b"tRNS" + struct.pack(">3H", *wide[0, 0])
    place = png.index(b"IDAT") - 4
    chunk = struct.pack(">I", 6) + clear + struct.pack(">I", zlib.crc32(clear))
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide/0.png").write_bytes(png[:place] + chunk + png[place:])
    assert np.array_equal(as_pixels(read_slices(tmp_path / "wide")), wide)
    palette = Image.fromarray(random_volume((9, 7, 3))).quantize(16)
    palette.save(tmp_path / "0.png", transparency=bytes(range(16)))
    expected = np.asarray(palette.convert("RGB"))
    assert np.array_equal(as_pixels(read_slices(tmp_path / "0.png")), expected)


def test_1_bit_png_becomes_zeros_and_ones(tmp_path):
    mask = random_volume((9, 13)) > 127
    volume = read_slices(write_picture(tmp_path / "0.png", mask))
    assert volume.dtype == np.uint8
    assert np.array_equal(as_pixels(volume)[..., 0], mask)


def test_palette_png_gives_its_colours_and_says_so(tmp_path):
    picture = Image.fromarray(random_volume((9, 7, 3))).quantize(16)
    picture.save(tmp_path / "0.png")
    with SlicesSource([tmp_path]) as source:
        assert "RGB colours" in source.header.notes[0]
        assert np.array_equal(as_pixels(read_all(source)), np.asarray(picture.convert("RGB")))


def test_a_jpeg_that_viewers_turn_is_taken_as_stored_with_a_note(tmp_path):
    picture = Image.fromarray(random_volume((16, 24)))
    exif = picture.getexif()
    exif[274] = 2
    picture.save(tmp_path / "0.jpg", exif=exif)
    with SlicesSource([tmp_path]) as source:
        assert "orientation tag (2) makes viewers mirror" in source.header.notes[0]
        assert source.shape[:2] == (24, 16)
    picture.save(tmp_path / "0.jpg")
    with SlicesSource([tmp_path]) as source:
        assert not source.header.notes


@pytest.mark.parametrize("name", ["0.jpg", "0.JPEG"])
@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 3)])
def test_jpeg_pixels_are_those_that_pillow_decodes(tmp_path, name, shape):
    path = write_picture(tmp_path / name, random_volume(shape))
    with Image.open(path) as picture:
        expected = np.asarray(picture).reshape(16, 24, -1)
    assert np.array_equal(as_pixels(read_slices(tmp_path)), expected)


def test_interlaced_png_is_read(tmp_path):
    def chunk(name, data):
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    # one pixel: only the first of the seven passes has any
    content = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
    content += chunk(b"IDAT", zlib.compress(b"\0\x2a")) + chunk(b"IEND", b"")
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert read_slices(tmp_path).item() == 42


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("keep", [0, 3, 0.3, 0.7, 0.99])
def test_truncated_slice_is_named(tmp_path, suffix, keep):
    for number in range(3):
        write_picture(tmp_path / f"{number}{suffix}", random_volume((40, 50), seed=number))
    path = tmp_path / f"1{suffix}"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else keep])
    with pytest.raises(FormatError, match=rf"1\{suffix}") as caught:
        read_slices(tmp_path)
    assert "\n" not in str(caught.value)


def test_flipped_bit_in_a_png_is_found(tmp_path):
    path = write_picture(tmp_path / "0.png", random_volume((40, 50)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"0\.png"):
        read_slices(tmp_path)


def test_png_with_too_few_rows_is_refused_though_its_checksums_are_right(tmp_path):
    def chunk(name, data):
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    content = chunk(b"IHDR", struct.pack(">IIBBBBB", 60, 100, 8, 0, 0, 0, 0))
    content += chunk(b"IDAT", zlib.compress(bytes(61 * 99))) + chunk(b"IEND", b"")
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    with pytest.raises(FormatError, match="must decompress to 6100 bytes, not to 6039"):
        read_slices(tmp_path)


def test_cmyk_jpeg_is_refused(tmp_path):
    Image.fromarray(random_volume((8, 8, 3))).convert("CMYK").save(tmp_path / "0.jpg")
    with pytest.raises(InputError, match="grey or RGB, got CMYK"):
        SlicesSource([tmp_path])


def test_file_that_is_no_picture_is_refused(tmp_path):
    for suffix in (".png", ".jpg", ".tif"):
        path = tmp_path / f"0{suffix}"
        path.write_bytes(b"<html>not found</html>" * 10)
        with pytest.raises(FormatError, match=rf"0\{suffix}"):
            SlicesSource([path])


def test_header_that_promises_too_much_is_refused_before_memory_is_taken(tmp_path):
    path = write_picture(tmp_path / "0.png", np.zeros((100, 100), np.uint8))
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 2**30, 2**30)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"0\.png"):
        SlicesSource([tmp_path])


def test_picture_above_pillows_limit_is_read_without_a_warning(tmp_path, monkeypatch):
    pixels = random_volume((300, 400))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    monkeypatch.setattr("ngcore.sources.slices.pictures._TILE_ROWS", 30)
    monkeypatch.setattr("ngcore.sources.slices.pictures._TILE_COLUMNS", 33)
    for name in ("0.png", "0.tif"):
        path = write_picture(tmp_path / name, pixels)
        assert np.array_equal(as_pixels(read_slices(path))[..., 0], pixels)


def test_16_bit_colour_without_imagecodecs_names_the_extra(tmp_path):
    (tmp_path / "0.png").write_bytes(imagecodecs.png_encode(random_volume((9, 7, 3), np.uint16)))
    script = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "import numpy as np\n"
        "from ngcore.errors import MissingExtraError\n"
        "from ngcore.sources.slices.folder import SlicesSource\n"
        "try:\n"
        "    with SlicesSource([sys.argv[1]]) as source:\n"
        "        source.read(source.header.bounds, np.empty(source.shape, source.dtype))\n"
        "except MissingExtraError as error:\n"
        "    print(error)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    ).stdout
    assert 'pip install "ngcore-neuroglancer[formats]"' in output


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("compression", [None, "tiff_adobe_deflate", "tiff_lzw", "packbits"])
def test_bytes_changed_anywhere_give_an_error_or_an_array_of_the_header(
    tmp_path, suffix, compression
):
    if compression is not None and suffix != ".tif":
        pytest.skip("only TIFF has a choice of compression")
    options = {} if compression is None else {"compression": compression}
    path = write_picture(tmp_path / f"0{suffix}", random_volume((30, 20)), **options)
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(amount(60, 3000)):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            with SlicesSource([path]) as source:
                if source.header.byte_count < 10**7:
                    read_all(source)
        except NgcoreError as error:
            assert "\n" not in str(error)  # noqa: PT017 - not all of them are errors


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_pictures_of_labels_give_indices_and_others_colours(tmp_path, bits):
    labels = np.random.default_rng(0).integers(0, 2**bits, (3, 20, 24)).astype(np.uint8)
    palette = np.random.default_rng(1).integers(0, 255, 768, dtype=np.uint8)
    folder = tmp_path / "s_dseg"
    folder.mkdir()
    for number, plane in enumerate(labels):
        picture = Image.frombytes("P", (24, 20), plane.tobytes())
        picture.putpalette(palette.tolist())
        picture.save(folder / f"{number}.png", bits=bits)
    with SlicesSource([folder]) as source:
        assert np.array_equal(read_all(source)[..., 0], labels.T)
        assert "palette's indices" in source.header.notes[0]
    with SlicesSource([folder], is_label=False) as source:
        assert np.array_equal(
            read_all(source), palette.reshape(-1, 3)[labels].transpose(2, 1, 0, 3)
        )


def test_of_many_exif_chunks_of_png_the_first_is_kept():
    def chunk(content):
        start = struct.pack(">I", len(content) - 4)
        return start + content + struct.pack(">I", zlib.crc32(content))

    Image.fromarray(random_volume((9, 7))).save(file := BytesIO(), "png")
    data = file.getvalue()
    others = chunk(b"eXIf" + bytes(1 << 16)) * 50
    file = BytesIO(data[:33] + chunk(b"eXIffirst") + others + data[33:])
    check = PngCheck(file)
    check.check()
    assert check.exif == b"first"


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_pictures_that_viewers_turn_are_warned_of(tmp_path, ending):
    exif = Image.Exif()
    exif[274] = 6
    for number in range(2):
        Image.fromarray(random_volume((9, 7))).save(tmp_path / f"{number}.{ending}", exif=exif)
    (note,) = SlicesSource([tmp_path]).header.notes
    assert "orientation tag (6) makes viewers mirror or turn it" in note


def test_broken_exif_of_png_is_no_fault_of_the_pixels(tmp_path):
    Image.fromarray(pixels := random_volume((9, 7))).save(tmp_path / "0.png")
    data = (tmp_path / "0.png").read_bytes()
    chunk = b"eXIf" + b"MM\0*\0\0\0\x08\0\xff"
    broken = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "0.png").write_bytes(data[:33] + broken + data[33:])
    source = SlicesSource([tmp_path])
    assert source.header.notes == ()
    assert np.array_equal(as_pixels(read_all(source)), pixels.reshape(9, 7, 1))


def test_labels_in_jpeg_are_warned_of(tmp_path):
    Image.fromarray(random_volume((9, 7))).save(tmp_path / "0.jpg")
    assert SlicesSource([tmp_path]).header.notes == ()
    (note,) = SlicesSource([tmp_path], is_label=True).header.notes
    assert "JPEG does not keep values: labels are mixed up" in note


@pytest.mark.parametrize(
    ("photometric", "samples", "name"), [("separated", 4, "CMYK"), ("cielab", 3, "CIE L")]
)
def test_tiff_colours_that_are_not_rgb_are_warned_of(tmp_path, photometric, samples, name):
    pixels = random_volume((9, 7, samples))
    tifffile.imwrite(tmp_path / "0.tif", pixels, photometric=photometric)
    source = SlicesSource([tmp_path])
    (note,) = source.header.notes
    assert f"pixels are {name}" in note
    assert np.array_equal(as_pixels(read_all(source)), pixels)
