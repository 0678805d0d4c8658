"""Make the picture that the README shows: files as they are, opened by `ngcore view`, in Chromium.

`python scripts/screenshot.py docs/mni152.jpg` needs the packages nilearn and playwright, and a
Chromium. It shows the MNI152 template, its tissues as labels, FreeSurfer's pial surfaces and
a map of a motor task (NeuroVault image 10426), all of which come with nilearn. The picture is what
the command's own page shows, nothing is added or moved.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from demo import MNI305_TO_MNI152_MM, NAMES, data, template, tissue_labels
from playwright.sync_api import Page, sync_playwright

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
    with tempfile.TemporaryDirectory() as folder:
        things = raw_files(Path(folder))
        command = [Path(sys.executable).with_name("ngcore"), "view", *things, "--no-browser"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as view:
            try:
                assert view.stdout is not None
                shoot(view.stdout.readline().strip(), out, SIZE)
            finally:
                view.terminate()
    print(f"{out}: {out.stat().st_size // 1000} kB")


def raw_files(folder: Path) -> list[str]:
    """Write the files under short names; return what `ngcore view` is given."""
    shutil.copy(template("t1"), folder / "T1.nii.gz")
    shutil.copy(data("image_10426.nii.gz"), folder / "motor.nii.gz")
    nibabel.save(tissue_labels(), folder / "tissues_dseg.nii.gz")
    (folder / "tissues.csv").write_text(NAMES, encoding="utf-8")
    to_mni152 = np.array([float(x) for x in MNI305_TO_MNI152_MM.split(",")]).reshape(3, 4)
    for name in ("pial_left", "pial_right"):
        surface = nibabel.load(data(f"fsaverage5/{name}.gii.gz"))
        points = surface.darrays[0]
        moved = points.data @ to_mni152[:, :3].T + to_mni152[:, 3]
        points.data = moved.astype(np.float32)
        nibabel.save(surface, folder / f"{name}.gii")
    return [
        f"{folder}/T1.nii.gz",
        f"{folder}/tissues_dseg.nii.gz:labels={folder}/tissues.csv:opacity=0.2",
        f"{folder}/motor.nii.gz:min=3:max=12",
        f"{folder}/pial_left.gii:color=#dd704c",
        f"{folder}/pial_right.gii:color=#3684ba",
    ]


def shoot(url: str, out: Path, size: dict[str, int], *, client: bool = True) -> None:
    """Wait until the page, or the client in it, shows everything, and write what it shows."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport=size)
        page.set_default_timeout(180_000)
        page.goto(url)
        if client:
            wait_for_client(page)
        else:
            page.wait_for_load_state("networkidle")
        page.screenshot(path=out, type="jpeg", quality=85)
        browser.close()


def wait_for_client(page: Page) -> None:
    """Wait until Neuroglancer has drawn everything."""
    page.wait_for_function("window.viewer !== undefined")
    for _ in range(300):
        page.wait_for_timeout(200)
        if page.evaluate("viewer.isReady()"):
            break
    page.wait_for_timeout(5000)  # meshes and fine scales come after the first picture
    page.evaluate("viewer.display.draw()")


if __name__ == "__main__":
    main()
