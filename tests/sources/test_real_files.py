"""Files that nobody here made, through `convert` and `open`: what other readers find in them.

They come with packages: pydicom, nibabel, nilearn, scikit-image; `EMD-3197.map.bz2` is an entry of
EMDB (CC0), from mrcfile's own tests.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
from source_contract import itk_places

import ngcore

if TYPE_CHECKING:
    from collections.abc import Callable

Found = tuple[np.ndarray, np.ndarray | None]


def with_nibabel(path: Path) -> Found:
    image = nibabel.load(path)
    return image.get_fdata(), image.affine


def with_itk(path: Path) -> Found:
    return itk_places(path)


def with_mrcfile(path: Path) -> Found:
    mrcfile = pytest.importorskip("mrcfile")
    with mrcfile.open(path) as file:
        size = [file.voxel_size[letter] * 1e-7 for letter in "xyz"]
        start = [file.nstart[letter] for letter in "xyz"]
        affine = np.diag([*map(float, size), 1.0])
        affine[:3, 3] = np.multiply(start, size)
        return file.data.transpose(2, 1, 0), affine


def with_tifffile(path: Path) -> Found:
    with pytest.importorskip("tifffile").TiffFile(path) as file:
        axes, pages = file.series[0].axes, file.asarray()
    order = [axes.index(letter) for letter in "XY"]
    colors = [axes.index("S")] if "S" in axes else []
    depth = [axis for axis in range(pages.ndim) if axis not in (*order, *colors)]
    return pages.transpose(*order, *depth, *colors), None


def with_numpy(path: Path) -> Found:
    return np.load(path), None


def with_pillow(path: Path) -> Found:
    from PIL import Image

    pixels = np.asarray(Image.open(path))
    return pixels.swapaxes(0, 1)[:, :, np.newaxis], None


FILES: dict[str, Callable[[Path], Found]] = {
    "nibabel/tests/data/anatomical.nii": with_nibabel,
    "nibabel/tests/data/example4d.nii.gz": with_nibabel,
    "nibabel/tests/data/example_nifti2.nii.gz": with_nibabel,
    "nibabel/tests/data/reoriented_anat_moved.nii": with_nibabel,
    "nibabel/tests/data/test.mgz": with_nibabel,
    "nibabel/tests/data/small.mnc": with_nibabel,
    "nibabel/tests/data/example4d+orig.HEAD": with_nibabel,
    "nibabel/nicom/tests/data/0.dcm": with_itk,
    "nilearn/datasets/data/image_10426.nii.gz": with_nibabel,
    "pydicom/data/test_files/CT_small.dcm": with_itk,
    "pydicom/data/test_files/MR_small_RLE.dcm": with_itk,
    "pydicom/data/test_files/693_J2KI.dcm": with_itk,
    "pydicom/data/test_files/dicomdirtests/98892001/CT5N": with_itk,
    "skimage/data/multipage.tif": with_tifffile,
    "skimage/data/multipage_rgb.tif": with_tifffile,
    "skimage/data/astronaut.png": with_pillow,
    "skimage/data/lfw_subset.npy": with_numpy,
    "EMD-3197.map.bz2": with_mrcfile,
}


def path_of(name: str) -> Path:
    if "/" not in name:
        return Path(__file__).parent / "data" / name
    package, _, rest = name.partition("/")
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin or "").parent / rest if spec is not None else Path()
    if spec is None or not path.exists():
        pytest.skip(f"the package {package} with {rest} is not installed")
    return path


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_becomes_the_volume_that_another_reader_finds(tmp_path, name):
    path = path_of(name)
    expected, affine = FILES[name](path)
    resolution = (1e6, 1e6, 1e6) if affine is None else None
    ngcore.convert(path, tmp_path / "out", type="image", resolution=resolution, fsync=False)
    volume = ngcore.open(tmp_path / "out")
    found = volume.scales[0][...]
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-6)
    if affine is not None:
        landmarks = [[0, 0, 0, 1], [*(n - 1 for n in found.shape[:3]), 1]]
        moved = np.linalg.solve(volume.affine, affine @ np.transpose(landmarks))
        np.testing.assert_allclose(moved, np.transpose(landmarks), atol=1e-3)
