"""A volume in one zip file, with meshes and names, opened from a plain web server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from mesh_script import MESHES_SCRIPT
from serving import plainly_served

import ngcore
from ngcore.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Neuroglancer

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("source", ["{url}|zip:|neuroglancer-precomputed:", "{url}|zip:"])
def test_voxels_meshes_and_names_are_there(
    neuroglancer: Neuroglancer, tmp_path: Path, source: str
) -> None:
    labels = np.zeros((40, 40, 40), np.uint32)
    labels[5:20, 5:20, 5:20] = 7
    labels[25:35, 25:35, 25:35] = 300
    volume = tmp_path / "v"
    ngcore.convert(labels, volume, type="segmentation", resolution=(8, 8, 8), fsync=False)
    (tmp_path / "lut.txt").write_text("7 Seven 255 0 0 0\n300 Many 0 255 0 0\n")
    assert run(["labels", str(volume), str(tmp_path / "lut.txt")]) == 0
    assert run(["mesh", str(volume)]) == 0
    (tmp_path / "served").mkdir()
    assert run(["pack", str(volume), str(tmp_path / "served" / "v.zip")]) == 0
    with plainly_served(tmp_path / "served") as origin:
        layer = {"type": "segmentation", "name": "v", "segments": ["7", "300"]}
        layer["source"] = source.format(url=f"{origin}/v.zip")
        state = {
            "dimensions": {axis: [8e-9, "m"] for axis in "xyz"},
            "position": [20.5, 20.5, 20.5],
            "crossSectionScale": 0.5,
            "projectionScale": 80,
            "layout": "4panel",
            "layers": [layer],
        }
        neuroglancer.load(state)
        points = [(12.5, 12.5, 12.5), (30.5, 30.5, 30.5), (22.5, 22.5, 22.5)]
        assert neuroglancer.values_at("v", points) == ["7", "300", "0"]
        neuroglancer.page.evaluate(MESHES_SCRIPT)
        fragments = neuroglancer.page.evaluate("name => ngcoreMeshes.fragments(name)", "v")
        assert {name.partition("/")[0] for name in fragments} == {"7", "300"}
        names = neuroglancer.page.evaluate("""() => {
          const layer = viewer.layerManager.getLayerByName("v").layer;
          const names = layer.displayState.segmentationGroupState.value.segmentPropertyMap.value;
          return [...names.segmentPropertyMap.inlineProperties.properties]
            .filter((property) => property.type === "label")
            .flatMap((property) => [...property.values]);
        }""")
        assert names == ["Seven", "Many"]
