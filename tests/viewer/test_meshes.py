"""Surfaces lie on their labels in the real Neuroglancer client, fragments and VTK alike.

Positions are the client's own: the vertices that it drew, moved as it moves them, the depth under
the mouse, and the labels that it shows at points.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import nibabel
import numpy as np
import pytest
import thorough
import trimesh
from mesh_script import MESHES_SCRIPT
from real_data import nilearn_data
from shown_states import name_volumes, state_of

import ngcore
from ngcore.cli import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from browser import Neuroglancer

pytestmark = pytest.mark.browser

_TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0], [0.48, 0.64, 0.6]])
AFFINES = {
    name: np.vstack([np.column_stack([matrix, (-30, 12, 7)]), (0, 0, 0, 1)])
    for name, matrix in {
        "oblique": _TURN @ np.diag([1.2, 0.8, 1.9]),
        "left-handed": _TURN @ np.diag([-1.2, 0.8, 1.9]),
        "sheared": np.array([[1.1, -0.4, 0.4], [0.5, 0.7, -0.6], [0, 0.5, 1.7]]),
    }.items()
}
LOW, HIGH = np.array([5, 6, 7]), np.array([15, 17, 19])
"""The cube of labels, in voxels: the first one, and the one after the last."""
OFFSET = np.array([-11, 3, 40])


def box(affine: np.ndarray, path: Path) -> None:
    """Write the surface of the cube as GIfTI, its corners moved from voxel corners by `affine`."""
    surface = trimesh.creation.box(bounds=[LOW, HIGH])
    for _ in range(2):
        surface = surface.subdivide()
    points = (surface.vertices @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
    triangles = surface.faces.astype(np.int32)
    if np.linalg.det(affine) < 0:
        triangles = triangles[:, ::-1]
    arrays = [
        nibabel.gifti.GiftiDataArray(points, "NIFTI_INTENT_POINTSET"),
        nibabel.gifti.GiftiDataArray(triangles, "NIFTI_INTENT_TRIANGLE"),
    ]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)


def edge(
    neuroglancer: Neuroglancer, layer: str, middle: np.ndarray, direction: np.ndarray
) -> float:
    """Return how many times `direction` a label reaches from a point, as the client shows it."""
    label = neuroglancer.value_at(layer, middle)
    assert label == "7"
    low, high = 0.0, 9.0
    while high - low > 0.01:
        half = (low + high) / 2
        if neuroglancer.value_at(layer, middle + half * direction) == label:
            low = half
        else:
            high = half
    return low


@pytest.mark.parametrize("name", list(AFFINES)[: thorough.amount(1, 3)])
def test_a_cube_of_labels_and_its_surfaces_coincide(
    neuroglancer: Neuroglancer, tmp_path: Path, name: str
) -> None:
    affine = AFFINES[name]
    dest = neuroglancer.folder / name
    labels = np.zeros((22, 24, 26), np.int32)
    labels[tuple(map(slice, LOW, HIGH))] = 7
    labels[0, 0, 0] = 9  # selected too, and without a mesh: the client must get ready all the same
    nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / "cube_dseg.nii")
    ngcore.convert(
        tmp_path / "cube_dseg.nii", dest, voxel_offset=tuple(OFFSET.tolist()), fsync=False
    )
    # Voxel corners in the volume's own millimetres, and in the world's, where the affine puts
    # the middle of voxel 0 at its translation.
    native = np.diag([*np.linalg.norm(affine[:3, :3], axis=0), 1.0])
    native[:3, 3] = OFFSET * np.diag(native)[:3]
    world = affine.copy()
    world[:3, 3] -= affine[:3, :3] @ [0.5, 0.5, 0.5]
    for space, matrix in (("native", native), ("world", world)):
        box(matrix, tmp_path / f"{space}.gii")
        words = [str(tmp_path / f"{space}.gii"), str(dest), "--space", space]
        assert run(["mesh-to-precomputed", *words]) == 0
        vtk = neuroglancer.folder / f"{name}-{space}.vtk"
        assert run(["mesh-to-vtk", str(tmp_path / f"{space}.gii"), str(vtk)]) == 0
    (tmp_path / "fragments.csv").write_text("7,native,world\n")
    assert run(["link-mesh-fragments", str(tmp_path / "fragments.csv"), str(dest)]) == 0

    for space in ("native", "world"):
        volumes = name_volumes([dest])
        state = state_of(volumes, {name: neuroglancer.source(name)}, space=space)
        assert "9" in map(str, state["layers"][0]["segments"])
        vtk_url = f"vtk://{neuroglancer.origin}/{name}-{space}.vtk"
        state["layers"].append({"type": "mesh", "name": "vtk", "source": vtk_url})
        units_mm = np.array([scale[0] * 1e3 for scale in state["dimensions"].values()])
        matrix = np.diag([*(1 / units_mm), 1.0]) @ (native if space == "native" else world)
        axes = matrix[:3, :3]
        middle = axes @ ((LOW + HIGH) / 2) + matrix[:3, 3]
        neuroglancer.load(state | {"position": middle.tolist(), "crossSectionScale": 0.1})
        neuroglancer.page.evaluate(MESHES_SCRIPT)
        edges = np.array(
            [
                [edge(neuroglancer, name, middle, sign * axes[:, axis]) for axis in range(3)]
                for sign in (-1, 1)
            ]
        )
        fragments = neuroglancer.page.evaluate("name => ngcoreMeshes.vertices(name)", name)
        drawn = neuroglancer.page.evaluate("name => ngcoreMeshes.vertices(name)", "vtk")
        assert {*fragments} == {"7/native", "7/world"}
        assert len(drawn) == 1
        for vertices in (*fragments.values(), *drawn.values()):
            voxels = np.linalg.solve(axes, (np.array(vertices) - middle).T).T
            assert len(voxels) == 98
            assert voxels.min(axis=0) == pytest.approx(-edges[0], abs=0.1)
            assert voxels.max(axis=0) == pytest.approx(edges[1], abs=0.1)

        # What is drawn, not only what is loaded: the depth under the mouse lies on a face.
        state |= {"layout": "3d", "position": middle.tolist(), "showSlices": False}
        neuroglancer.load(state | {"projectionScale": 40})
        for point in points_under(neuroglancer):
            outermost = np.abs(np.linalg.solve(axes, point - middle)) / edges.mean(axis=0)
            assert outermost.max() == pytest.approx(1, abs=0.1 / edges.max())


@pytest.mark.parametrize("sharding", [True, False][: thorough.amount(1, 2)])
def test_levels_of_detail_lie_on_their_label(neuroglancer: Neuroglancer, sharding: bool) -> None:
    """A ball of some thousand triangles, near by and from far away, where coarser levels do."""
    radius, middle = 50, np.array([52.5, 54.5, 53.5])
    away = np.add.outer(
        np.add.outer((np.arange(105) + 0.5 - middle[0]) ** 2, (np.arange(109) + 0.5 - 54.5) ** 2),
        (np.arange(107) + 0.5 - middle[2]) ** 2,
    )
    name = f"ball-{sharding}"
    dest = neuroglancer.folder / name
    ngcore.convert(
        (away < radius**2).astype(np.uint32) * 7,
        dest,
        type="segmentation",
        resolution=(8, 8, 8),
        voxel_offset=tuple(OFFSET.tolist()),
        fsync=False,
    )
    assert run(["mesh", str(dest), *([] if sharding else ["--no-sharding"])]) == 0
    state = state_of(name_volumes([dest]), {name: neuroglancer.source(name)}, space="native")
    units_nm = np.array([scale[0] * 1e9 for scale in state["dimensions"].values()])
    place = (middle + OFFSET) * 8 / units_nm
    state |= {"layout": "3d", "position": place.tolist(), "showSlices": False}
    state |= {"showAxisLines": False}
    fragments = []
    for voxels_in_view in (4000, 150):
        neuroglancer.load(state | {"projectionScale": voxels_in_view * 8 / units_nm[0]})
        neuroglancer.page.evaluate(MESHES_SCRIPT)
        for point in points_under(neuroglancer, reach=3):
            distance = np.linalg.norm((point - place) * units_nm / 8)
            # Far away a pixel is some voxels wide, and the surface is steep within it.
            assert distance == pytest.approx(radius, abs=1.5 + voxels_in_view / 2000)
        fragments.append(neuroglancer.page.evaluate("name => ngcoreMeshes.fragments(name)", name))
    # A number of the level and one of the octree's node: from far away the coarsest will do.
    assert fragments[0] == ["7/1:8"]
    assert fragments[1] == [*(f"7/0:{node}" for node in range(8)), "7/1:8"]


def points_under(neuroglancer: Neuroglancer, reach: int = 40) -> list[np.ndarray]:
    """Return points of surfaces under five pixels around the middle of the view."""
    bounds = neuroglancer.page.locator(".neuroglancer-rendered-data-panel").bounding_box()
    assert bounds is not None
    found = []
    for right, down in reach * np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]):
        x = bounds["x"] + bounds["width"] / 2 + right
        y = bounds["y"] + bounds["height"] / 2 + down
        neuroglancer.page.mouse.move(x, y)
        point: Sequence[float] | None = neuroglancer.page.evaluate(
            "([x, y]) => ngcoreMeshes.pointUnder(x, y)", [x, y]
        )
        assert point is not None
        found.append(np.array(point))
    return found


@pytest.mark.skipif(not thorough.IS_THOROUGH, reason="thorough: the cube shows the same, sooner")
def test_pial_surfaces_lie_on_the_brain(neuroglancer: Neuroglancer, tmp_path: Path) -> None:
    """fsaverage's surface and the MNI brain differ by some mm; a centimetre aside fits less."""
    data = nilearn_data("")
    grey, white = (
        nibabel.load(data / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz")
        for kind in ("gm", "wm")
    )
    tissue = sum(np.asarray(image.dataobj, np.float32) for image in (grey, white)) > 128
    source = tmp_path / "brain_mask.nii"
    nibabel.save(nibabel.Nifti1Image(tissue.astype(np.uint8), grey.affine), source)
    dest = neuroglancer.folder / "pial"
    ngcore.convert(source, dest, chunk_size=256, max_scales=1, fsync=False)
    for side in ("left", "right"):
        surface = str(data / f"fsaverage5/pial_{side}.gii.gz")
        assert run(["mesh-to-precomputed", surface, str(dest), "--space", "world"]) == 0
        assert run(["mesh-to-vtk", surface, str(neuroglancer.folder / f"{side}.vtk")]) == 0
    (tmp_path / "fragments.csv").write_text("1,pial_left,pial_right\n")
    assert run(["link-mesh-fragments", str(tmp_path / "fragments.csv"), str(dest)]) == 0

    state = state_of(name_volumes([dest]), {"pial": neuroglancer.source("pial")}, space="world")
    url = f"vtk://{neuroglancer.origin}/left.vtk"
    state["layers"].append({"type": "mesh", "name": "vtk", "source": url})
    neuroglancer.load(state)
    neuroglancer.page.evaluate(MESHES_SCRIPT)
    meshes = neuroglancer.page.evaluate("name => ngcoreMeshes.vertices(name)", "pial")
    drawn = neuroglancer.page.evaluate("name => ngcoreMeshes.vertices(name)", "vtk")
    left = np.array(meshes["1/pial_left"])
    assert left == pytest.approx(np.array(*drawn.values()), abs=0.001)
    # Farther out than the outermost vertex to the left and right, front, back and top is nothing.
    both = np.concatenate([meshes[f"1/pial_{side}"] for side in ("left", "right")])
    for direction in np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, 1]]):
        outermost = both[np.argmax(both @ direction)]
        assert neuroglancer.value_at("pial", outermost - 5 * direction) == "1"
        assert neuroglancer.value_at("pial", outermost + 10 * direction) in ("0", None)

    def inside(shift: Sequence[float]) -> float:
        """Return the share of vertices, moved by some millimetres, that lie in the tissue."""
        values = neuroglancer.page.evaluate(
            "points => points.map(point => ngcoreTest.valueAt('pial', point))",
            (both[::40] + shift).tolist(),
        )
        return sum(value == "1" for value in values) / len(values)

    in_place = inside([0, 0, 0])
    assert in_place > 0.95
    for shift in 10 * np.vstack([np.eye(3), -np.eye(3)]):
        assert inside(shift) < in_place - 0.02
