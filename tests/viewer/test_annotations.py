"""Annotations in the real client: shown, picked, and filtered by a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ngcore.annotating.annotate import annotations

if TYPE_CHECKING:
    from browser import Neuroglancer

pytestmark = pytest.mark.browser

_SHOWN = """name => {
  const {layer} = viewer.layerManager.getLayerByName(name);
  const found = {};
  for (const state of layer.annotationStates.states) {
    const {source} = state;
    const add = annotation => { found[annotation.id] = annotation; };
    for (const related of [source.spatialIndices ?? []].flat()) {
      for (const chunk of related.chunks.values()) {
        const {data} = chunk;
        if (!data) continue;
        const {annotationPropertySerializers: serializers} = source;
        const {serializedAnnotations: all} = data;
        all.typeToIds.forEach((ids, type) => ids.forEach(id => { found[id] = type; }));
      }
    }
  }
  return found;
}"""


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
    """Move the mouse to a place of the page; return what the layer says of it."""
    page = neuroglancer.page
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(300)
    page.evaluate("viewer.mouseState.updateUnconditionally()")
    return page.evaluate(
        """() => ({
          id: viewer.mouseState.pickedAnnotationId ?? null,
          position: Array.from(viewer.mouseState.position ?? []),
          text: document.querySelector(".neuroglancer-layer-panel, .neuroglancer-viewer")
            ?.textContent ?? ""})"""
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
