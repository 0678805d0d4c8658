"""`--encoding auto`: lossless, and never larger than raw."""

import nibabel
import numpy as np
import pytest
from peers import read_with_tensorstore
from scipy.ndimage import gaussian_filter, zoom

import ngcore
from ngcore.conversion.estimate import estimate
from ngcore.errors import InputError

pytest.importorskip("imagecodecs")

RNG = np.random.default_rng(0)
SHAPE = (70, 50, 40)
SMOOTH = gaussian_filter(RNG.normal(0, 1, SHAPE), 4) * 1000
BLOBS = zoom(RNG.integers(0, 2**31, (14, 10, 8)), 5, order=0)

VOXELS = {
    "jxl": (SMOOTH + 100).clip(0, 255).astype(np.uint8),
    "png": (SMOOTH * 20 + 20000).astype(np.uint16),
    "compressed_segmentation": BLOBS.astype(np.uint32),
    "raw": RNG.normal(0, 1, SHAPE).astype(np.float32),
}
OPTIONS = {"resolution": (8, 8, 8), "chunk_size": 16, "fsync": False, "type": "image"}


def stored_bytes(folder):
    return sum(path.stat().st_size for path in folder.glob("*_*/*"))


@pytest.mark.parametrize("gzip", [True, False])
@pytest.mark.parametrize("best", VOXELS)
def test_smallest_lossless_encoding_is_chosen(tmp_path, best, gzip):
    voxels, options = VOXELS[best], {**OPTIONS, "gzip": gzip}
    made = ngcore.convert(voxels, tmp_path / "auto", encoding="auto", **options)
    ngcore.convert(voxels, tmp_path / "raw", encoding="raw", **options)
    assert stored_bytes(tmp_path / "auto") <= stored_bytes(tmp_path / "raw")
    np.testing.assert_array_equal(made.scales[0][..., 0], voxels)
    if not gzip or best == "raw":
        assert {scale.encoding for scale in made.info.scales} == {best}
    if best != "jxl":
        np.testing.assert_array_equal(read_with_tensorstore(tmp_path / "auto")[..., 0], voxels)


def test_noise_stays_raw(tmp_path):
    noise = RNG.integers(0, 256, SHAPE, np.uint8)
    made = ngcore.convert(noise, tmp_path, encoding="auto", **OPTIONS)
    assert made.info.scales[0].encoding == "raw"


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_files_are_looked_at_before_they_are_read(tmp_path, ending):
    nibabel.save(nibabel.Nifti1Image(VOXELS["jxl"], np.eye(4)), tmp_path / f"a{ending}")
    options = {**OPTIONS, "encoding": "auto", "voxel_offset": (-3, 5, 7)}
    assert estimate(tmp_path / f"a{ending}", **options).encoding == "jxl"
    made = ngcore.convert(tmp_path / f"a{ending}", tmp_path / "out", **options)
    assert made.info.scales[0].encoding == "jxl"
    np.testing.assert_array_equal(made.scales[0][..., 0], VOXELS["jxl"])


def test_channels_that_no_picture_holds_are_raw_or_compressed(tmp_path):
    voxels = np.repeat(VOXELS["jxl"][..., np.newaxis], 5, axis=3)
    made = ngcore.convert(voxels, tmp_path, encoding="auto", **OPTIONS)
    assert made.info.scales[0].encoding == "raw"


def test_nothing_to_look_at_is_refused():
    with pytest.raises(InputError, match="--encoding auto needs SOURCE"):
        estimate(None, shape=(9, 9, 9), resolution="8", data_type="uint8", encoding="auto")
