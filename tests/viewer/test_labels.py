"""Names, tags, numbers and colours of labels in the real Neuroglancer client."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from shown_states import name_volumes, state_of

import ngcore
from ngcore.labelling.labels import write_labels
from ngcore.volume.segment_colours import default_colours

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Neuroglancer

pytestmark = pytest.mark.browser

BIG = 2**63 + 5
TABLE = f"""\
0,Unknown,0,0,0
9,Left-Nine,220,216,20,left
17,Right Seventeen,0,118,14,right
1000,"Ünïcode, big",,,,left
{BIG},Largest,103,255,255,right
"""


@pytest.fixture(scope="module")
def atlas(neuroglancer: Neuroglancer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four slabs of labels along x, 10 voxels each, with names."""
    labels = np.repeat(np.array([9, 17, 1000, BIG], np.uint64), 10)[:, None, None]
    dest = neuroglancer.folder / "atlas"
    ngcore.convert(
        np.tile(labels, (1, 40, 40)),
        dest,
        type="segmentation",
        resolution=(1e6, 1e6, 1e6),
        fsync=False,
    )
    table = tmp_path_factory.mktemp("tables") / "table.csv"
    table.write_text(TABLE, encoding="utf-8")
    write_labels(dest, table, measure=True)
    return dest


def show(neuroglancer: Neuroglancer, **layer: Any) -> None:
    neuroglancer.load(
        {
            "dimensions": {axis: [1e-3, "m"] for axis in "xyz"},
            "position": [20, 20, 20],
            "crossSectionScale": 0.1,
            "layout": "xy",
            "showAxisLines": False,
            "showScaleBar": False,
            "layers": [
                {
                    "type": "segmentation",
                    "name": "atlas",
                    "source": neuroglancer.source("atlas"),
                    "selectedAlpha": 1,
                    "segments": ["9", "17", "1000", str(BIG)],
                    "tab": "segments",
                    **layer,
                }
            ],
        }
    )


def hover_texts(neuroglancer: Neuroglancer) -> set[str]:
    """Return what the client says of voxels under the mouse, from edge to edge."""
    box = neuroglancer.page.locator("canvas").first.bounding_box()
    assert box is not None
    texts = set()
    for part in np.linspace(0.05, 0.95, 30):
        neuroglancer.page.mouse.move(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
        neuroglancer.page.wait_for_timeout(30)
        shown = neuroglancer.page.evaluate("JSON.stringify(viewer.layerSelectedValues.toJSON())")
        value = json.loads(shown).get("atlas", {}).get("value")
        texts.add(json.dumps(value, ensure_ascii=False))
    return texts


def test_hovering_shows_the_name_of_the_label(neuroglancer: Neuroglancer, atlas: Path) -> None:
    assert atlas.exists()
    show(neuroglancer)
    names = ("Left-Nine #left", "Right Seventeen #right", "Ünïcode, big", "Largest")
    texts = ""
    for _ in range(5):  # the client looks when it has time: on a busy machine it passes some over
        texts += " ".join(hover_texts(neuroglancer))
        if all(name in texts for name in names):
            break
    for name in names:
        assert name in texts


def test_colours_are_those_of_the_table_and_else_those_of_the_client(
    neuroglancer: Neuroglancer, atlas: Path
) -> None:
    """`ngcore view` puts them in its state; a label without one has the client's."""
    volumes = name_volumes([atlas])
    state = state_of(
        volumes, {name: neuroglancer.source("atlas") for name in volumes}, space="world"
    )
    (layer,) = state["layers"]
    assert layer["segmentColors"].keys() == {"9", "17", str(BIG)}
    show(neuroglancer, segmentColors=layer["segmentColors"])
    pixels = _pixels(neuroglancer)
    for colour in [(220, 216, 20), (0, 118, 14), (103, 255, 255)]:
        assert _share(pixels, colour) > 0.03
    assert _share(pixels, default_colours(np.array([1000]))[0]) > 0.03


def _pixels(neuroglancer: Neuroglancer) -> np.ndarray:
    data = neuroglancer.page.evaluate("ngcoreTest.pixels()").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def _share(pixels: np.ndarray, colour: Any) -> float:
    return float((np.abs(pixels - np.asarray(colour, int)).max(axis=-1) <= 1).mean())
