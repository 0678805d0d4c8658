"""What `ngcore view` shows of files: panels, maps, time and colour, by pixels and values."""

from __future__ import annotations

import io
import json
import math
import os
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import thorough
import tifffile
from heads import LINEAR, MARKS, head, marks, stored_as
from mesh_script import MESHES_SCRIPT
from PIL import Image
from serving import plainly_served, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browser import Neuroglancer
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

_PANELS = """() => [...viewer.display.panels].filter(p => p.sliceView).map(p => {
  const {left, top, width, height} = p.element.getBoundingClientRect();
  const sides = [...p.element.querySelectorAll(".ngcore-side")].map(e => e.textContent);
  return {box: [left, top, left + width, top + height].map(Math.round), sides};
})"""
_PLAIN = """() => {
  viewer.showAxisLines.value = false; viewer.showScaleBar.value = false;
}"""


def save(path: Path, values: Any, affine: Any, step: float | None = None) -> Path:
    image = nibabel.Nifti1Image(values, affine)
    if step is not None:
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_zooms((*image.header.get_zooms()[:3], step))
    nibabel.save(image, path)
    return path


@pytest.fixture
def resized(neuroglancer: Neuroglancer) -> Iterator[Neuroglancer]:
    yield neuroglancer
    neuroglancer.page.set_viewport_size({"width": 800, "height": 600})


def pictures(neuroglancer: Neuroglancer) -> list[tuple[np.ndarray, list[str]]]:
    """Return the pixels of each cross section, without marks, and the letters at its sides."""
    page = neuroglancer.page
    page.evaluate(_PLAIN)
    neuroglancer.settle()
    panels = page.evaluate(_PANELS)
    page.add_style_tag(content=".ngcore-side, .neuroglancer-panel * {visibility: hidden}")
    page.evaluate("viewer.display.draw()")
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return [(np.asarray(shot.crop(panel["box"])), panel["sides"]) for panel in panels]


def extent(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Return where a picture is not black: left, top, right, bottom."""
    inner = picture[2:-2, 2:-2]
    rows, columns = np.nonzero(inner.max(axis=-1) > 20)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


WINDOWS = [(1366, 768), (1920, 1080), (2560, 1300)]
CASES = [("upright", "RAS"), ("rotated", "PIL"), ("left-handed", "SLA")]


@pytest.mark.parametrize(
    ("window", "case"),
    [(w, c) for w in WINDOWS for c in CASES]
    if thorough.IS_THOROUGH
    else list(zip(WINDOWS, CASES, strict=True))[:2],
)
def test_sections_are_anatomical_and_fit_any_window(
    resized: Neuroglancer, tmp_path: Path, window: tuple[int, int], case: tuple[str, str]
) -> None:
    affine, code = case
    nibabel.save(stored_as(head(LINEAR[affine]), code), tmp_path / "head.nii.gz")
    resized.page.set_viewport_size({"width": window[0], "height": window[1]})
    arguments = (tmp_path / "head.nii.gz", "--no-browser")
    with running("view", *arguments) as (_, url), resized.visiting(url):
        found = pictures(resized)
        sides = [letters for _, letters in found]
        assert sides == [list("LRAP"), list("LRSI"), list("PASI")]
        for picture, _ in found:
            left, top, right, bottom = extent(picture)
            height, width = picture.shape[:2]
            assert min(left, top) > 0
            assert right < width - 4
            assert bottom < height - 4
            assert max(right - left, bottom - top) >= 0.6 * min(width, height)
        values = resized.values_at("head", list(MARKS.values()))
        assert values == list(MARKS)


_GROW = """pixels => {
  document.querySelector(".neuroglancer-viewer-top-row").style.minHeight = `${pixels}px`;
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""
_FILL = """() => {
  const {element} = [...viewer.display.panels].find(panel => panel.sliceView);
  const height = element.getBoundingClientRect().height - 2 * element.clientTop;
  return height * viewer.navigationState.zoomFactor.value;
}"""


def check_refitting(page: Page) -> None:
    """Check that sections are fitted again when the client's bar grows, until the page is touched.

    The bar grows in earnest too, when the client shows the position in it.
    """
    before = page.evaluate(_FILL)
    page.evaluate(_GROW, 60)
    page.wait_for_function(f"before => Math.abs(({_FILL})() / before - 1) < 1e-6", arg=before)
    page.mouse.click(2, 2)
    page.evaluate(_GROW, 100)
    assert page.evaluate(_FILL) < 0.95 * before


@pytest.mark.skipif(not thorough.IS_THOROUGH, reason="a slow processor takes its time")
def test_a_slow_processor_shows_the_same(resized: Neuroglancer, tmp_path: Path) -> None:
    nibabel.save(head(LINEAR["rotated"]), tmp_path / "head.nii.gz")
    nibabel.save(marks(), tmp_path / "marks_dseg.nii.gz")
    rows = "".join("{},{},{}\n".format(*place) for place in MARKS.values())
    (tmp_path / "points.csv").write_text(f"x,y,z\n{rows}")
    things = [tmp_path / name for name in ("head.nii.gz", "marks_dseg.nii.gz", "points.csv")]
    resized.page.set_viewport_size({"width": 1366, "height": 768})
    throttle = resized.page.context.new_cdp_session(resized.page)
    with running("view", *things, "--no-browser") as (_, url):
        found = []
        for rate in (1, 4):
            throttle.send("Emulation.setCPUThrottlingRate", {"rate": rate})
            with resized.visiting(url):
                state = resized.state()
                assert len(state["layers"]) == 3
                extents = [extent(picture) for picture, _ in pictures(resized)]
                found.append((zooms(state), extents))
                if rate == 1:
                    check_refitting(resized.page)
            throttle.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    # Layouts differ by less than a tenth of a pixel, of which the client makes whole ones.
    assert found[0][0] == pytest.approx(found[1][0], rel=3e-4)
    assert np.abs(np.subtract(found[0][1], found[1][1])).max() <= 1


AFFINE = np.diag([2.0, 2, 2, 1])
AFFINE[:3, 3] = (-30, -40, -20)


def colour_at(neuroglancer: Neuroglancer, point: tuple[float, ...]) -> np.ndarray:
    """Return the colour at a point of the world, in the middle of the axial section."""
    neuroglancer.page.evaluate(
        "p => { viewer.navigationState.position.value = Float32Array.from(p); }", list(point)
    )
    neuroglancer.settle()
    picture, _ = pictures(neuroglancer)[0]
    row, column = picture.shape[0] // 2, picture.shape[1] // 2
    return picture[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).mean(axis=0)


def test_a_map_lies_over_its_image_whatever_the_order(
    neuroglancer: Neuroglancer, tmp_path: Path
) -> None:
    t1 = np.full((30, 40, 20), 120, np.int16)
    t1[0], t1[-1] = 200, 0
    labels = np.zeros((30, 40, 20), np.uint8)
    labels[:, :10] = 7
    zmap = np.zeros((15, 20, 10), np.float32)
    zmap[8:, 10:15] = 4
    zmap[:7, 10:15] = -4
    zmap[:, 15:] = np.nan
    coarse = AFFINE @ np.diag([2.0, 2, 2, 1])
    coarse[:3, 3] = AFFINE[:3, 3] + 1
    save(tmp_path / "t1.nii", t1, AFFINE)
    save(tmp_path / "t1_dseg.nii", labels, AFFINE)
    save(tmp_path / "zmap.nii", zmap, coarse)
    points = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], float)
    lines = "".join(f"v {' '.join(map(str, point))}\n" for point in points)
    (tmp_path / "corner.obj").write_text(lines + "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n")
    things = [tmp_path / name for name in ("zmap.nii", "t1.nii", "t1_dseg.nii", "corner.obj")]
    with running("view", *things, "--no-browser") as (_, url), neuroglancer.visiting(url):
        state = neuroglancer.state()
        assert [x["name"] for x in state["layers"]] == ["t1", "t1_dseg", "corner", "zmap"]
        assert neuroglancer.value_at("t1", (-30, -40, -20)) == 200
        assert neuroglancer.value_at("t1_dseg", (10, -39, 0)) == "7"
        assert neuroglancer.value_at("zmap", (15, 10, 0)) == 4
        grey = colour_at(neuroglancer, (1, -15, 0))
        assert np.ptp(grey) <= 3
        assert grey.mean() > 60
        hidden = colour_at(neuroglancer, (1, 35, 0))  # NaN
        assert np.abs(hidden - grey).max() <= 3
        neuroglancer.page.evaluate("viewer.layerManager.getLayerByName('zmap').setVisible(false)")
        assert (colour_at(neuroglancer, (1, -15, 0)) == grey).all()
        neuroglancer.page.evaluate("viewer.layerManager.getLayerByName('zmap').setVisible(true)")
        neuroglancer.page.evaluate(MESHES_SCRIPT)
        drawn = neuroglancer.page.evaluate("ngcoreMeshes.vertices('corner')")
        assert np.array(*drawn.values()) == pytest.approx(points, abs=1e-3)
        positive, negative = (colour_at(neuroglancer, (x, 10, 0)) for x in (15, -15))
        assert positive[0] > positive[2] + 60
        assert negative[2] > negative[0] + 60
        names = neuroglancer.page.evaluate(
            "[...viewer.layerManager.getLayerByName('zmap').layer.shaderControlState.state.keys()]"
        )
        assert names == ["threshold", "top"]


def test_time_points_read_exactly(neuroglancer: Neuroglancer, tmp_path: Path) -> None:
    import ngcore

    series = np.random.default_rng(3).integers(1, 3000, (20, 21, 12, 5)).astype(np.int16)
    ngcore.convert(save(tmp_path / "s.nii", series, AFFINE, 2.5), tmp_path / "bold", fsync=False)
    middle = (0, 0, 0)
    voxel = tuple(np.rint(np.linalg.inv(AFFINE) @ [*middle, 1]).astype(int)[:3])
    things = (tmp_path / "bold", "--no-browser")
    with running("view", *things) as (_, url), neuroglancer.visiting(url):
        state = neuroglancer.state()
        assert state["dimensions"]["t"] == [2.5, "s"]  # the slider goes by frames
        for frame in (0, 3):
            point = [*middle, frame]
            neuroglancer.page.evaluate(
                "p => { viewer.navigationState.position.value = Float32Array.from(p); }", point
            )
            neuroglancer.settle()
            assert neuroglancer.value_at("bold", point) == int(series[voxel][frame])


def test_colours_are_right_in_all_their_forms(neuroglancer: Neuroglancer, tmp_path: Path) -> None:
    grid = np.diag([1.0, 1, 1.5, 1])
    rgba = np.full((20, 21, 12, 4), (200, 100, 50, 255), np.uint8)
    rgb = np.ascontiguousarray(rgba[..., :3])
    save(tmp_path / "rgba.nii", rgba, grid)
    save(tmp_path / "rgb.nii", rgb, grid)
    save(tmp_path / "voxels.nii", rgb.view([(name, "u1") for name in "RGB"])[..., 0], grid)
    tifffile.imwrite(tmp_path / "pages.tif", rgb, photometric="rgb")
    save(tmp_path / "unit.nii", np.full(rgb.shape, (0.25, 0.5, 0.75), np.float32), grid)
    save(tmp_path / "V1.nii", np.full(rgb.shape, (-0.6, 0.8, 0), np.float32), grid)
    colours = {
        "rgba.nii": (200, 100, 50),
        "rgb.nii": (200, 100, 50),
        "voxels.nii": (200, 100, 50),
        "pages.tif": (200, 100, 50),
        "unit.nii": (64, 128, 191),
        "V1.nii": (153, 204, 0),
    }
    things = [f"{tmp_path / name}:opacity=1" for name in colours]
    with running("view", *things, "--no-browser") as (_, url), neuroglancer.visiting(url):
        for name, expected in colours.items():
            neuroglancer.page.evaluate(
                "shown => viewer.layerManager.managedLayers.forEach("
                "layer => layer.setVisible(layer.name === shown))",
                name.partition(".")[0],
            )
            assert np.abs(colour_at(neuroglancer, (5, 5, 5)) - expected).max() <= 3, name


AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))
"""Where `npm install axe-core` puts it."""


def findings(page: Page) -> list[str]:
    """Return what axe-core finds that keeps people out."""
    page.add_script_tag(path=AXE)
    violations = page.evaluate("axe.run().then(result => result.violations)")
    return [x["id"] for x in violations if x["impact"] in ("serious", "critical")]


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm install axe-core")
def test_the_page_of_volumes_keeps_nobody_out(neuroglancer: Neuroglancer, tmp_path: Path) -> None:
    import ngcore
    from ngcore.server.gallery import gallery

    folder = neuroglancer.folder / "open-shelf"
    source = save(tmp_path / "one.nii", np.full((20, 21, 12), 40, np.uint8), AFFINE)
    ngcore.convert(source, folder / "one", fsync=False)
    gallery(folder, viewer=f"{neuroglancer.origin}/v/ngcore/")
    page = neuroglancer.page
    page.set_viewport_size({"width": 390, "height": 700})
    page.goto(f"{neuroglancer.origin}/open-shelf/index.html")
    assert findings(page) == []


def test_ticked_volumes_of_a_gallery_open_together(
    neuroglancer: Neuroglancer, tmp_path: Path
) -> None:
    import ngcore
    from ngcore.server.gallery import gallery

    folder = tmp_path / "shelf"
    hostile = "<img src=x onerror='window.isHacked=1'>"
    for name, value in (("first", 40), (hostile, 90), ("third", 120)):
        values = np.full((20, 21, 12), value, np.uint8)
        source = save(tmp_path / "source.nii", values, AFFINE)
        ngcore.convert(source, folder / name, fsync=False)
    gallery(folder, viewer=f"{neuroglancer.origin}/v/ngcore/")
    page = neuroglancer.page
    with plainly_served(folder) as origin:
        page.set_viewport_size({"width": 390, "height": 700})
        page.goto(f"{origin}/index.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        together = page.evaluate("JSON.parse(document.getElementById('volumes').text).together")
        for name in ("first", hostile, "third"):
            page.get_by_role("checkbox", name=name).check()
        every = str(page.get_by_role("link", name="Open").get_attribute("href"))
        page.get_by_role("checkbox", name=hostile).uncheck()
        link = str(page.get_by_role("link", name="Open").get_attribute("href"))
        page.set_viewport_size({"width": 800, "height": 600})
        with neuroglancer.visiting(link):
            assert [x["name"] for x in neuroglancer.state()["layers"]] == ["first", "third"]
            assert neuroglancer.values_at("third", [(0, 0, 0)]) == [120]
            assert math.isfinite(neuroglancer.state()["crossSectionScale"])
        with neuroglancer.visiting(every):
            assert hostile in [x["name"] for x in neuroglancer.state()["layers"]]
            assert page.evaluate("window.isHacked") is None
    # The script of the page fits as Python does.
    state = json.loads(urllib.parse.unquote(every.partition("#!")[2]))
    assert zooms(state) == pytest.approx(zooms(together))


def zooms(state: dict[str, Any]) -> list[float]:
    panels = [panel for row in state["layout"]["children"] for panel in row["children"]]
    own = [x["crossSectionScale"]["value"] for x in panels if "crossSectionScale" in x]
    return [state["crossSectionScale"], state["projectionScale"], *own]
