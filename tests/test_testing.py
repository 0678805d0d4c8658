"""`ngcore.testing`: what others test with must itself find what differs."""

from __future__ import annotations

import numpy as np
import pytest

import ngcore
from ngcore.testing import assert_same_volume, random_image, random_labels, random_volume


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint64", "int32", "float32"])
def test_random_images_are_of_the_type_and_repeat_with_the_seed(dtype):
    image = random_image((9, 8, 7, 2), dtype, seed=3)
    assert image.dtype == dtype
    assert image.shape == (9, 8, 7, 2)
    np.testing.assert_array_equal(image, random_image((9, 8, 7, 2), dtype, seed=3))
    assert not np.array_equal(image, random_image((9, 8, 7, 2), dtype, seed=4))
    assert len(np.unique(image)) > 50


def test_random_labels_have_a_background_and_ids_of_the_whole_type():
    labels = random_labels((30, 20, 10), "uint64", seed=1)
    assert 0 in labels
    assert labels.max() > 2**40
    assert len(np.unique(labels)) <= 20


def test_layout_and_encoding_may_differ_and_nothing_else(tmp_path):
    one = random_volume(tmp_path / "one", type="segmentation", data_type="uint32")
    two = random_volume(
        tmp_path / "two", type="segmentation", data_type="uint32", sharding=False, encoding="raw"
    )
    assert_same_volume(one, two)
    assert_same_volume(tmp_path / "one", str(tmp_path / "two"))
    for name, options, words in [
        ("resolution", {"resolution": (8, 8, 41)}, "resolution of scale 0"),
        ("offset", {"voxel_offset": (0, 0, 2)}, "voxel_offset of scale 0"),
        ("seed", {"seed": 2}, "voxel .* of scale 0"),
        ("scales", {"max_scales": 1}, "number of scales"),
        ("type", {"data_type": "uint64"}, "data_type"),
    ]:
        members = {"type": "segmentation", "data_type": "uint32", **options}
        other = random_volume(tmp_path / name, **members)
        with pytest.raises(AssertionError, match=words):
            assert_same_volume(other, one)


def test_nan_is_the_same_as_nan_and_a_single_voxel_is_found(tmp_path):
    values = random_image((20, 20, 20), "float32")
    values[3, 4, 5] = np.nan
    one = ngcore.convert(values, tmp_path / "one", resolution=(8, 8, 8))
    two = ngcore.convert(values, tmp_path / "two", resolution=(8, 8, 8))
    assert_same_volume(one, two)
    values[19, 0, 7] += 0.5
    three = ngcore.convert(values, tmp_path / "three", resolution=(8, 8, 8))
    with pytest.raises(AssertionError, match=r"voxel \(19, 0, 7, 0\) of scale 0"):
        assert_same_volume(three, one)
