import io
import json

import nibabel
import numpy as np
import pytest
from PIL import Image

import ngcore
from ngcore import FormatError, InputError
from ngcore.previewing.picture import thumbnail
from ngcore.server.folders import find_volumes
from ngcore.server.survey import survey

MM = (1e6, 1e6, 1e6)


def convert(array, dest, **options):
    ngcore.convert(array, dest, resolution=options.pop("resolution", MM), fsync=False, **options)
    return dest


def brightness(array, dest, **options):
    return survey(convert(array, dest, **options), "x", "precomputed://http://x").brightness


def labels(array, dest, **options):
    convert(array, dest, type="segmentation", **options)
    return survey(dest, "x", "precomputed://http://x").labels


def test_dark_surroundings_do_not_count_towards_brightness(tmp_path):
    array = np.zeros((60, 60, 60), np.uint16)
    array[20:40, 20:40, 20:40] = np.random.default_rng(0).integers(500, 1000, (20, 20, 20))
    array[30, 30, 30] = 60_000
    shown = brightness(array, tmp_path / "v")
    assert (shown.low, shown.window_low, shown.window_high) == (0, 0, 60_000)
    assert 980 <= shown.high < 1000


def test_signed_values_have_a_signed_range(tmp_path):
    array = np.random.default_rng(0).integers(-1000, 1000, (40, 40, 40)).astype(np.int16)
    shown = brightness(array, tmp_path / "v")
    assert -1000 <= shown.low < -970
    assert 970 < shown.high <= 1000


def test_nan_and_infinity_do_not_count_towards_brightness(tmp_path):
    array = np.random.default_rng(0).random((40, 40, 40), np.float32)
    array[:5] = np.nan
    array[5] = np.inf
    shown = brightness(array, tmp_path / "v")
    assert 0 <= shown.low < 0.02
    assert 0.98 < shown.high <= 1


def test_volume_of_nan_has_no_brightness(tmp_path):
    assert brightness(np.full((9, 9, 9), np.nan, np.float32), tmp_path / "v") is None


@pytest.mark.parametrize(("value", "low", "high"), [(0, 0, 1), (7, 0, 7), (-7, -7, 0)])
def test_uniform_volume_has_a_range(tmp_path, value, low, high):
    shown = brightness(np.full((9, 9, 9), value, np.int16), tmp_path / "v")
    assert (shown.low, shown.high) == (low, high)


def test_64_bit_brightness_is_exact(tmp_path):
    array = np.full((9, 9, 9), 2**63 + 1, np.uint64)
    array[0] = 2**63 + 3
    shown = brightness(array, tmp_path / "v", data_type="uint64")
    assert (shown.low, shown.high) == (2**63 + 1, 2**63 + 3)


def test_labels_of_a_small_atlas_are_found_without_the_background(tmp_path):
    array = np.zeros((70, 70, 70), np.uint64)
    array[10, 10, 10] = 3
    array[60:, 60:, 60:] = 2**63 + 1
    assert labels(array, tmp_path / "v") == (3, 2**63 + 1)


@pytest.mark.parametrize("step", [1, 2**30])
def test_labels_of_a_large_atlas_are_not_selected(tmp_path, step):
    array = step * np.arange(20 * 20 * 20, dtype=np.uint64).reshape(20, 20, 20)
    assert labels(array, tmp_path / "v") == ()


def test_damaged_chunk_costs_the_look_only(tmp_path, caplog):
    dest = convert(np.ones((9, 9, 9), np.uint8), tmp_path / "v", sharding=False)
    (chunk,) = dest.glob("1000000*/*")
    chunk.write_bytes(b"short")
    layer = survey(dest, "x", "precomputed://http://x")
    assert layer.brightness is None
    assert "shown, but its voxels could not be read" in caplog.text


def test_broken_transform_is_refused(tmp_path):
    dest = convert(np.ones((9, 9, 9), np.uint8), tmp_path / "v")
    (dest / "transform.json").write_text("[1, 2]")
    with pytest.raises(FormatError, match=r"transform\.json"):
        survey(dest, "x", "precomputed://http://x")


def test_folder_without_info_is_no_volume(tmp_path):
    with pytest.raises(InputError, match="info"):
        survey(tmp_path, "x", "precomputed://http://x")


def test_volumes_of_a_folder_are_found(tmp_path):
    for name in ("b", "a", ".hidden"):
        convert(np.ones((9, 9, 9), np.uint8), tmp_path / name)
    (tmp_path / "other").mkdir()
    assert list(find_volumes(tmp_path)) == ["a", "b"]
    assert list(find_volumes(tmp_path / "a")) == [""]


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SRA", "PIL"])
def test_thumbnail_is_upright(tmp_path, orientation):
    """Right is on the right, anterior is up, however the file's axes run."""
    ras = np.full((32, 32, 32), 10, np.uint8)
    ras[24:, 8:24] = 100  # right
    ras[8:24, 24:] = 200  # anterior
    image = nibabel.Nifti1Image(ras, np.diag([2.0, 2, 2, 1]))
    target = nibabel.orientations.axcodes2ornt(orientation)
    start = nibabel.orientations.axcodes2ornt("RAS")
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(start, target))
    nibabel.save(turned, tmp_path / "head.nii")
    ngcore.convert(tmp_path / "head.nii", tmp_path / "v")
    picture = pixels(thumbnail(ngcore.open(tmp_path / "v")))
    assert picture.shape == (96, 96, 3)
    top, bottom, left, right = (
        int(picture[place].sum()) for place in ((10, 48), (-10, 48), (48, 10), (48, -10))
    )
    assert top > right > left
    assert top > right > bottom


def test_thumbnail_has_the_shape_of_the_slice(tmp_path):
    dest = convert(np.ones((100, 50, 9), np.uint8), tmp_path / "v", resolution=(4, 2, 9))
    assert pixels(thumbnail(ngcore.open(dest))).shape == (24, 96, 3)


def test_thumbnail_of_colours_and_labels_is_coloured(tmp_path):
    rgb = np.zeros((20, 20, 20, 3), np.uint8)
    rgb[..., 1] = 255
    picture = pixels(thumbnail(ngcore.open(convert(rgb, tmp_path / "rgb"))))
    assert (picture == [0, 255, 0]).all()
    array = np.zeros((20, 20, 20), np.uint32)
    array[10:] = 5
    picture = pixels(
        thumbnail(ngcore.open(convert(array, tmp_path / "labels", type="segmentation")))
    )
    assert (picture[:, 10] == 0).all()
    assert picture[50, 90].min() >= 90


def test_info_of_others_can_be_shown_unread(tmp_path):
    dest = convert(np.ones((9, 9, 9), np.uint8), tmp_path / "v", sharding=False)
    info = json.loads((dest / "info").read_text())
    info["scales"][0]["encoding"] = "jpegxl"
    (dest / "info").write_text(json.dumps(info))
    assert survey(dest, "x", "precomputed://http://x").brightness is None


@pytest.mark.parametrize("kind", ["image", "segmentation"])
@pytest.mark.parametrize("offset", [(0, 0, 0), (-7, 5, 1001)])
def test_content_is_where_anything_but_zeros_lies(tmp_path, kind, offset):
    array = np.zeros((200, 150, 120), np.uint32)
    array[20:100, 64:128, 10:11] = 3
    ngcore.convert(
        array,
        tmp_path / "v",
        type=kind,
        resolution=(1e6, 1e6, 1e6),
        voxel_offset=offset,
        fsync=False,
    )
    low, high = survey(tmp_path / "v", "v", "u").content
    # An image is looked at in a scale of 2 mm, whose voxels lie on a grid that starts at 0.
    tolerance = 2 if kind == "image" else 0
    np.testing.assert_allclose(low, np.add((20, 64, 10), offset), atol=tolerance)
    np.testing.assert_allclose(high, np.add((100, 128, 11), offset), atol=tolerance)


def test_volume_of_zeros_has_no_content(tmp_path):
    ngcore.convert(
        np.zeros((9, 9, 9), np.uint8), tmp_path / "v", resolution=(1e6, 1e6, 1e6), fsync=False
    )
    assert survey(tmp_path / "v", "v", "u").content is None


def test_missing_values_are_no_content(tmp_path):
    array = np.full((20, 20, 20), np.nan, np.float32)
    array[5:9, 6:7, 8:20] = 1
    ngcore.convert(array, tmp_path / "v", resolution=(1e6, 1e6, 1e6), fsync=False)
    assert survey(tmp_path / "v", "v", "u").content == ((5, 6, 8), (9, 7, 20))


def test_labels_that_have_a_mesh_alone_are_selected(tmp_path):
    array = np.zeros((20, 20, 20), np.uint32)
    array[5:9] = 3
    dest = convert(array, tmp_path / "v", type="segmentation")
    (tmp_path / "s.off").write_text("OFF 4 2 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n3 0 1 3\n")
    ngcore.classic.mesh_to_precomputed(tmp_path / "s.off", dest)
    (tmp_path / "f.csv").write_text("7,s\n3,s\n")
    ngcore.classic.link_mesh_fragments(tmp_path / "f.csv", dest)
    assert survey(dest, "x", "precomputed://x").labels == (3, 7)
