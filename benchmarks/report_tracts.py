"""Streamlines to bundles, polylines and density: time and memory, and the first picture of them.

    python benchmarks/report_tracts.py --count 1000000
    python benchmarks/report_tracts.py --count 100000 --picture

Streamlines of 100 vertices, 1 mm apart, in ten bundles of a brain's size, are written to a file,
a block at a time, and converted in a process of its own. With `--picture` the scene of all that
was written is opened in the client, in headless Chromium, over loopback: how long until its first
picture shows lines, and until all that the view needs is loaded.
"""

from __future__ import annotations

import argparse
import io
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
    ngcore.tracts(path, dest, density=2, memory=memory, fsync=False)
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    processor = used.ru_utime + used.ru_stime
    print(json.dumps([seconds, processor, used.ru_maxrss / 1024]))


def time_pictures(dest: Path) -> tuple[float, float, float, bytes]:
    """Return seconds until the client runs, shows lines, and has loaded all; and a picture.

    The second visit counts: the first one fills the caches of disk and browser with the client.
    """
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from browser import FLAGS

    command = [sys.executable, "-m", "ngcore", "view", "--no-browser"]
    layers = [str(dest / name) for name in ("streamlines", "bundles")]
    server = subprocess.Popen([*command, *layers], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=list(FLAGS)
            )
            for _ in range(2):
                page = browser.new_page(viewport={"width": 1200, "height": 800})
                start = time.perf_counter()
                page.goto(url)
                page.wait_for_function("() => window.viewer", timeout=60_000, polling=50)
                client = time.perf_counter() - start
                # What is on the screen: asking the client to draw would add to its work.
                while not shows_lines(picture := page.screenshot(timeout=300_000)):
                    if time.perf_counter() - start > 300:
                        raise SystemExit("no lines were shown within 300 s")
                first = time.perf_counter() - start
                page.wait_for_function(IS_LOADED, timeout=600_000, polling=200)
                whole = time.perf_counter() - start
                picture = page.screenshot(timeout=300_000)
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait()
    return client, first, whole, picture


def shows_lines(picture: bytes) -> bool:
    """Whether a picture of the page has coloured pixels, as lines are, over one part in thirty."""
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB").resize((300, 200)), int)
    return bool((pixels.max(axis=2) - pixels.min(axis=2) > 60).sum() > 2000)


IS_LOADED = "() => window.viewer.isReady()"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--format", choices=WRITERS, default="tck")
    parser.add_argument("--memory", default="1G")
    parser.add_argument("--folder")
    parser.add_argument("--picture", action="store_true")
    parser.add_argument("--one", nargs=2)
    asked = parser.parse_args()
    if asked.one:
        run_one(*asked.one, asked.memory)
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
            client, first, whole, picture = time_pictures(folder / "out")
            Path("tracts.png").write_bytes(picture)
            print(
                f"client {client:.1f} s, first picture {first:.1f} s, all that the view needs "
                f"{whole:.1f} s; see tracts.png"
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
