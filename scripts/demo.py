"""Convert a real brain, its tissues and their surfaces, check what was written, say how to look.

Everything comes with the nilearn package: the MNI152 template at 1 mm, its tissue probability
maps, and the pial and white surfaces of FreeSurfer's average subject. The tissues become labels:
grey and white matter where either is likely, left and right.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np

import ngcore

FOLDER = Path("demo")
LEFT_GREY, RIGHT_GREY, LEFT_WHITE, RIGHT_WHITE = 1, 2, 3, 4
NAMES = f"""\
id,name,r,g,b,side
{LEFT_GREY},Left grey matter,221,112,76,left
{RIGHT_GREY},Right grey matter,54,132,186,right
{LEFT_WHITE},Left white matter,250,205,130,left
{RIGHT_WHITE},Right white matter,150,214,236,right
"""
SURFACES = {
    "pial_left": LEFT_GREY,
    "pial_right": RIGHT_GREY,
    "white_left": LEFT_WHITE,
    "white_right": RIGHT_WHITE,
}
# The surfaces are in the space of the older MNI305 template; FreeSurfer's way to MNI152:
# https://surfer.nmr.mgh.harvard.edu/fswiki/CoordinateSystems
MNI305_TO_MNI152_MM = (
    "0.9975,-0.0073,0.0176,-0.0429,0.0146,1.0009,-0.0024,1.5496,-0.0130,-0.0093,0.9971,1.1840"
)


def data(name: str) -> Path:
    """Return the path of a file that comes with nilearn."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None or spec.origin is None:
        sys.exit("demo: nilearn is not installed; run `make demo`")
    return Path(spec.origin).parent / "datasets/data" / name


def template(kind: str) -> Path:
    """Return the path of one of the template's images."""
    return data(f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz")


def tissue_labels() -> nibabel.Nifti1Image:
    """Make a label volume from the template's tissue maps."""
    images = [nibabel.load(template(kind)) for kind in ("gm", "wm")]
    maps = (np.asarray(image.dataobj, dtype=np.float32) for image in images)
    grey, white = (likelihood / likelihood.max() for likelihood in maps)
    affine = images[0].affine
    is_right = affine[0, 0] * np.arange(grey.shape[0]) + affine[0, 3] > 0
    sided = [
        np.where(is_right[:, None, None], *pair)
        for pair in ((RIGHT_GREY, LEFT_GREY), (RIGHT_WHITE, LEFT_WHITE))
    ]
    labels = np.where(grey >= white, *sided) * (np.maximum(grey, white) > 0.5)
    return nibabel.Nifti1Image(labels.astype(np.uint8), affine)


def ngcore_command(*arguments: object) -> None:
    """Run the command as a user would."""
    words = [str(argument) for argument in arguments]
    print("$ ngcore", " ".join(words), flush=True)
    subprocess.run([Path(sys.executable).with_name("ngcore"), *words], check=True)


def check(source: Path, dest: Path, method: str) -> None:
    """Compare every voxel of every scale with the source, read by nibabel."""
    image = nibabel.load(source)
    expected = np.asanyarray(image.dataobj)[..., np.newaxis]
    volume = ngcore.open(dest)
    for scale in volume.scales:
        found = scale[...]
        if not np.array_equal(found, expected):
            sys.exit(f"demo: scale {scale.key} of {dest} differs from {source}")
        print(f"  {scale.key}: {found.shape[:3]} voxels are as they should be")
        expected = ngcore.downsampling.downsample(found, (2, 2, 2), method=method)


def make_scene(folder: Path) -> tuple[Path, Path]:
    """Convert the brain, its tissues and their surfaces; return the two volumes' folders."""
    folder.mkdir(exist_ok=True)
    labels = folder / "MNI152_dseg.nii.gz"
    nibabel.save(tissue_labels(), labels)
    brain, tissues = folder / "MNI152_T1w", folder / "MNI152_dseg"
    for source, dest, method in (
        (template("t1"), brain, "average"),
        (labels, tissues, "majority"),
    ):
        ngcore_command("convert", source, dest, "--overwrite")
        check(source, dest, method)

    table = folder / "tissues.csv"
    table.write_text(NAMES, encoding="utf-8")
    ngcore_command("labels", tissues, table, "--measure")

    rows = []
    for name, label in SURFACES.items():
        ngcore_command(
            *("mesh-to-precomputed", data(f"fsaverage5/{name}.gii.gz"), tissues),
            *("--mesh-name", name, "--space", "world"),
            f"--coord-transform={MNI305_TO_MNI152_MM}",
        )
        rows.append(f"{label},{name}\n")
    fragments = folder / "surfaces.csv"
    fragments.write_text("".join(rows), encoding="utf-8")
    ngcore_command("link-mesh-fragments", fragments, tissues)
    for dest in (brain, tissues):
        ngcore_command("validate", dest)
    return brain, tissues


def main() -> None:
    """Make the demo."""
    brain, tissues = make_scene(FOLDER)
    command = Path(sys.executable).with_name("ngcore")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    print("\nLook at all of it in Neuroglancer (Ctrl-C stops it):\n")
    print(f"  {command} view {brain} {tissues}\n")


if __name__ == "__main__":
    main()
