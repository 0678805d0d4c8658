import itertools
import json
import struct
import subprocess
import sys
import uuid

import numpy as np
import pytest
import tifffile
from planes import planes_box
from slice_stacks import CODES, random_volume, read_all, slices_of
from source_contract import SourceContract
from thorough import IS_THOROUGH
from tiff_stacks import COMPRESSIONS, read_stack, write_stack

from ngcore.errors import FormatError, InputError
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.slices.folder import SlicesSource
from ngcore.sources.slices.lzw import decode_lzw
from ngcore.sources.slices.tiff import TiffStackSource, open_tiff_stack

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


class TestOmeTiff(SourceContract):
    format_name = "TIFF"
    file_name = "a.ome.tif"
    keeps_sizes = True

    def write(self, path, values, affine):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        names = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", sizes, strict=True)}
        units = {f"PhysicalSize{axis}Unit": "mm" for axis in "XYZ"}
        tifffile.imwrite(path, slices_of(values), metadata={"axes": "ZYX", **names, **units})


@pytest.mark.parametrize("code", CODES)
def test_stack_in_every_orientation_comes_back_as_the_same_volume(tmp_path, code):
    volume = random_volume((5, 7, 9), np.uint16)
    path = write_stack(tmp_path / "a.tif", slices_of(volume, code), compression="zlib")
    assert np.array_equal(read_stack(path, input_orientation=code)[..., 0], volume)


LAYOUTS = [{}, {"tile": (16, 16)}, {"rowsperstrip": 4}]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, *COMPRESSIONS])
def test_every_type_and_compression_keeps_its_values(tmp_path, dtype, byte_order, compression):
    planes = random_volume((3, 21, 33), dtype)
    # In quick runs each layout goes with a third of the types, byte orders and compressions.
    place = DTYPES.index(dtype) + [None, *COMPRESSIONS].index(compression) + (byte_order == ">")
    layouts = LAYOUTS if IS_THOROUGH else [LAYOUTS[place % len(LAYOUTS)]]
    for number, options in enumerate(layouts):
        path = write_stack(
            tmp_path / f"{number}.tif",
            planes,
            compression=compression,
            byteorder=byte_order,
            **options,
        )
        volume = read_stack(path)
        assert volume.dtype == np.dtype(dtype)
        assert np.array_equal(volume[..., 0].T, planes)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd"])
@pytest.mark.parametrize("predictor", [2, 3])
def test_predictors_are_undone(tmp_path, dtype, byte_order, compression, predictor):
    if (predictor == 3) != (dtype in ("f4", "f8")):
        pytest.skip("predictor 3 is for floating point, 2 for integers")
    planes = random_volume((2, 21, 33, 3), dtype)
    path = write_stack(
        tmp_path / "a.tif",
        planes,
        photometric="rgb",
        compression=compression,
        predictor=predictor,
        byteorder=byte_order,
    )
    assert np.array_equal(read_stack(path).transpose(2, 1, 0, 3), planes)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_rgb_pages_are_three_channels(tmp_path, planar, compression, tile):
    planes = random_volume((3, 21, 33, 3), np.uint16)
    stored = planes if planar == "contig" else np.moveaxis(planes, -1, 1)
    path = write_stack(
        tmp_path / "a.tif",
        stored,
        photometric="rgb",
        planarconfig=planar,
        compression=compression,
        tile=tile,
    )
    assert np.array_equal(read_stack(path).transpose(2, 1, 0, 3), planes)


def test_jpeg_in_tiff_is_what_tifffile_decodes(tmp_path):
    planes = random_volume((2, 32, 48, 3))
    path = write_stack(tmp_path / "a.tif", planes, photometric="rgb", compression="jpeg")
    assert np.array_equal(read_stack(path).transpose(2, 1, 0, 3), tifffile.imread(path))


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
def test_1_bit_pages_become_zeros_and_ones(tmp_path, compression):
    planes = random_volume((2, 9, 13)) > 127
    path = write_stack(tmp_path / "a.tif", planes, compression=compression)
    volume = read_stack(path)
    assert volume.dtype == np.uint8
    assert np.array_equal(volume[..., 0].T, planes)


@pytest.mark.parametrize(
    "options",
    [
        {"bigtiff": True},
        {"metadata": None},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"contiguous": False, "metadata": None},
    ],
    ids=["BigTIFF", "plain", "ImageJ", "OME", "pages"],
)
def test_stack_of_every_kind_of_file_is_read(tmp_path, options):
    planes = random_volume((6, 9, 13), np.uint16)
    path = write_stack(tmp_path / "a.tif", planes, **options)
    volume = read_stack(path)
    assert np.array_equal(volume[..., 0].T, planes)


def test_imagej_stack_with_tags_of_its_first_page_only_is_read(tmp_path):
    # as ImageJ writes stacks of more than 4 GiB: the pixels of other pages just follow
    planes = random_volume((6, 9, 13), np.uint16)
    path = tmp_path / "a.tif"
    description = "ImageJ=1.53t\nimages=6\nslices=6\n"
    with tifffile.TiffWriter(path) as writer:
        writer.write(planes[0], description=description, metadata=None)
    with path.open("ab") as file:
        with tifffile.TiffFile(path) as tiff:
            offset = tiff.pages[0].dataoffsets[0]
        if path.stat().st_size != offset + planes[0].nbytes:
            pytest.skip("this tifffile writes pixels before tags")
        file.write(planes[1:].tobytes())
    assert np.array_equal(read_stack(path)[..., 0].T, planes)


@pytest.mark.parametrize("is_big", [False, True])
def test_pages_that_were_written_one_by_one_are_a_stack(tmp_path, is_big):
    planes = random_volume((5, 9, 13))
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=is_big) as writer:
        for plane in planes:
            writer.write(plane, compression="zlib")
    for plane in planes:
        tifffile.imwrite(tmp_path / "b.tif", plane, append=True)
    assert np.array_equal(read_stack(tmp_path / "a.tif")[..., 0], planes.T)
    assert np.array_equal(read_stack(tmp_path / "b.tif")[..., 0], planes.T)


@pytest.mark.parametrize("nodata", [None, 7])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiles_that_were_left_out_hold_the_fill_value(tmp_path, nodata, compression):
    volume = np.full((3, 64, 64), nodata or 0, np.uint16)
    volume[0, 3:9, 3:9] = 77
    volume[1, 20:30, 20:30] = 500

    def tiles():
        for plane in volume:
            for y, x in itertools.product((0, 32), (0, 32)):
                tile = plane[y : y + 32, x : x + 32]
                yield tile if (tile != (nodata or 0)).any() else None

    extra = [] if nodata is None else [(42113, "s", 0, str(nodata), False)]
    path = write_stack(
        tmp_path / "a.tif", tiles(), shape=volume.shape, dtype=volume.dtype, tile=(32, 32),
        compression=compression, extratags=extra,
    )  # fmt: skip
    assert np.array_equal(read_stack(path)[..., 0], volume.T)


def multi_file(folder, planes, *, left_out=()):
    names = [f"im_{number:03d}.ome.tif" for number in range(len(planes))]
    for number, name in enumerate(names):
        data = "".join(
            f'<TiffData IFD="0" FirstZ="{i}" FirstC="0" FirstT="0" PlaneCount="1"><UUID '
            f'FileName="{n}">urn:uuid:{uuid.uuid5(uuid.NAMESPACE_DNS, n)}</UUID></TiffData>'
            for i, n in enumerate(names)
        )
        rows, columns = planes.shape[1:]
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/'
            f'Schemas/OME/2016-06" UUID="urn:uuid:{uuid.uuid5(uuid.NAMESPACE_DNS, name)}"><Image '
            'ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
            f'SizeX="{columns}" SizeY="{rows}" SizeZ="{len(planes)}" SizeC="1" SizeT="1" '
            'PhysicalSizeX="4" PhysicalSizeXUnit="nm" PhysicalSizeY="4" PhysicalSizeYUnit="nm" '
            'PhysicalSizeZ="40" PhysicalSizeZUnit="nm"><Channel ID="Channel:0:0" '
            f'SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
        )
        if number not in left_out:
            write_stack(folder / name, planes[number], description=xml.encode(), metadata=None)
    return folder / names[0]


def test_an_image_in_several_files_is_read_from_any_of_them(tmp_path):
    planes = random_volume((4, 20, 24), np.uint16)
    path = multi_file(tmp_path, planes)
    for one in (path, tmp_path / "im_002.ome.tif"):
        with open_tiff_stack(one, one.name) as source:
            assert source.header.resolution_nm == (4, 4, 40)
            assert len(source.header.files) >= 4
            assert np.array_equal(read_all(source)[..., 0], planes.T)
    with SlicesSource([tmp_path]) as source:
        assert source.header.resolution_nm == (4, 4, 40)


def test_a_file_that_is_missing_of_several_is_named(tmp_path):
    path = multi_file(tmp_path, random_volume((4, 20, 24), np.uint16), left_out=[2])
    with pytest.raises(FormatError, match=r"page 2 of 4 is missing; .* put all of them beside"):
        TiffStackSource(path)


def test_orientation_of_slices_goes_into_the_affine(tmp_path):
    path = write_stack(tmp_path / "a.tif", random_volume((5, 9, 13)))
    asked = AskedGeometry((1e6, 2e6, 3e6))
    with open_tiff_stack(path, "a.tif", input_orientation="RIA", asked=asked) as source:
        assert source.shape == (13, 5, 9, 1)
        assert np.array_equal(source.header.affine_voxel_to_mm, np.diag([1.0, 2, 3, 1]))
    with open_tiff_stack(path, "a.tif", asked=asked) as source:
        assert source.header.affine_voxel_to_mm is None


@pytest.mark.parametrize(
    ("unit", "nanometres"), [("nm", 1), ("µm", 1000), ("mm", 1e6), ("Å", 0.1), (None, 1000)]
)
def test_ome_physical_sizes_give_the_resolution(tmp_path, unit, nanometres):
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 2.0, "PhysicalSizeZ": 3.0}
    if unit is not None:
        sizes |= {f"PhysicalSize{axis}Unit": unit for axis in "XYZ"}
    path = write_stack(
        tmp_path / "a.ome.tif", random_volume((5, 9, 13)), metadata={"axes": "ZYX", **sizes}
    )
    with TiffStackSource(path, input_orientation="ASR") as source:
        expected = (3.0 * nanometres, 0.5 * nanometres, 2.0 * nanometres)
        assert source.header.resolution_nm == pytest.approx(expected)
    with TiffStackSource(path, asked=AskedGeometry((1.0, 2.0, 3.0))) as source:
        assert source.header.resolution_nm == (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    "sizes",
    [
        {"PhysicalSizeX": 0.5, "PhysicalSizeY": 2.0},
        {
            **{f"PhysicalSize{axis}": 1.0 for axis in "XYZ"},
            **{f"PhysicalSize{axis}Unit": "pixel" for axis in "XYZ"},
        },
    ],
    ids=["no Z", "unknown unit"],
)
def test_incomplete_ome_sizes_give_no_resolution(tmp_path, sizes):
    path = write_stack(
        tmp_path / "a.ome.tif", random_volume((5, 9, 13)), metadata={"axes": "ZYX", **sizes}
    )
    with TiffStackSource(path) as source:
        assert source.header.resolution_nm is None


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"unit": "um"}, (500, 250, 3000)),
        ({"unit": "\\u00B5m", "yunit": "nm", "zunit": "mm"}, (500, 0.25, 3e6)),
        ({"unit": "micron", "zunit": "nm"}, (500, 250, 3)),
        ({"unit": "microns"}, (500, 250, 3000)),
    ],
)
def test_imagej_spacing_gives_the_resolution(tmp_path, units, expected):
    path = write_stack(
        tmp_path / "a.tif",
        random_volume((5, 9, 13)),
        imagej=True,
        resolution=(2, 4),
        metadata={**units, "spacing": 3.0},
    )
    with TiffStackSource(path) as source:
        assert source.header.resolution_nm == pytest.approx(expected)


def test_dots_per_inch_are_no_resolution(tmp_path):
    path = write_stack(tmp_path / "a.tif", random_volume((5, 9, 13)), resolution=(72, 72))
    with TiffStackSource(path) as source:
        assert source.header.resolution_nm is None


def test_single_page_is_one_slice(tmp_path):
    plane = random_volume((9, 13))
    volume = read_stack(write_stack(tmp_path / "a.tif", plane))
    assert np.array_equal(volume[:, :, 0, 0].T, plane)


def test_thumbnail_and_coarser_levels_are_passed_over(tmp_path):
    planes = random_volume((5, 64, 64))
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "minisblack"}
        writer.write(planes, subifds=1, metadata={"axes": "ZYX"}, **options)
        writer.write(planes[:, ::2, ::2], subfiletype=1, **options)
    assert np.array_equal(read_stack(path)[..., 0].T, planes)


def test_page_unlike_the_others_is_named(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for number in range(9):
            shape = (8, 12) if number == 5 else (12, 8)
            writer.write(random_volume(shape), contiguous=False, metadata=None)
    with pytest.raises(InputError, match=r"page 5: 12 x 8 pixels .* first page is of 8 x 12"):
        read_stack(path)


def test_two_images_in_one_file_are_refused(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as writer:
        for columns in (12, 16):
            volume = random_volume((3, 9, columns))
            writer.write(volume, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(InputError, match="holds 2 images"):
        TiffStackSource(path)


def test_a_page_that_viewers_turn_is_taken_as_stored_with_a_note(tmp_path):
    plane = random_volume((9, 13))
    path = write_stack(tmp_path / "0.tif", plane, extratags=[(274, "H", 1, 6, True)])
    with TiffStackSource(path) as source:
        assert "orientation tag (6)" in source.header.notes[0]
        assert source.shape[:2] == (13, 9)
    path = write_stack(tmp_path / "1.tif", plane, extratags=[(274, "H", 1, 1, True)])
    with TiffStackSource(path) as source:
        assert not source.header.notes


def test_palette_and_white_zero_are_taken_as_stored_with_a_note(tmp_path):
    plane = random_volume((9, 13))
    colours = random_volume((3, 256), np.uint16)
    for number, options in enumerate(
        [{"photometric": "palette", "colormap": colours}, {"photometric": "miniswhite"}]
    ):
        path = write_stack(tmp_path / f"{number}.tif", plane, **options)
        with TiffStackSource(path) as source:
            assert "values" in source.header.notes[0]
            assert np.array_equal(read_all(source)[:, :, 0, 0].T, plane)


def test_complex_pixels_are_refused(tmp_path):
    path = write_stack(tmp_path / "a.tif", np.zeros((9, 13), np.complex64))
    with pytest.raises(InputError, match="complex64"):
        TiffStackSource(path)


def test_volume_within_a_page_is_refused(tmp_path):
    path = write_stack(
        tmp_path / "a.tif", random_volume((16, 16, 16)), volumetric=True, tile=(16, 16, 16)
    )
    with pytest.raises(InputError, match="itself a volume"):
        TiffStackSource(path)


def test_planes_that_lie_as_samples_within_a_page_are_planes(tmp_path):
    # what tifffile makes of three or four planes whose meaning it is not told
    path = tmp_path / "a.tif"
    planes = random_volume((4, 6, 8), np.uint16)
    tifffile.imwrite(path, planes, photometric="rgb", metadata={"axes": "ZYX"})
    assert np.array_equal(read_stack(path)[..., 0], planes.T)


def test_windows_of_compressed_pages_are_said_to_cost_whole_pages(tmp_path):
    planes = random_volume((3, 9, 13))
    for compression in (None, "zlib"):
        path = write_stack(tmp_path / f"{compression}.tif", planes, compression=compression)
        with TiffStackSource(path) as source:
            assert source.cost.is_concurrent
            assert (source.cost.access == "whole planes") == (compression is not None)


def test_window_of_tiles_is_read(tmp_path):
    planes = random_volume((3, 70, 90), np.uint16)
    path = write_stack(tmp_path / "a.tif", planes, tile=(16, 32), compression="zlib")
    out = np.empty((21, 40, 2, 1), np.uint16)
    with TiffStackSource(path) as source:
        source.read(planes_box(source, 1, 3, (slice(30, 51), slice(17, 57))), out)
    assert np.array_equal(out[..., 0].T, planes[1:, 17:57, 30:51])


WITHOUT_IMAGECODECS = """
import json, sys
sys.modules["imagecodecs"] = None
from pathlib import Path
import numpy as np
from ngcore.errors import MissingExtraError
from ngcore.sources.slices.tiff import TiffStackSource, open_tiff_stack

results = {}
for path in sorted(Path(sys.argv[1]).glob("*.tif")):
    try:
        with TiffStackSource(path) as source:
            volume = np.empty(source.shape, source.dtype)
            source.read(source.header.bounds, volume)
        results[path.name] = np.array_equal(volume, np.load(path.with_suffix(".npy")))
    except MissingExtraError as error:
        results[path.name] = str(error)
print(json.dumps(results))
"""


def test_without_imagecodecs_deflate_lzw_and_packbits_are_read_and_others_name_the_extra(tmp_path):
    expected = {}
    for dtype in ("u1", "i2", "u4", "f4"):
        for byte_order in "<>":
            for compression in (None, "zlib", "lzw", "packbits", "zstd"):
                for predictor in (1, 2) if compression in ("zlib", "lzw") else (1,):
                    for tile in (None, (16, 16)):
                        name = f"{len(expected)}.tif"
                        planes = random_volume((2, 21, 33), dtype)
                        # tifffile itself would choose predictor 3 for floating point
                        kind = planes.view(f"u{planes.itemsize}") if predictor == 2 else planes
                        write_stack(
                            tmp_path / name,
                            kind,
                            byteorder=byte_order,
                            compression=compression,
                            predictor=predictor if predictor > 1 else None,
                            tile=tile,
                        )
                        volume = kind.transpose(2, 1, 0)[..., np.newaxis]
                        np.save(tmp_path / name.replace("tif", "npy"), volume)
                        expected[name] = compression
    mask = random_volume((2, 9, 13)) > 127
    write_stack(tmp_path / "mask.tif", mask, compression="lzw")
    np.save(tmp_path / "mask.npy", mask.transpose(2, 1, 0)[..., np.newaxis])
    output = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_IMAGECODECS, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    results = json.loads(output)
    assert results.pop("mask.tif") is True
    for name, compression in expected.items():
        if compression == "zstd":
            assert 'pip install "ngcore-neuroglancer[formats]"' in results[name]
        else:
            assert results[name] is True, name


def test_lzw_that_ends_early_is_an_error_without_imagecodecs_too():
    encoded = struct.pack(">I", 0x80000000)
    with pytest.raises((OSError, FormatError)):
        decode_lzw(encoded, 100, 100)
