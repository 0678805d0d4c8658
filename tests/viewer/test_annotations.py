"""Annotations in the real client: shown, picked, and filtered by a segment."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import nibabel
import nibabel.streamlines
import numpy as np
import pytest
from serving import running

import ngcore
from ngcore.annotating.annotate import annotations
from ngcore.server.folders import layer_of
from ngcore.storage import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Neuroglancer

pytestmark = pytest.mark.browser


def state(neuroglancer: Neuroglancer, source: str, **layer: Any) -> dict[str, Any]:
    return {
        "dimensions": {axis: [1e-3, "m"] for axis in "xyz"},
        "position": [0, 0, 0],
        "crossSectionScale": 0.1,
        "projectionScale": 60,
        "layout": "xy",
        "showAxisLines": False,
        "showDefaultAnnotations": False,
        "layers": [
            {
                "type": "annotation",
                "name": "marks",
                "source": neuroglancer.source(source),
                **layer,
            }
        ],
    }


def hover(neuroglancer: Neuroglancer, x: float, y: float) -> Any:
    """Move the mouse to a place of the page; return what the layer says about it."""
    page = neuroglancer.page
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(300)
    page.evaluate("viewer.mouseState.updateUnconditionally()")
    return page.evaluate(
        """() => ({
          id: viewer.mouseState.pickedAnnotationId ?? null,
          position: Array.from(viewer.mouseState.position ?? [])})"""
    )


def centre(neuroglancer: Neuroglancer) -> tuple[float, float]:
    box = neuroglancer.page.evaluate(
        """() => { const r = document.querySelector(".neuroglancer-rendered-data-panel")
          .getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; }"""
    )
    return box[0], box[1]


@pytest.mark.parametrize("sharding", [True, False])
@pytest.mark.parametrize("kind", ["point", "line", "box", "ellipsoid", "polyline"])
def test_every_kind_loads_and_is_picked_where_it_lies(neuroglancer, kind, sharding):
    name = f"{kind}-{sharding}"
    centres = np.array([[0.0, 0.0, 0.0], [9.0, 5.0, 0.0], [-9.0, -5.0, 1.0], [3, 3, 8]])
    options: Any = {"kind": kind, "sharding": sharding, "fsync": False, "max_per_cell": 2}
    if kind == "point":
        table = dict(zip("xyz", centres.T, strict=True))
    elif kind == "polyline":
        vertices = np.repeat(centres, 3, axis=0) + np.tile(
            [[-2, 0, 0], [0, 0, 0], [2, 2, 0]], (4, 1)
        )
        table = dict(zip("xyz", vertices.T, strict=True))
        table["of"] = np.repeat(np.arange(4), 3)
        options["group"] = "of"
    else:
        names = (
            ("x", "y", "z", "rx", "ry", "rz")
            if kind == "ellipsoid"
            else (*("x1", "y1", "z1", "x2", "y2", "z2"),)
        )
        half = np.array([2.0, 1.0, 0.5])
        ends = (
            (centres, np.tile(half, (4, 1)))
            if kind == "ellipsoid"
            else (centres - half, centres + half)
        )
        if kind == "line":
            ends[0][:, 2] = ends[1][:, 2] = centres[:, 2]
        table = dict(zip(names, np.concatenate(ends, axis=1).T, strict=True))
    count = len(next(iter(table.values())))
    table["size"] = np.linspace(1, 2, count)
    table["word"] = np.resize(["first", "second"], count)
    annotations(table, neuroglancer.folder / name, **options)
    neuroglancer.load(
        state(
            neuroglancer,
            name,
            shader="void main() { setColor(prop_word() == 0u ? vec3(1,0,0) : vec3(0,1,0)); }",
        )
    )
    x, y = centre(neuroglancer)
    place = (x, y) if kind != "box" else (x - 20, y)
    found = hover(neuroglancer, *place)
    if kind == "box":  # its outline is drawn
        found = hover(neuroglancer, x - 20, y - 2)
    assert found["id"] == "1", found


def oblique() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) * [0.5, 0.5, 2]
    affine[:3, 3] = [-10, 5, 20]
    return affine


def pixel(neuroglancer: Neuroglancer, offset: np.ndarray, scale: float) -> tuple[float, float]:
    x, y = centre(neuroglancer)
    return x + offset[0] / scale, y + offset[1] / scale


def test_a_relation_filters_by_the_selected_segment_and_properties_are_told(
    neuroglancer, tmp_path
):
    labels = np.ones((40, 30, 8), np.uint32)
    labels[20:] = 2
    nibabel.save(nibabel.Nifti1Image(labels, oblique()), tmp_path / "parts_dseg.nii")
    volume = neuroglancer.folder / "parts"
    ngcore.convert(tmp_path / "parts_dseg.nii", volume, fsync=False)
    voxels = np.array([[5.0, 10, 4], [12, 20, 4], [25, 10, 4], [33, 20, 4]])
    points = voxels @ oblique()[:3, :3].T + oblique()[:3, 3]
    table = {
        **dict(zip("xyz", points.T, strict=True)),
        "cell": np.array([1, 1, 2, 2]),
        "score": np.array([0.25, 0.5, 0.75, 1.0]),
        "word": np.array(["axon", "soma", "axon", "soma"]),
    }
    annotations(
        table, neuroglancer.folder / "cells", relations={"cell": "cell"}, like=volume, fsync=False
    )
    matrix = json.loads((volume / "transform.json").read_text())
    dimensions = {axis: [1e-3, "m"] for axis in "xyz"}
    resolution = np.diag([*ngcore.open(volume).scales[0].resolution, 1.0])
    to_mm = (np.diag([1e-6] * 3 + [1]) @ np.array(matrix) @ resolution)[:3].tolist()
    middle = points.mean(axis=0)
    scale = 0.05
    shown: dict[str, Any] = {
        "dimensions": dimensions,
        "position": middle.tolist(),
        "crossSectionScale": scale,
        "layout": "xy",
        "showAxisLines": False,
        "showDefaultAnnotations": False,
        "layers": [
            {
                "type": "segmentation",
                "name": "parts",
                "source": {
                    "url": neuroglancer.source("parts"),
                    "transform": {
                        "matrix": to_mm,
                        "outputDimensions": dimensions,
                        "inputDimensions": dimensions,
                    },
                },
                "segments": ["1"],
            },
            {
                "type": "annotation",
                "name": "cells",
                "source": neuroglancer.source("cells"),
                "linkedSegmentationLayer": {"cell": "parts"},
                "filterBySegmentation": ["cell"],
                "shader": "void main() { setPointMarkerSize(12.0); setColor(vec3(1, 1, 0)); }",
            },
        ],
    }

    def picked() -> list[str | None]:
        places = [pixel(neuroglancer, point - middle, scale) for point in points]
        return [hover(neuroglancer, *place)["id"] for place in places]

    neuroglancer.load(shown)
    for point, value in zip(points, "1122", strict=True):
        assert neuroglancer.value_at("parts", point) in (value, None)
    assert picked() == ["1", "2", None, None]
    shown["layers"][0]["segments"] = ["2"]
    neuroglancer.load(shown)
    assert picked() == [None, None, "3", "4"]
    place = pixel(neuroglancer, points[3] - middle, scale)
    position = hover(neuroglancer, *place)["position"]
    np.testing.assert_allclose(position, points[3], atol=0.5)
    neuroglancer.page.evaluate(
        "viewer.selectionDetailsState.select(); viewer.selectionDetailsState.pin.value = true"
    )
    for expected in ("score", "word", "soma", "cell"):
        neuroglancer.page.wait_for_function(
            "word => document.body.innerText.includes(word)", arg=expected
        )
    neuroglancer.start()  # without the side panel


def test_the_three_layers_of_tracts_are_shown_together(neuroglancer, tmp_path):
    random = np.random.default_rng(1)
    lines = [
        np.cumsum(random.normal((0.5, 0, 0), 1, (40, 3)), axis=0).astype(np.float32)
        for _ in range(80)
    ]
    tractogram = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, tmp_path / "left.trk")
    ngcore.tracts(tmp_path / "left.trk", neuroglancer.folder / "tr", density=2, fsync=False)
    neuroglancer.load(
        {
            "dimensions": {axis: [1e-3, "m"] for axis in "xyz"},
            "position": [10, 0, 0],
            "projectionScale": 80,
            "layout": "3d",
            "layers": [
                {
                    "type": "segmentation",
                    "name": "bundles",
                    "source": neuroglancer.source("tr/bundles"),
                    "segments": ["1"],
                    "skeletonRendering": {"shader": "void main() { emitRGB(abs(orientation)); }"},
                },
                {
                    "type": "annotation",
                    "name": "streamlines",
                    "source": neuroglancer.source("tr/streamlines"),
                    "linkedSegmentationLayer": {"bundle": "bundles"},
                    "filterBySegmentation": ["bundle"],
                    "shader": "void main() { setColor(prop_direction()); }",
                },
                {"type": "image", "name": "density", "source": neuroglancer.source("tr/density")},
            ],
        }
    )
    names = neuroglancer.page.evaluate(
        """() => viewer.layerManager.getLayerByName("bundles").layer.displayState
          .segmentationGroupState.value.segmentPropertyMap?.value?.inlineProperties?.ids?.length
          ?? -1"""
    )
    assert names in (1, 2, -1)
    picture = neuroglancer.page.evaluate(
        """() => { viewer.display.draw(); const c = viewer.display.canvas;
          const gl = c.getContext("webgl2"); const w = c.width, h = c.height;
          const data = new Uint8Array(4 * w * h);
          gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, data);
          let coloured = 0;
          for (let i = 0; i < data.length; i += 4) {
            const top = Math.max(data[i], data[i + 1], data[i + 2]);
            const low = Math.min(data[i], data[i + 1], data[i + 2]);
            if (top - low > 60) ++coloured;
          }
          return coloured; }"""
    )
    assert picture > 500


_PANELS = """() => [...viewer.display.panels].map(panel => {
  const group = panel.element.closest(".neuroglancer-layer-group-viewer");
  const names = [...group.querySelectorAll(".neuroglancer-layer-item-label")];
  const note = panel.element.querySelector(".ngcore-note");
  return [Boolean(panel.sliceView), names.map(e => e.textContent), note?.textContent ?? ""];
})"""


@pytest.mark.parametrize("count", [600, 60])
def test_without_a_graphics_card_large_bundles_are_drawn_in_3d_alone(
    neuroglancer: Neuroglancer, tmp_path: Path, count: int
) -> None:
    random = np.random.default_rng(1)
    lines = random.normal((0.5, 0, 0), 1, (count, 40, 3)).cumsum(axis=1).astype(np.float32)
    tractogram = nibabel.streamlines.Tractogram(list(lines), affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, tmp_path / "left.tck")
    ngcore.tracts(tmp_path / "left.tck", tmp_path / "tr", fsync=False)
    with running("view", tmp_path / "tr", "--no-browser") as (_, url):
        given = json.loads(unquote(url.partition("#!")[2]))
        with neuroglancer.visiting(url):
            shown = neuroglancer.state()
            panels = neuroglancer.page.evaluate(_PANELS)
    assert given["ngcore"]["heavy"] == (["bundles"] if count == 600 else [])
    names = ["bundles", "streamlines"]
    in_sections = names[1:] if count == 600 else names
    note = "bundles: in 3-D only (no graphics card)" if count == 600 else ""
    expected = [[True, in_sections, note]] * 3 + [[False, names, ""]]
    assert sorted(panels, reverse=True) == sorted(expected, reverse=True)
    # Polylines of 40 vertices, some 2,500 in a panel; a ninth of that without a graphics card.
    polylines = given["layers"][1]
    assert polylines["projectionAnnotationSpacing"] == pytest.approx((2 * 40) ** 0.5, abs=0.06)
    for name in ("projectionAnnotationSpacing", "crossSectionAnnotationSpacing"):
        assert shown["layers"][1][name] == pytest.approx(3 * polylines[name])


def test_shaders_colour_by_a_property_and_hide_words(neuroglancer):
    count = 40
    table = {
        **dict(zip("xyz", np.zeros((3, count)), strict=True)),
        "score": np.linspace(-1, 1, count),
        "rank": np.arange(count) * 10,
    }
    table["x"] = np.linspace(-12, 12, count)
    word = {"word": np.resize(["left one", "right", "3rd"], count)}
    colour = {"tint": np.resize(["#ff0000", "#00ff00"], count)}
    for name, more in (("number", {}), ("word", word), ("colour", {**word, **colour})):
        folder = neuroglancer.folder / f"shaded-{name}"
        annotations({**table, **more}, folder, fsync=False)
        (layer,) = (layer_of(LocalStore(folder), "marks", "precomputed://x"),)
        shader = layer.members["shader"]
        neuroglancer.load(state(neuroglancer, f"shaded-{name}", shader=shader))
        error = neuroglancer.page.evaluate(
            """() => { const {layer} = viewer.layerManager.getLayerByName("marks");
              const {value} = layer.annotationDisplayState.shaderError;
              return value == null ? null : String(value.message ?? value); }"""
        )
        assert error is None, (shader, error)
        x, y = centre(neuroglancer)
        assert hover(neuroglancer, x + 12 / 0.1 / 13 / 3, y)["id"] is not None
    hidden = shader.replace("default=true", "default=false")
    neuroglancer.load(state(neuroglancer, "shaded-colour", shader=hidden))
    assert hover(neuroglancer, x + 12 / 0.1 / 13 / 3, y)["id"] is None


@pytest.mark.parametrize("points", [[(3, 4, 5)], [(0, 0, 7), (9, 5, 7)], [(2, 2, 2)] * 3])
@pytest.mark.parametrize("sharding", [True, False])
def test_points_in_a_plane_or_in_one_place_are_shown(neuroglancer, points, sharding):
    name = f"flat-{len(points)}-{points[0][0]}-{sharding}"
    annotations(
        np.array(points, float),
        neuroglancer.folder / name,
        max_per_cell=2,
        sharding=sharding,
        fsync=False,
    )
    neuroglancer.load({**state(neuroglancer, name), "position": [float(x) for x in points[0]]})
    found = hover(neuroglancer, *centre(neuroglancer))
    assert found["id"] in ("1", "2", "3")


def test_skeletons_of_a_volume_lie_in_its_segments(neuroglancer, tmp_path):
    labels = np.zeros((40, 30, 8), np.uint32)
    labels[5:35, 10:20, 2:6] = 7
    nibabel.save(nibabel.Nifti1Image(labels, oblique()), tmp_path / "tree_dseg.nii")
    volume = neuroglancer.folder / "tree"
    ngcore.convert(tmp_path / "tree_dseg.nii", volume, fsync=False)
    voxels = np.array([[8.0, 14, 4], [20, 14, 4], [32, 14, 4]])
    points = voxels @ oblique()[:3, :3].T + oblique()[:3, 3]
    rows = [f"{n + 1} 0 {x} {y} {z} 0.5 {n or -1}" for n, (x, y, z) in enumerate(points)]
    (tmp_path / "7.swc").write_text("\n".join(rows))
    ngcore.skeletons(tmp_path / "7.swc", volume, units="mm", fsync=False)
    resolution = ngcore.open(volume).scales[0].resolution
    neuroglancer.load(
        {
            "dimensions": {a: [nm * 1e-9, "m"] for a, nm in zip("xyz", resolution, strict=True)},
            "position": [20.5, 14.5, 4.5],
            "crossSectionScale": 0.1,
            "layout": "xy",
            "showAxisLines": False,
            "showDefaultAnnotations": False,
            "layers": [
                {
                    "type": "segmentation",
                    "name": "tree",
                    "source": neuroglancer.source("tree"),
                    "segments": ["7"],
                    "selectedAlpha": 0,
                    "skeletonRendering": {"mode2d": "lines", "lineWidth2d": 5},
                    "segmentColors": {"7": "#ff0000"},
                }
            ],
        }
    )
    # A line along x through the middle of the panel, from voxel 8.5 to 32.5.
    columns, rows_of = neuroglancer.page.evaluate(
        """() => { viewer.display.draw(); const c = viewer.display.canvas;
          const gl = c.getContext("webgl2"); const w = c.width, h = c.height;
          const data = new Uint8Array(4 * w * h);
          gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, data);
          const xs = [], ys = [];
          for (let y = 0; y < h; ++y) for (let x = 0; x < w; ++x) {
            const i = 4 * (y * w + x);
            if (data[i] > 150 && data[i + 1] < 90) { xs.push(x); ys.push(h - 1 - y); }
          }
          return [xs, ys]; }"""
    )
    assert columns
    x, y = centre(neuroglancer)
    offset = neuroglancer.page.evaluate(
        """() => { const box = viewer.display.canvas.getBoundingClientRect();
          return [box.left, box.top]; }"""
    )
    low, high = min(columns) + offset[0] - x, max(columns) + offset[0] - x
    assert abs(low + 120) < 6
    assert abs(high - 120) < 6
    assert abs(np.mean(rows_of) + offset[1] - y) < 4
