"""Make the pictures of the site's start page and tutorials, from real data.

`python scripts/pictures.py docs [NAME...]` needs the packages nilearn, nibabel, scikit-image and
dipy, and the source distribution of zmesh for its neuron (`--neuron FILE`); they carry the data.
It needs playwright and a Chromium, too: what `ngcore view` shows is taken from its own page, and
nothing is added or moved.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from screenshot import raw_files, shoot

import ngcore

SIZE = 420
"""Of each of the three slices of a preview, in pixels."""
PAGE = {"width": 1200, "height": 720}
NGCORE = Path(sys.executable).with_name("ngcore")


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("docs", type=Path)
    parser.add_argument("names", nargs="*", help="all, if none is named")
    parser.add_argument("--neuron", type=Path, help="fanc_bug.npy of zmesh's source distribution")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, make in MAKERS.items():
            if not options.names or name in options.names:
                work = Path(folder) / name
                work.mkdir()
                out = options.docs / f"{name}.jpg"
                make(work, out, options.neuron) if name == "em-stack" else make(work, out)
                print(f"{out}: {out.stat().st_size // 1000} kB")


def labels(work: Path, out: Path) -> None:
    """Show tissue labels over a T1."""
    t1, tissues, *_ = raw_files(work)
    preview([t1, tissues.replace("opacity=0.2", "opacity=0.5")], out, at=(-20, -20, 20))


def statistical_map(work: Path, out: Path) -> None:
    """Show a map of a motor task over a T1."""
    t1, _, motor, *_ = raw_files(work)
    preview([t1, motor], out, at=(-38, -22, 56))


def fmri(work: Path, out: Path) -> None:
    """Show the run of two volumes that comes with nibabel."""
    bold = work / "bold.nii.gz"
    shutil.copy(packaged("nibabel", "tests/data/example4d.nii.gz"), bold)
    show([bold], out)


def surfaces(work: Path, out: Path) -> None:
    """Show FreeSurfer's average pial surfaces and a T1."""
    t1, _, _, *pial = raw_files(work)
    show([t1, *pial], out)


def histology(work: Path, out: Path) -> None:
    """Show the stained section of colon that comes with scikit-image, as a stack of one."""
    slices = work / "slices"
    slices.mkdir()
    shutil.copy(packaged("skimage", "data/ihc.png"), slices / "slice0.png")
    convert = ("--resolution", "0.5um,20um,0.5um", "--input-orientation", "RIA")
    ngcore_command("convert", slices, work / "histology", *convert)
    show([work / "histology"], out)


def em_stack(work: Path, out: Path, neuron: Path | None) -> None:
    """Show a neuron of the FANC data set, and its mesh."""
    if neuron is None:
        raise SystemExit("pictures: say where the neuron is, with --neuron")
    np.save(work / "neuron.npy", np.load(neuron)[..., 0].astype(np.uint32))
    size = ("--type", "segmentation", "--resolution", "34.4,34.4,45")
    ngcore_command("convert", work / "neuron.npy", work / "neurons", *size)
    ngcore_command("mesh", work / "neurons")
    show([work / "neurons"], out, "--layout", "native")


def tracts(work: Path, out: Path) -> None:
    """Show the fornix that comes with dipy."""
    fornix = work / "fornix.trk"
    shutil.copy(packaged("dipy", "data/files/tracks300.trk"), fornix)
    show([fornix], out)


def points(work: Path, out: Path) -> None:
    """Show the peaks of a motor task's map over a T1."""
    t1, _, motor, *_ = raw_files(work)
    image = nibabel.load(motor.partition(":")[0])
    rows = ["x,y,z,strength"]
    for i, j, k in peaks(np.abs(image.get_fdata())):
        x, y, z = nibabel.affines.apply_affine(image.affine, (i, j, k))
        rows.append(f"{x},{y},{z},{image.dataobj[i, j, k]}")
    table = work / "peaks.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    show([t1, table], out)


def peaks(values: np.ndarray, radius: int = 4, least: float = 3) -> Iterator[tuple[int, int, int]]:
    """Find the greatest voxel, then the greatest that is farther away along an axis, and so on."""
    left = values.copy()
    while left.max() > least:
        place = np.unravel_index(left.argmax(), left.shape)
        yield tuple(int(i) for i in place)
        left[tuple(slice(max(i - radius, 0), i + radius + 1) for i in place)] = 0


def publish(work: Path, out: Path) -> None:
    """Show the page of a folder of volumes."""
    t1, tissues, motor, *_ = raw_files(work)
    data = work / "data"
    for thing, name in ((t1, "sub-01_T1w"), (tissues, "sub-01_dseg"), (motor, "sub-01_motor")):
        ngcore_command("convert", thing.partition(":")[0], data / name)
    ngcore_command("labels", data / "sub-01_dseg", work / "tissues.csv")
    with served("serve", data) as url:
        shoot(url, out, PAGE, client=False)


def pipeline(work: Path, out: Path) -> None:
    """Show what a pipeline in CI keeps: the preview of the volume that it converted."""
    t1, *_ = raw_files(work)
    ngcore_command("convert", t1, work / "sub-01_T1w", "--quiet")
    ngcore_command("validate", work / "sub-01_T1w")
    preview([str(work / "sub-01_T1w")], out)


MAKERS = {
    "labels": labels,
    "map": statistical_map,
    "fmri": fmri,
    "surfaces": surfaces,
    "histology": histology,
    "em-stack": em_stack,
    "tracts": tracts,
    "points": points,
    "publish": publish,
    "pipeline": pipeline,
}


def packaged(package: str, name: str) -> Path:
    """Return the path of a file that comes with a package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"pictures: {package} is not installed")
    return Path(spec.origin).parent / name


def ngcore_command(*arguments: object) -> None:
    """Run a command as a user would."""
    subprocess.run([NGCORE, *map(str, arguments)], check=True)


def preview(things: list[str], out: Path, at: tuple[float, float, float] | None = None) -> None:
    """Write slices of things through a place, or their middle, as a JPEG."""
    png = out.with_suffix(".png")
    ngcore.preview(things, png, size=SIZE, at=at)
    Image.open(png).convert("RGB").save(out, quality=85)
    png.unlink()


def show(things: list[object], out: Path, *options: str) -> None:
    """Write what `ngcore view` shows as a JPEG."""
    with served("view", *things, *options, "--no-browser") as url:
        shoot(url, out, PAGE)


@contextmanager
def served(*arguments: object) -> Iterator[str]:
    """Start a server; yield the address it prints."""
    command = [NGCORE, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip().removeprefix("precomputed://")
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
