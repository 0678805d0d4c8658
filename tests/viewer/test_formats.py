"""Heads in NRRD, DICOM and OME-Zarr, shown by `ngcore view`; OME-Zarr that `ngcore export` wrote.

Where voxels lie, and what they are, is what ITK finds in the same files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import nrrd
import numpy as np
import pytest
import thorough
import zarr
from dicom_files import write_series
from heads import CENTRE, LINEAR, MARKS, head
from serving import running
from source_contract import AFFINES, itk_places
from volume_places import assert_in_place

from ngcore.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Neuroglancer

pytestmark = pytest.mark.browser

LPS = np.diag([-1.0, -1, 1, 1])
TURNED = list(range(12)) if thorough.IS_THOROUGH else [2, 5, 9, 11]
"""Which of the twelve affines."""


def write_nrrd(path: Path, image: nibabel.Nifti1Image) -> None:
    own = LPS @ image.affine
    header = {
        "space": "left-posterior-superior",
        "space directions": own[:3, :3].T,
        "space origin": own[:3, 3],
    }
    nrrd.write(str(path), np.asarray(image.dataobj), header, index_order="F")


def write_dicom(path: Path, image: nibabel.Nifti1Image) -> None:
    write_series(path, np.asarray(image.dataobj), image.affine)


def write_zarr(path: Path, image: nibabel.Nifti1Image) -> None:
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("0", data=np.asarray(image.dataobj).transpose(2, 1, 0), chunks=(16,) * 3)
    steps = [
        {"type": "scale", "scale": np.diag(image.affine)[2::-1].tolist()},
        {"type": "translation", "translation": image.affine[2::-1, 3].tolist()},
    ]
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


def test_other_formats_are_shown_where_another_reader_has_them(
    neuroglancer: Neuroglancer, tmp_path: Path
) -> None:
    places: dict[str, nibabel.Nifti1Image] = {}
    paths = []
    for number in TURNED:
        image = head(AFFINES[number][:3, :3])
        for kind, write in (("nrrd", write_nrrd), ("dicom", write_dicom)):
            name = f"{kind}{number}"
            paths.append(tmp_path / f"{name}{'.nrrd' if kind == 'nrrd' else ''}")
            write(paths[-1], image)
            places[name] = nibabel.Nifti1Image(*itk_places(paths[-1]))
            np.testing.assert_allclose(
                np.sort(places[name].header.get_zooms()), np.sort(image.header.get_zooms())
            )
    places["zarred"] = head(LINEAR["upright"])
    paths.append(tmp_path / "zarred.ome.zarr")
    write_zarr(paths[-1], places["zarred"])
    with running("view", *paths, "--no-browser") as (_, url), neuroglancer.visiting(url):
        for name, image in places.items():
            assert_in_place(neuroglancer, name, image)


def test_ome_zarr_that_is_exported_is_shown_at_its_place(
    neuroglancer: Neuroglancer, tmp_path: Path
) -> None:
    image = head(LINEAR["upright"])
    nibabel.save(image, tmp_path / "head.nii.gz")
    assert run(["convert", str(tmp_path / "head.nii.gz"), str(tmp_path / "out")]) == 0
    out = neuroglancer.folder / "exported.ome.zarr"
    assert run(["export", str(tmp_path / "out"), str(out)]) == 0
    source = f"{neuroglancer.origin}/{out.name}/|zarr3:"
    # In dimensions of the test's own, as the world has them; near enough for scale 0.
    neuroglancer.load(
        {
            "dimensions": {axis: [1e-3, "m"] for axis in "xyz"},
            "position": CENTRE.tolist(),
            "crossSectionScale": 0.2,
            "layers": [{"name": "head", "type": "image", "source": source}],
        }
    )
    random = np.random.default_rng(1)
    places = np.array([*MARKS.values(), *(CENTRE + random.uniform(-15, 15, (12, 3)))])
    voxels = np.linalg.inv(image.affine) @ np.column_stack([places, np.ones(len(places))]).T
    values = [int(np.asarray(image.dataobj)[tuple(v)]) for v in np.rint(voxels[:3]).T.astype(int)]
    assert neuroglancer.values_at("head", places) == values
