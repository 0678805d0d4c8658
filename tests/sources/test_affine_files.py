"""Affines that a user passes: numbers, files of them, and what ends up in the volume."""

import json

import nibabel
import numpy as np
import pytest
from PIL import Image

import ngcore
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.affine_files import read_affine

AFFINE = np.array([[0, -2, 0, 10], [3, 0, 0, -20.5], [0, 0, 4, 7], [0, 0, 0, 1.0]])


@pytest.mark.parametrize("rows", [3, 4])
def test_numbers_with_commas_are_an_affine(rows):
    text = ",".join(map(str, AFFINE[:rows].ravel()))
    np.testing.assert_array_equal(read_affine(text), AFFINE)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", ["  ", "\t", ", "])
def test_text_files_hold_numbers_row_by_row(tmp_path, separator, end):
    lines = ["# from scanner to atlas", *(separator.join(map(str, row)) for row in AFFINE)]
    (tmp_path / "affine.txt").write_text(end.join(lines), newline="")
    np.testing.assert_array_equal(read_affine(tmp_path / "affine.txt"), AFFINE)


def test_what_is_no_affine_is_refused(tmp_path):
    with pytest.raises(InputNotFoundError, match="no such file"):
        read_affine(tmp_path / "none.mat")
    with pytest.raises(InputError, match="12 or 16 numbers"):
        read_affine(np.eye(3))
    with pytest.raises(InputError, match=r"singular|voxels of 0"):
        read_affine(",".join(["0"] * 12))
    for content in (b"", b"1 2 3", b"\x00\xff" * 50, b"a b c d " * 4):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(FormatError, match="not an affine"):
            read_affine(tmp_path / "a")


def test_transforms_of_ants_are_read_in_ras(tmp_path):
    pytest.importorskip("nitransforms")
    (tmp_path / "a.txt").write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 2 0 0 0 3 0 0 0 4 5 6 7\nFixedParameters: 0 0 0\n"
    )
    expected = [[2, 0, 0, -5], [0, 3, 0, -6], [0, 0, 4, 7], [0, 0, 0, 1]]
    np.testing.assert_allclose(read_affine(tmp_path / "a.txt"), expected)


def source(kind, folder):
    voxels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    if kind == "nifti":
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / "a.nii")
        return folder / "a.nii"
    if kind == "slices":
        (folder / "slices").mkdir()
        for number in range(5):
            Image.fromarray(voxels[:, :, number].T).save(folder / "slices" / f"{number}.png")
        return folder / "slices"
    return voxels


@pytest.mark.parametrize("kind", ["nifti", "slices", "array"])
def test_affine_that_is_passed_stands_whatever_the_source_says(tmp_path, kind):
    volume = ngcore.convert(source(kind, tmp_path), tmp_path / "out", affine=AFFINE)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.scales[0].resolution == (3e6, 2e6, 4e6)
    made = json.loads((tmp_path / "out" / "provenance").read_text())
    assert made["processing"][0]["method"]["affine"] == AFFINE.ravel().tolist()


def test_affine_that_is_passed_is_reoriented(tmp_path):
    voxels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    volume = ngcore.convert(voxels, tmp_path / "out", affine=AFFINE, orient="RAS")
    assert volume.scales[0].shape == (4, 3, 5, 1)
    np.testing.assert_array_equal(volume.scales[0][..., 0], voxels.transpose(1, 0, 2)[::-1])
    np.testing.assert_allclose(np.diag(volume.affine), [2, 3, 4, 1])


@pytest.mark.parametrize(
    ("resolution", "warns"), [("1mm", False), ("8,8,8", True), ("50um", False)]
)
def test_resolution_far_from_that_of_the_source_is_warned_of(tmp_path, caplog, resolution, warns):
    ngcore.convert(source("nifti", tmp_path), tmp_path / "out", resolution=resolution)
    assert ("check the unit" in caplog.text) == warns


@pytest.mark.parametrize(("resolution", "warns"), [("8nm", True), ("1mm", False)])
def test_resolution_far_from_the_affine_that_is_passed_is_warned_of(
    tmp_path, caplog, resolution, warns
):
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 4), np.uint8))
    for number, source in enumerate((tmp_path / "a.npy", np.zeros((4, 4, 4), np.uint8))):
        caplog.clear()
        ngcore.convert(source, tmp_path / str(number), affine=np.eye(4), resolution=resolution)
        assert ("check the unit" in caplog.text) == warns


def test_an_affine_that_is_singular_is_refused_in_words_of_its_option():
    with pytest.raises(InputError, match="--affine: the affine gives voxels of 0 x 2 x 2 mm") as e:
        read_affine("0,0,0,0,0,2,0,0,0,0,2,0")
    assert "--form" not in str(e.value)
