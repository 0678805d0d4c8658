"""What an open volume knows of the world: affine, values at a place, names of labels."""

from __future__ import annotations

import nibabel
import numpy as np
import pytest

import ngcore
from ngcore.errors import FormatError, InputError, VolumeIndexError
from ngcore.labelling.labels import write_labels

OBLIQUE = np.array(
    [[0.9, -0.3, 0.1, -20], [0.35, 0.85, -0.2, 31], [-0.05, 0.25, 1.4, 7], [0, 0, 0, 1]]
)


@pytest.fixture(scope="module")
def oblique(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oblique")
    values = np.arange(12 * 11 * 10, dtype=np.int16).reshape(12, 11, 10)
    nibabel.save(nibabel.Nifti1Image(values, OBLIQUE), folder / "brain.nii")
    return ngcore.convert(folder / "brain.nii", folder / "out"), values


def test_affine_is_that_of_the_source(oblique):
    volume, _ = oblique
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)


def test_a_place_in_mm_gives_the_voxel_whose_centre_is_nearest(oblique):
    volume, values = oblique
    for voxel in [(0, 0, 0), (11, 10, 9), (3, 7, 2)]:
        for shift in (-0.45, 0, 0.45):
            place = nibabel.affines.apply_affine(OBLIQUE, np.add(voxel, shift))
            assert volume.at_mm(*place).shape == (1,)
            assert volume.at_mm(*place)[0] == values[voxel]


@pytest.mark.parametrize("place", [(500, 0, 0), (float("nan"), 0, 0), (float("inf"), 0, 0)])
def test_a_place_outside_is_an_index_error(oblique, place):
    with pytest.raises(VolumeIndexError, match="outside"):
        oblique[0].at_mm(*place)


def test_a_volume_of_an_array_has_no_world(tmp_path):
    volume = ngcore.convert(np.zeros((4, 4, 4), np.uint8), tmp_path, resolution=(8, 8, 8))
    assert volume.affine is None
    with pytest.raises(InputError, match="has no world"):
        volume.at_mm(0, 0, 0)


def test_labels_are_those_of_the_table(tmp_path):
    labels = np.zeros((4, 4, 4), np.uint32)
    labels[1], labels[2] = 17, 18
    volume = ngcore.convert(
        labels, tmp_path / "out", type="segmentation", resolution=(1e6, 1e6, 1e6)
    )
    assert volume.labels == {}
    table = tmp_path / "lut.txt"
    table.write_text("17 Left-Hippocampus 220 216 20 0\n18 Left-Amygdala 103 255 255 0\n")
    write_labels(tmp_path / "out", table)
    volume = ngcore.open(tmp_path / "out")
    assert volume.labels == {17: "Left-Hippocampus", 18: "Left-Amygdala"}
    (tmp_path / "out" / volume.info.segment_properties / "info").write_text("{")
    with pytest.raises(FormatError, match="segment_properties/info"):
        volume.labels  # noqa: B018 - reading it raises


def test_notebooks_show_a_table_in_which_names_are_quoted(tmp_path):
    path = tmp_path / "<script>"
    volume = ngcore.convert(np.zeros((4, 4, 4), np.uint8), path, resolution=(8, 8, 40))
    html = volume._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "8 x 8 x 40" in html
    assert html.count("<tr>") == 1 + len(volume.scales)
