"""The real Neuroglancer client in headless Chromium, driven by tests.

A test takes the fixture `neuroglancer`, writes volumes into its folder and loads states. There is
one browser and one page for all tests: a state is swapped in place, which takes about a second.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from serving import served

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import ConsoleMessage, Page, Response

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
NEEDED = ("playwright", "neuroglancer", "starlette", "uvicorn")
SETTLE_SECONDS = 60

_SCRIPT = """
window.ngcoreTest = {
  async status() {
    const errors = [], loading = [];
    for (const {layer, name} of viewer.layerManager.managedLayers) {
      if (layer === null) { loading.push(name); continue; }
      for (const source of layer.dataSources) {
        if (source.loadState === undefined) loading.push(name);
        else if (source.loadState.error) errors.push(name + ": " + source.loadState.error.message);
      }
      for (const message of layer.messages ?? []) errors.push(name + ": " + message.message);
    }
    const chunks = new Array(8).fill(0);
    for (const counts of (await viewer.chunkQueueManager.getStatistics()).values()) {
      for (let state = 0; state < 8; ++state) {
        for (let tier = 0; tier < 3; ++tier) chunks[state] += counts[(state * 3 + tier) * 3];
      }
    }
    return {ready: viewer.isReady(), loading, errors, chunks};
  },
  plain(value) {
    if (value === null || value === undefined) return null;
    if (typeof value === "bigint") return value.toString();
    const isList = Array.isArray(value) || ArrayBuffer.isView(value);
    if (isList) return Array.from(value, this.plain, this);
    if (typeof value === "object") return this.plain("key" in value ? value.key : String(value));
    return value;
  },
  valueAt(name, position) {
    const {layer} = viewer.layerManager.getLayerByName(name);
    const value = layer.getValueAt(Float32Array.from(position), {pickedRenderLayer: null});
    return this.plain(value);
  },
  pixels() {
    viewer.display.draw();
    return viewer.display.canvas.toDataURL("image/png");
  },
};
"""
_DOWNLOADING, _QUEUED, _FAILED = 3, 4, 6


class Neuroglancer:
    """A page with the client, the server behind it, and everything that went wrong in it."""

    def __init__(self, page: Page, folder: Path, origin: str) -> None:
        self.page = page
        self.folder = folder
        """Volumes written here are served."""
        self.origin = origin
        self.problems: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.problems.append(f"page error: {error}"))
        page.on("response", self._on_response)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _on_response(self, response: Response) -> None:
        if response.status >= 400:
            self.problems.append(f"HTTP {response.status}: {response.url}")

    def source(self, name: str) -> str:
        """Return the Neuroglancer source of a volume in the folder."""
        return f"precomputed://{self.origin}/{name}"

    def start(self) -> None:
        """Go to the client's page, still empty, whose state `load` replaces."""
        self._go_to(f"{self.origin}/v/ngcore/")

    @contextlib.contextmanager
    def visiting(self, url: str) -> Iterator[None]:
        """Go to a page with its state, as a user does; wait until it shows everything."""
        try:
            self._go_to(url)
            self.settle()
            yield
        finally:
            self.start()

    def _go_to(self, url: str) -> None:
        self.page.goto("about:blank")  # else a change of the state alone loads no page
        self.problems.clear()
        self.page.goto(url)
        self.page.wait_for_function("window.viewer !== undefined")
        self.page.evaluate(_SCRIPT)

    def load(self, state: dict[str, Any]) -> None:
        """Show a state, wait until it is complete, and fail where anything went wrong."""
        self.problems.clear()
        self.page.evaluate("viewer.state.reset()")
        self.page.evaluate(
            "state => viewer.state.restoreState(JSON.parse(state))", json.dumps(state)
        )
        self.settle()

    def settle(self) -> None:
        """Wait until all is loaded; fail for a chunk, source, request or script that failed."""
        deadline = time.monotonic() + SETTLE_SECONDS
        before: dict[str, Any] | None = None
        calm = 0
        while calm < 3:
            status = self.page.evaluate("ngcoreTest.status()")
            if status["errors"] or status["chunks"][_FAILED] or self.problems:
                break
            is_done = (
                status["ready"]
                and not status["loading"]
                and not status["chunks"][_DOWNLOADING]
                and not status["chunks"][_QUEUED]
                and status == before
            )
            calm = calm + 1 if is_done else 0
            before = status
            if time.monotonic() > deadline:
                raise AssertionError(f"not loaded after {SETTLE_SECONDS} s: {status}")
            self.page.wait_for_timeout(60)
        if failed := status["chunks"][_FAILED]:
            self.problems.append(f"{failed} chunks failed")
        assert [*status["errors"], *self.problems] == []

    def value_at(self, layer: str, position: Sequence[float]) -> Any:
        """Return what a layer shows at a point, in units of the state's dimensions.

        A number, a list of numbers of a layer with channels, and for a segmentation its label as
        text; None outside of the volume. Values come from the scale that is loaded.
        """
        return self.values_at(layer, [position])[0]

    def values_at(self, layer: str, positions: Sequence[Sequence[float]]) -> list[Any]:
        """Return what a layer shows at each of some points; see `value_at`."""
        return self.page.evaluate(
            "([layer, positions]) => positions.map(point => ngcoreTest.valueAt(layer, point))",
            [layer, [list(map(float, position)) for position in positions]],
        )

    def state(self) -> dict[str, Any]:
        """Return the state that the client itself writes."""
        return json.loads(self.page.evaluate("JSON.stringify(viewer.state.toJSON())"))

    def screenshot(self, path: Path) -> None:
        """Write a PNG of the whole page."""
        self.page.evaluate("viewer.display.draw()")
        self.page.screenshot(path=path)


def unavailable(reason: str) -> NoReturn:
    """Skip a test that needs what is not here; in CI fail, since all is there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the browser tests, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def neuroglancer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neuroglancer]:
    """One browser and one page with the client, for the whole session."""
    for package in NEEDED:
        if importlib.util.find_spec(package) is None:
            unavailable(f"the package {package} is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        unavailable("Chromium is not installed")

    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("served")
    with served(folder) as origin, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 800, "height": 600})
        client = Neuroglancer(page, folder, origin)
        client.start()
        yield client
        browser.close()
