"""Make the picture of the demo that the README shows: what `ngcore view` opens, in Chromium.

Run `make demo` first. `python scripts/screenshot.py docs/mni152.jpg` needs the package playwright
and a Chromium; the picture is what the command's own page shows, nothing is added or moved.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

DESTS = (Path("demo/MNI152_T1w"), Path("demo/MNI152_dseg"))
SIZE = {"width": 1500, "height": 940}
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)


def main() -> None:
    """Make the picture."""
    out = Path(sys.argv[1])
    command = [Path(sys.executable).with_name("ngcore"), "view", *DESTS, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as view:
        try:
            assert view.stdout is not None
            shoot(view.stdout.readline().strip(), out)
        finally:
            view.terminate()
    print(f"{out}: {out.stat().st_size // 1000} kB")


def shoot(url: str, out: Path) -> None:
    """Wait until the page shows everything, and write what it shows."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(180_000)
        page.goto(url)
        page.wait_for_function("window.viewer !== undefined")
        for _ in range(300):
            page.wait_for_timeout(200)
            if page.evaluate("viewer.isReady()"):
                break
        page.wait_for_timeout(5000)  # meshes and fine scales come after the first picture
        page.evaluate("viewer.display.draw()")
        page.screenshot(path=out, type="jpeg", quality=85)
        browser.close()


if __name__ == "__main__":
    main()
