"""The demo's brain, tissues and surfaces: where they lie, and that the client shows all."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import thorough
from real_data import nilearn_data
from serving import running

import ngcore
from ngcore.meshing.fragments import mesh_to_precomputed
from ngcore.precomputed.mesh_legacy import decode_fragment

if TYPE_CHECKING:
    from browser import Neuroglancer

NEAR_MM = 2
GREY = (1, 2)


@pytest.fixture(scope="module")
def demo() -> Any:
    """The script, as a module."""
    nilearn_data("")
    path = Path(__file__).parents[1] / "scripts/demo.py"
    spec = importlib.util.spec_from_file_location("demo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tissues(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The label volume with the surfaces, as the demo makes it."""
    folder = tmp_path_factory.mktemp("demo")
    nibabel.save(demo.tissue_labels(), folder / "tissues_dseg.nii")
    dest = folder / "tissues"
    ngcore.convert(folder / "tissues_dseg.nii", dest, max_scales=1, fsync=False)
    matrix = np.fromstring(demo.MNI305_TO_MNI152_MM, sep=",")
    for name in demo.SURFACES:
        mesh_to_precomputed(
            nilearn_data(f"fsaverage5/{name}.gii.gz"),
            dest,
            mesh_name=name,
            space="world",
            coord_transform=matrix,
        )
    return dest


def vertices_in_voxels(dest: Path, *names: str) -> np.ndarray:
    """Return where the client draws vertices, in voxels: voxel 0 spans 0 to 1."""
    meshes = [
        decode_fragment(gzip.decompress((dest / f"mesh/{name}.gz").read_bytes())) for name in names
    ]
    resolution = ngcore.open(dest).scales[0].resolution
    return np.concatenate([mesh.vertices_nm for mesh in meshes]) / resolution


def edges_of(is_inside: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, per axis, which neighbours are one inside, one outside, and where [0, 0, 0] lies."""
    return [(np.diff(is_inside, axis=axis), 0.5 + np.eye(3)[axis] / 2) for axis in range(3)]


def share_near(points: np.ndarray, targets: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the share of points within 2 voxels, here millimetres, of one of the targets.

    Targets are masks of a grid of points a voxel apart, with the place of its first point.
    """
    is_near = np.zeros(len(points), bool)
    around = np.indices((6, 6, 6)).reshape(3, -1).T - 2
    for mask, first in targets:
        cells = np.floor(points - first)[:, None].astype(int) + around
        distances = np.linalg.norm(cells + first - points[:, None], axis=2)
        is_there = mask[tuple(np.clip(cells, 0, np.array(mask.shape) - 1).transpose(2, 0, 1))]
        is_near |= (is_there & (distances <= NEAR_MM)).any(axis=1)
    return float(is_near.mean())


def test_surfaces_lie_on_the_cortex(tissues: Path) -> None:
    """White surfaces follow the grey matter's boundary, pial surfaces lie in grey matter.

    85 % of the white surfaces' vertices are within 2 mm of the boundary of the grey matter label.
    Of the pial surfaces' it is only 69 %, though 97 % are within 2 mm of grey matter itself: the
    template is an average of 152 brains, in which the banks of most sulci run together. There the
    pial surface lies in the middle of more than 4 mm of grey matter, farther than 2 mm from where
    it ends: of the vertices that are far from a boundary 95 % are inside of the label.
    """
    labels = ngcore.open(tissues).scales[0][..., 0]
    is_grey = np.isin(labels, GREY)
    edge, inside = edges_of(is_grey), [(is_grey, np.full(3, 0.5))]
    white = vertices_in_voxels(tissues, "white_left", "white_right")[::7]
    pial = vertices_in_voxels(tissues, "pial_left", "pial_right")[::7]
    assert share_near(white, edge) > 0.8
    assert share_near(pial, inside) > 0.95
    assert share_near(pial, edge) > 0.65
    # What is out of place is told from what is in place: by a centimetre, and turned about.
    for wrong in (white + np.array([0, 10, 0]), np.array([0, 233, 0]) - white * [-1, 1, -1]):
        assert share_near(wrong, edge) < 0.72


def test_left_and_right_surfaces_lie_in_labels_of_their_side(demo: Any, tissues: Path) -> None:
    labels = ngcore.open(tissues).scales[0][..., 0]
    for name in ("pial_left", "pial_right"):
        voxels = np.floor(vertices_in_voxels(tissues, name)).astype(int)
        found = labels[tuple(voxels.T)]
        own = demo.SURFACES[name]
        (other,) = set(GREY) - {own}
        assert (found == own).mean() > 0.75
        assert (found == other).mean() < 0.05


@pytest.mark.browser
@pytest.mark.skipif(not thorough.IS_THOROUGH, reason="thorough: takes the whole demo")
def test_client_shows_the_whole_demo(
    neuroglancer: Neuroglancer, demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both volumes, both surfaces of both sides and every name, with nothing failed."""
    monkeypatch.chdir(tmp_path)
    brain, tissues = demo.make_scene(tmp_path / "demo")
    with running("view", brain, tissues, "--no-browser") as (_, url), neuroglancer.visiting(url):
        state = neuroglancer.state()
        names = [layer["name"] for layer in state["layers"]]
        assert names == [brain.name, tissues.name]
        place = np.array([-40, -20, 50])
        neuroglancer.load(state | {"position": place.tolist(), "crossSectionScale": 0.3})
        volume = ngcore.open(tissues)
        to_world = np.array(json.loads((tissues / "transform.json").read_text()))
        voxel = np.linalg.solve(to_world, [*place * 1e6, 1])[:3] // 1e6
        expected = int(volume.scales[0][tuple(voxel.astype(int))][0])
        assert neuroglancer.value_at(tissues.name, place) == str(expected)
