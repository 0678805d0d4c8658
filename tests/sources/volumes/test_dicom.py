"""DICOM made with pydicom, compared with ITK, and the files that pydicom ships."""

import logging

import numpy as np
import pydicom
import pytest
from dicom_files import dataset, place, write_series
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from source_contract import SourceContract, bad_input_exits_2, itk_places, oblique
from unprivileged import bound_by_permissions
from volume_files import read_all, voxels

import ngcore
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources import open_source
from ngcore.sources.base import Segment


class TestSeries(SourceContract):
    format_name = "DICOM"
    file_name = "series"
    keeps_affine = True
    keeps_sizes = False
    dtypes = ("int16", "uint16", "uint8")

    def write(self, path, values, affine):
        write_series(path, values, affine)

    def reference(self, path, values, affine):
        del values, affine
        return itk_places(path)


AFFINE = oblique("LPS", (0.1, 0.2, -0.1))


def test_shuffled_names_are_sorted_by_their_places_and_nobody_is_named(tmp_path, caplog):
    values = voxels((20, 18, 17))
    folder = write_series(tmp_path / "series", values, AFFINE)
    (folder / "report.txt").write_text("not an image")
    with caplog.at_level(logging.DEBUG):
        volume = ngcore.convert(folder, tmp_path / "out", fsync=False)
    np.testing.assert_array_equal(volume.scales[0][...][..., 0], values)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    written = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    for text in (written.decode("latin-1"), caplog.text):
        assert "Doe" not in text
        assert "SECRET" not in text


def test_missing_slices_are_left_empty_with_a_warning(tmp_path):
    values = voxels((5, 4, 8))
    folder = write_series(tmp_path / "series", values, AFFINE, skip=(2, 5))
    with open_source(folder) as source:
        assert "2 slices are missing (number 3, 6 of 8); left empty" in source.header.notes[0]
        expected = values.copy()
        expected[:, :, [2, 5]] = 0
        np.testing.assert_array_equal(read_all(source)[..., 0], expected)


def test_series_are_named_and_one_is_chosen(tmp_path):
    values = voxels((5, 4, 3))
    write_series(tmp_path / "all", values, AFFINE)
    other = {"SeriesInstanceUID": "1.2.4", "SeriesNumber": 7, "SeriesDescription": "Doe^Jane"}
    write_series(tmp_path / "other", values + 1, AFFINE, **other)
    for path in (tmp_path / "other").iterdir():
        path.rename(tmp_path / "all" / f"{path.name}b")
    with pytest.raises(
        InputError, match=r"several series: 3 \(MR, 3 files\), 7 \(MR, 3 f"
    ) as error:
        open_source(tmp_path / "all")
    assert "Doe" not in str(error.value)
    with open_source(f"{tmp_path}/all:/7") as source:
        np.testing.assert_array_equal(read_all(source)[..., 0], values + 1)
    with pytest.raises(InputNotFoundError, match="no series '9'; it has 3"):
        open_source(f"{tmp_path}/all:/9")
    assert "several series" in bad_input_exits_2(tmp_path / "all", tmp_path / "out")


def test_slices_of_two_sizes_or_directions_or_odd_places_are_refused(tmp_path):
    values = voxels((5, 4, 3))
    folder = write_series(tmp_path / "a", values, AFFINE)
    image = dataset(voxels((9, 9)), **place(AFFINE))
    image.save_as(folder / "other", enforce_file_format=True)
    with pytest.raises(InputError, match=r"several sizes \(5 x 4, 9 x 9\)"):
        open_source(folder)
    turned = oblique("SAL")
    image = dataset(voxels((4, 5)), **place(turned))
    image.save_as(folder / "other", enforce_file_format=True)
    with pytest.raises(InputError, match="several directions"):
        open_source(folder)
    moved = AFFINE.copy()
    moved[:3, 3] = (AFFINE @ [0, 0, 2.5, 1])[:3]
    image = dataset(voxels((4, 5)), **place(moved))
    image.save_as(folder / "other", enforce_file_format=True)
    with pytest.raises(InputError, match="mm apart, so they are not evenly spaced"):
        open_source(folder)


def test_a_tilted_gantry_is_a_sheared_affine(tmp_path):
    sheared = np.diag([-1.0, -1, 2, 1])
    sheared[1, 2] = 0.6
    values = voxels((5, 4, 6))
    folder = tmp_path / "series"
    folder.mkdir()
    straight = np.diag([-1.0, -1, 2, 1])
    for number in range(6):
        moved = straight.copy()
        moved[:3, 3] = (sheared @ [0, 0, number, 1])[:3]
        image = dataset(values[:, :, number].T.copy(), **place(moved))
        image.save_as(folder / str(number), enforce_file_format=True)
    with open_source(folder) as source:
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, sheared, atol=1e-6)
        assert any("sheared" in note for note in source.header.notes)


def test_rescale_is_kept_or_applied_slice_by_slice(tmp_path):
    values = voxels((5, 4, 3))
    folder = write_series(tmp_path / "a", values, AFFINE, RescaleSlope=1, RescaleIntercept=-1024)
    with open_source(folder) as source:
        assert (source.header.slope, source.header.intercept) == (1, -1024)
        np.testing.assert_array_equal(read_all(source)[..., 0], values)
    for path in sorted(folder.iterdir()):
        image = pydicom.dcmread(path)
        image.RescaleSlope = 0.5 * (image.InstanceNumber + 1)
        image.save_as(path)
    with open_source(folder) as source:
        assert source.dtype == np.float32
        expected = values * (0.5 * (np.arange(3) + 2)) - 1024
        np.testing.assert_allclose(read_all(source)[..., 0], expected)


def test_times_become_channels(tmp_path):
    values = voxels((5, 4, 3, 2))
    for time in range(2):
        fields = {"TemporalPositionIdentifier": time + 1}
        write_series(tmp_path / f"{time}", values[..., time], AFFINE, **fields)
    for path in (tmp_path / "1").iterdir():
        path.rename(tmp_path / "0" / f"{path.name}b")
    with open_source(tmp_path / "0") as source:
        np.testing.assert_array_equal(read_all(source), values)
    next((tmp_path / "0").iterdir()).unlink()
    with pytest.raises(InputError, match="1 to 2 slices at one place"):
        open_source(tmp_path / "0")


def groups(values, affine, numbers=None):
    """Return the functional groups of an enhanced multi-frame image."""
    at = place(affine)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = at["ImageOrientationPatient"]
    measures.PixelSpacing, measures.SliceThickness = at["PixelSpacing"], at["SliceThickness"]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    frames = []
    for number in numbers or range(len(values)):
        moved = affine.copy()
        moved[:3, 3] = (affine @ [0, 0, number, 1])[:3]
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = place(moved)["ImagePositionPatient"]
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    return {
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": frames,
    }


def test_enhanced_multi_frame(tmp_path):
    values = voxels((6, 4, 5))  # frame, row, column
    order = [3, 0, 5, 1, 4, 2]
    fields = groups(values, AFFINE, order)
    image = dataset(values, SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", **fields)
    image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with open_source(tmp_path / "a.dcm") as source:
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, AFFINE, atol=1e-6)
        expected = values[np.argsort(order)].transpose(2, 1, 0)
        np.testing.assert_array_equal(read_all(source)[..., 0], expected)
    data = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(data[:-7])
    assert "truncated" in bad_input_exits_2(tmp_path / "a.dcm", tmp_path / "out")


def segmentation(path, masks, numbers, segments, kind="BINARY"):
    """Write frames of bits, each of a segment at a slice."""
    fields = groups(masks, AFFINE, numbers)
    for frame, segment in zip(fields["PerFrameFunctionalGroupsSequence"], segments, strict=True):
        item = Dataset()
        item.ReferencedSegmentNumber = segment
        frame.SegmentIdentificationSequence = [item]
    named = []
    for number, label in ((1, "liver"), (2, "spleen")):
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel = number, label
        item.RecommendedDisplayCIELabValue = [34885, 53485, 50171]
        named.append(item)
    image = dataset(
        masks.astype(np.uint8),
        SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4",
        SegmentationType=kind,
        SegmentSequence=named,
        Modality="SEG",
        **fields,
    )
    image.BitsAllocated = image.BitsStored = 1
    image.HighBit = 0
    bits = np.packbits(masks.ravel(), bitorder="little").tobytes()
    image.PixelData = bits + bytes(len(bits) % 2)
    image.save_as(path, enforce_file_format=True)
    return path


def test_segmentations_bring_their_names(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (5, 3, 7)).astype(np.uint8)  # slice, row, column: odd bits
    labels[3] = 0
    masks = np.concatenate([labels == 1, labels == 2])
    numbers, segments = [*range(5)] * 2, [1] * 5 + [2] * 5
    path = segmentation(tmp_path / "a.dcm", masks, numbers, segments)
    with open_source(path) as source:
        assert source.header.suggested_type.type == "segmentation"
        np.testing.assert_array_equal(read_all(source)[..., 0], labels.transpose(2, 1, 0))
        first, second = source.header.segments
        assert (first.id, first.name, second.name) == (1, "liver", "spleen")
        assert isinstance(first, Segment)
        red, green, blue = bytes.fromhex(first.color[1:])
        assert red > 200
        assert max(green, blue) < 90
    path = segmentation(tmp_path / "b.dcm", masks | True, numbers, segments)
    with pytest.raises(InputError, match="segment 2 overlaps another one in slice 1"):
        read_all(open_source(path))


def test_fractions_of_segments_become_channels(tmp_path):
    fractions = np.random.default_rng(0).integers(0, 101, (6, 3, 7)).astype(np.uint8)
    numbers, segments = [0, 1, 2, 0, 1, 2], [1] * 3 + [2] * 3
    path = segmentation(tmp_path / "a.dcm", fractions, numbers, segments, "FRACTIONAL")
    image = pydicom.dcmread(path)
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.MaximumFractionalValue = 7, 100
    image.PixelData = fractions.tobytes()
    image.save_as(path)
    volume = ngcore.convert(path, tmp_path / "out", fsync=False)
    expected = fractions.reshape(2, 3, 3, 7).transpose(3, 2, 1, 0) / np.float32(100)
    np.testing.assert_allclose(volume.scales[0][...], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_expb.dcm",
        "MR_small_implicit.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "ExplVR_BigEnd.dcm",
        "SC_rgb_rle.dcm",
        "SC_rgb_small_odd.dcm",
        "SC_rgb_rle_16bit_2frame.dcm",
        "examples_rgb_color.dcm",
        "rtdose.dcm",
        "rtdose_1frame.dcm",
        "image_dfl.dcm",
        "examples_palette.dcm",
        "SC_rgb_small_odd_big_endian.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
    ],
)
def test_real_files_give_the_pixels_that_pydicom_gives(name):
    path = get_testdata_file(name)
    with open_source(path, resolution=(1, 1, 1)) as source:
        found = read_all(source)
    image = pydicom.dcmread(path, force=True)
    same = {"MR_small_jp2klossless.dcm": "MR_small.dcm"}
    same["MR_small_jpeg_ls_lossless.dcm"] = "MR_small.dcm"
    same["SC_rgb_jpeg_gdcm.dcm"] = "SC_rgb_gdcm_KY.dcm"  # lossless JPEG, which pydicom lacks
    pixels = pydicom.dcmread(get_testdata_file(same.get(name, name)), force=True)
    if "TransferSyntaxUID" not in pixels.file_meta:
        pixels.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    expected = pixels.pixel_array
    if pixels.PhotometricInterpretation == "PALETTE COLOR":
        expected = pydicom.pixels.apply_color_lut(expected, pixels)
    frames = int(image.get("NumberOfFrames") or 1)
    expected = expected.reshape(frames, image.Rows, image.Columns, -1)
    np.testing.assert_array_equal(found, expected.transpose(2, 1, 0, 3))


def test_bad_files_are_one_line_and_leave_nothing(tmp_path):
    path = get_testdata_file("MR_truncated.dcm")
    assert "truncated" in bad_input_exits_2(path, tmp_path / "out")
    image = dataset(voxels((4, 5)), **place(AFFINE))
    image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    data = (tmp_path / "a.dcm").read_bytes()
    for length in range(140, len(data), 60):
        (tmp_path / "a.dcm").write_bytes(data[:length])
        with pytest.raises((FormatError, InputError)) as error:
            read_all(open_source(tmp_path / "a.dcm"))
        assert "Doe" not in str(error.value)
    image.PixelSpacing = [0, 0]
    image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    bad_input_exits_2(tmp_path / "a.dcm", tmp_path / "out")
    assert "has no image" in bad_input_exits_2(get_testdata_file("rtplan.dcm"), tmp_path / "out")


def test_a_folder_that_may_not_be_listed_is_one_line(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0)
    with bound_by_permissions(), pytest.raises(InputError, match="can't be listed"):
        open_source(folder)
    folder.chmod(0o700)
