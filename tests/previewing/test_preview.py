"""Pictures of volumes: golden ones, looked at when they were made, and what they must show."""

import io
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import thorough
import volume_files
from nibabel.affines import from_matvec
from PIL import Image
from preview_scenes import OBLIQUE, SCENES, SIZE, convert_in_order, head

import ngcore
from ngcore.cli import run
from ngcore.errors import DestinationError, InputError
from ngcore.labelling.labels import write_labels
from ngcore.previewing.picture import preview
from ngcore.previewing.sections import choose_scale
from ngcore.previewing.sheet import Panel, draw_sheet

GOLDEN = Path(__file__).parent / "golden"
CODES = ["".join(x) for p in permutations(("RL", "AP", "SI")) for x in product(*p)]
GAP = 10


def picture_of(tmp_path, size=SIZE):
    preview(tmp_path / "volume", tmp_path / "picture.png", size=size, overwrite=True)
    return np.asarray(Image.open(tmp_path / "picture.png"))


def converted(tmp_path, values, affine=None, **options):
    source = values
    if affine is not None:
        source = volume_files.save_nifti(tmp_path / "source.nii", values, affine)
    ngcore.convert(source, tmp_path / "volume", fsync=False, overwrite=True, **options)


@pytest.mark.parametrize("name", SCENES)
def test_picture_is_like_the_golden_one(tmp_path, name):
    SCENES[name](tmp_path / "volume")
    picture = picture_of(tmp_path)
    golden = np.asarray(Image.open(GOLDEN / f"preview_{name}.png"))
    assert picture.shape == golden.shape
    difference = np.abs(picture.astype(int) - golden)
    # Letters, and interpolated values, differ a little from one release of Pillow to another.
    assert difference.mean() < 1
    assert (difference.max(axis=-1) > 40).mean() < 0.01


@pytest.mark.parametrize("code", CODES if thorough.IS_THOROUGH else CODES[1::11])
def test_the_order_of_axes_does_not_show(tmp_path, code):
    image, _ = head()
    convert_in_order(tmp_path / "volume", image, "RAS")
    expected = picture_of(tmp_path)
    convert_in_order(tmp_path / "volume", image, code)
    np.testing.assert_array_equal(picture_of(tmp_path), expected)


def test_right_front_and_top_are_where_they_should_be(tmp_path):
    _, labels = head()
    convert_in_order(tmp_path / "volume", labels, "LPI", type="segmentation")
    table = tmp_path / "t.csv"
    table.write_text("1000,right,255,0,0\n1001,front,0,255,0\n1002,top,0,0,255\n")
    write_labels(tmp_path / "volume", table)
    picture = picture_of(tmp_path)
    corners = np.array(list(product((0, 51), (0, 61), (0, 41)))) @ OBLIQUE[:3, :3].T
    extent = np.ptp(corners, axis=0)
    width, depth, height = np.round(extent * 160 / extent.max()).astype(int)
    lefts = np.cumsum([GAP, depth + GAP, width + GAP])
    middle = GAP + height / 2

    def centre(colour, left, panel_width):
        found = (picture[:, left : left + panel_width] == colour).all(axis=-1)
        return np.argwhere(found).mean(axis=0)

    right, front, top = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    sagittal, coronal, axial = zip(lefts, (depth, width, width), strict=True)
    assert centre(front, *sagittal)[1] > 0.6 * depth
    assert centre(top, *sagittal)[0] < middle - height / 8
    assert centre(right, *coronal)[1] > 0.6 * width
    assert centre(top, *coronal)[0] < middle - height / 8
    assert centre(right, *axial)[1] > 0.6 * width
    assert centre(front, *axial)[0] < middle - depth / 8


def test_the_scale_bar_is_as_long_as_it_says(tmp_path):
    """100 mm are 200 pixels: a quarter of them is 25 mm, so the bar stands for 20 mm."""
    values = volume_files.voxels((50, 50, 10), "uint8")
    converted(tmp_path, values, from_matvec(np.diag([2.0, 2, 2])))
    picture = picture_of(tmp_path, size=200)
    foot = picture[200 + 2 * GAP :, GAP : GAP + 60]
    longest = max((row == 255).all(axis=-1).sum() for row in foot)
    assert longest == 40


def test_voxels_that_are_no_cubes_keep_their_shape(tmp_path):
    values = volume_files.voxels((50, 25, 10), "uint8")
    converted(tmp_path, values, from_matvec(np.diag([1.0, 2, 5])))
    picture = picture_of(tmp_path, size=100)
    assert picture.shape[1] == 3 * 100 + 4 * GAP


def test_the_coarsest_scale_that_fills_the_picture_is_read(tmp_path):
    values = volume_files.voxels((300, 40, 30), "uint8")
    volume = ngcore.convert(
        values, tmp_path / "v", resolution=(1, 1, 1), chunk_size=16, fsync=False
    )
    widths = {
        size: choose_scale(volume.scales, 300e-6 / size).shape[0]
        for size in (512, 300, 150, 149, 64)
    }
    assert widths == {512: 300, 300: 300, 150: 150, 149: 150, 64: 75}


def test_voxels_much_smaller_than_pixels_are_left_out(tmp_path):
    values = np.zeros((4000, 30, 30), np.uint8)
    values[2000:] = 255
    converted(tmp_path, values, resolution=(1, 10, 10), max_scales=1)
    picture = picture_of(tmp_path, size=100)
    assert (picture[12, GAP + 55 : GAP + 95] == 255).all()
    assert (picture[12, GAP + 5 : GAP + 45] == 0).all()


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((9, 8, 7), np.float32),
        np.full((9, 8, 7), np.nan, np.float32),
        np.full((9, 8, 7), -3, np.int8),
        np.full((9, 8, 7), 3e38, np.float32),
        np.linspace(-1, 1, 504, dtype=np.float32).reshape(9, 8, 7),
        np.arange(504 * 5, dtype=np.uint16).reshape(9, 8, 7, 5),
        np.ones((9, 8, 1), np.uint8),
        np.ones((1, 1, 1), np.uint8),
        np.ones((2000, 1, 1), np.uint8),
    ],
)
def test_every_volume_has_a_picture(tmp_path, values):
    converted(tmp_path, values, resolution=(1e6, 1e6, 1e6), type="image")
    assert picture_of(tmp_path).ndim == 3


def test_infinite_and_missing_values_do_not_spoil_the_brightness(tmp_path):
    values = np.linspace(1, 2, 8000, dtype=np.float32).reshape(20, 20, 20)
    converted(tmp_path, values, resolution=(1, 1, 1))
    expected = picture_of(tmp_path).astype(int)
    values[0, 0] = np.nan
    values[1, 1] = np.inf
    converted(tmp_path, values, resolution=(1, 1, 1))
    assert np.abs(picture_of(tmp_path) - expected).mean() < 2


def test_the_picture_is_the_same_every_time(tmp_path):
    converted(tmp_path, head()[0], OBLIQUE)
    pictures = []
    for _ in range(2):
        picture_of(tmp_path)
        pictures.append((tmp_path / "picture.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert Image.open(io.BytesIO(pictures[0])).format == "PNG"


def test_the_picture_is_where_it_was_asked_for_or_refused(tmp_path, capsys):
    converted(tmp_path, head()[0], OBLIQUE)
    folder, out = str(tmp_path / "volume"), tmp_path / "new" / "p.PNG"
    assert run(["preview", folder, str(out), "--size", "64"]) == 0
    assert out.exists()
    assert run(["preview", folder, str(tmp_path / "p.jpg")]) == 2
    assert "must end in .png" in capsys.readouterr().err
    assert run(["preview", str(tmp_path / "no"), str(out), "--overwrite"]) == 2
    assert "no such file" in capsys.readouterr().err
    with pytest.raises(InputError, match="64 to 4096"):
        preview(folder, out, size=63)
    with pytest.raises(DestinationError, match="is a file, not a folder"):
        preview(folder, out / "p.png")


def test_micrometres_have_their_own_sign():
    """Pillow's font has none; what is drawn reaches below the line on which the letters stand."""

    def foot(pixel_nm):
        panel = Panel(np.zeros((200, 500, 3), np.uint8), 500, 200, False, ("", ""))
        picture = np.asarray(Image.open(io.BytesIO(draw_sheet([panel], pixel_nm=pixel_nm))))
        bright = (picture[200 + 2 * GAP :, 100:] == 255).all(axis=-1)
        return np.flatnonzero(bright.any(axis=1)).max()

    assert foot(300.0) > foot(300e3) + 2  # 20 um, 20 mm
