"""Streamlines to bundles, polylines and density: time and memory, and the first picture of them.

    python benchmarks/report_tracts.py --count 1000000
    python benchmarks/report_tracts.py --count 100000 --picture

Streamlines of 100 vertices, 1 mm apart, in ten bundles of a brain's size, are written to a file,
a block at a time, and converted in a process of its own. With `--picture` the scene of all that
was written is opened in the client, in headless Chromium, over loopback: how long from the
navigation to the end of drawing the first canvas with lines on it, how much of that is the drawing
of this canvas (by the processor, where there is no graphics card), and how long the same browser
takes until the client runs with an empty scene. `--scene DIR` takes what was written before.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

VERTICES = 100
BLOCK = 10_000
BUNDLES = 10
MAX_VERTICES = 50_000
"""Of all bundles together: what suits a browser without a graphics card."""


def streamlines(count: int) -> Iterator[Any]:
    """Yield streamlines, shape (n, VERTICES, 3), in mm: smooth lines about those of bundles."""
    random = np.random.default_rng(0)
    share = np.linspace(-1, 1, VERTICES)[:, np.newaxis]
    middles = random.uniform(-30, 30, (BUNDLES, 1, 3))
    along = random.normal(size=(BUNDLES, 1, 3))
    along *= 45 / np.linalg.norm(along, axis=2, keepdims=True)
    bend = random.normal(size=(BUNDLES, 1, 3)) * 20
    lines = (middles + along * share + bend * share**2).astype(np.float32)
    for first in range(0, count, BLOCK):
        number = min(BLOCK, count - first)
        found = lines[random.integers(0, BUNDLES, number)]
        found += random.normal(size=(number, 1, 3)).astype(np.float32) * 4
        steps = random.normal(size=(number, VERTICES, 3)).astype(np.float32) * 0.15
        yield found + steps.cumsum(axis=1)


def write_tck(path: Path, count: int) -> None:
    offset = 200
    head = f"mrtrix tracks\ndatatype: Float32LE\ncount: {count}\nfile: . {offset}\nEND\n"
    with path.open("wb") as file:
        file.write(head.encode().ljust(offset, b"\n"))
        for lines in streamlines(count):
            table = np.full((len(lines), VERTICES + 1, 3), np.nan, "<f4")
            table[:, :VERTICES] = lines
            file.write(table.tobytes())
        file.write(np.full(3, np.inf, "<f4").tobytes())


def write_trk(path: Path, count: int) -> None:
    """Write TrackVis: voxels of 1 mm whose first corner lies at -100, -100, -100 mm."""
    head = bytearray(1000)
    struct.pack_into("<6s3h3f", head, 0, b"TRACK\0", 200, 200, 200, 1, 1, 1)
    affine = np.eye(4, dtype="<f4")
    affine[:3, 3] = -99.5
    head[440:504] = affine.tobytes()
    head[948:952] = b"RAS\0"
    struct.pack_into("<3i", head, 988, count, 2, 1000)
    with path.open("wb") as file:
        file.write(head)
        for lines in streamlines(count):
            table = np.empty((len(lines), 1 + 3 * VERTICES), "<f4")
            table[:, 0] = np.int32(VERTICES).view(np.float32)
            table[:, 1:] = (lines + 100).reshape(len(lines), -1)
            file.write(table.tobytes())


WRITERS = {"tck": write_tck, "trk": write_trk}


def run_one(path: str, dest: str, memory: str) -> None:
    import ngcore

    start = time.perf_counter()
    ngcore.tracts(path, dest, max_vertices=MAX_VERTICES, density=2, memory=memory, fsync=False)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = used.ru_utime + used.ru_stime
    print(json.dumps([seconds, processor, used.ru_maxrss / 1024]))


WATCH = """
window.drawn = [];
const timer = setInterval(() => {
  const viewer = window.viewer;
  if (!viewer) return;
  clearInterval(timer);
  window.clientReady = performance.now();
  const display = viewer.display;
  const draw = display.draw.bind(display);
  display.draw = () => {
    const begin = performance.now();
    draw();
    const gl = display.gl;
    const [w, h] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    const pixels = new Uint8Array(4 * w * h);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);  // waits
    let coloured = 0;
    for (let i = 0; i < pixels.length; i += 4) {
      const [r, g, b] = [pixels[i], pixels[i + 1], pixels[i + 2]];
      if (Math.max(r, g, b) - Math.min(r, g, b) > 60) ++coloured;
    }
    window.drawn.push({begin, end: performance.now(), coloured});
  };
}, 5);
"""
"""In the page: notes when each drawing was, and how many pixels are coloured, as lines are."""
FEWEST = 2000
FIRST = f"() => window.drawn.find(x => x.coloured > {FEWEST})"


def time_pictures(dest: Path) -> dict[str, Any]:
    """Return seconds until an empty client runs, and of the scene; and a picture.

    The second visit counts: the first one fills the caches of disk and browser with the client.
    """
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from browser import FLAGS

    command = [sys.executable, "-m", "ngcore", "view", "--no-browser"]
    server = subprocess.Popen([*command, str(dest)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=list(FLAGS)
            )
            found: dict[str, Any] = {}
            for _ in range(2):
                for place in (url.partition("#")[0], url):
                    page = browser.new_page(viewport={"width": 1200, "height": 800})
                    page.add_init_script(WATCH)
                    start = time.perf_counter()
                    page.goto(place)
                    page.wait_for_function("() => window.clientReady", timeout=60_000)
                    if place != url:
                        found["client"] = page.evaluate("window.clientReady") / 1e3
                        page.close()
                        continue
                    page.wait_for_function(FIRST, timeout=300_000, polling=200)
                    drawn = page.evaluate(FIRST)
                    found["first"] = drawn["end"] / 1e3
                    found["drawing"] = (drawn["end"] - drawn["begin"]) / 1e3
                    page.wait_for_function(IS_LOADED, timeout=600_000, polling=200)
                    found["whole"] = time.perf_counter() - start
                    found["picture"] = page.screenshot(timeout=300_000)
                    page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()
    return found


IS_LOADED = "() => window.viewer.isReady()"


def say_pictures(dest: Path) -> None:
    found = time_pictures(dest)
    Path("tracts.png").write_bytes(found["picture"])
    print(
        f"empty client {found['client']:.1f} s, first picture {found['first']:.1f} s, of which "
        f"drawing it {found['drawing']:.1f} s, all that the view needs {found['whole']:.1f} s; "
        "see tracts.png"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--format", choices=WRITERS, default="tck")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--folder")
    parser.add_argument("--picture", action="store_true")
    parser.add_argument("--scene", type=Path, metavar="DIR")
    parser.add_argument("--one", nargs=2)
    asked = parser.parse_args()
    if asked.one:
        run_one(*asked.one, asked.memory)
        return
    if asked.scene:
        say_pictures(asked.scene)
        return
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    try:
        path = folder / f"lines.{asked.format}"
        WRITERS[asked.format](path, asked.count)
        command = [sys.executable, __file__, "--memory", asked.memory]
        command += ["--one", str(path), str(folder / "out")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, processor, peak = json.loads(done.stdout.splitlines()[-1])
        read = path.stat().st_size
        written = sum(p.stat().st_size for p in (folder / "out").rglob("*") if p.is_file())
        print("| streamlines | file MiB | seconds | processor | peak MiB | MiB written |")
        print("|---|---|---|---|---|---|")
        print(
            f"| {asked.count} | {read >> 20} | {seconds:.1f} | {processor:.1f} | {peak:.0f} | "
            f"{written >> 20} |"
        )
        if asked.picture:
            say_pictures(folder / "out")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
