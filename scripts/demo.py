"""Convert a real brain and its tissue labels, check what was written, and say how to look at it.

The brain is the MNI152 template at 1 mm that the nilearn package carries. The labels are made from
its tissue probability maps: 1 where grey matter is the likeliest, 2 where white matter is.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np

import ngcore

FOLDER = Path("demo")
GREY, WHITE = 1, 2


def template(name: str) -> Path:
    """Return the path of one of nilearn's template images."""
    spec = importlib.util.find_spec("nilearn")
    if spec is None or spec.origin is None:
        sys.exit("demo: nilearn is not installed; run `make demo`")
    folder = Path(spec.origin).parent / "datasets/data"
    return folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"


def write_labels(path: Path) -> None:
    """Make a label volume from the template's tissue maps."""
    images = [nibabel.load(template(name)) for name in ("gm", "wm")]
    grey, white = (image.get_fdata() / image.get_fdata().max() for image in images)
    labels = np.where(grey >= white, GREY, WHITE) * (np.maximum(grey, white) > 0.5)
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.uint8), images[0].affine), path)


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


def main() -> None:
    """Make the demo."""
    FOLDER.mkdir(exist_ok=True)
    labels = FOLDER / "MNI152_dseg.nii.gz"
    write_labels(labels)
    for source, dest, method in (
        (template("t1"), FOLDER / "MNI152_T1w", "average"),
        (labels, FOLDER / "MNI152_dseg", "majority"),
    ):
        ngcore_command("convert", source, dest, "--overwrite")
        ngcore_command("validate", dest)
        check(source, dest, method)
    command = Path(sys.executable).with_name("ngcore")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    print("\nLook at both in Neuroglancer (Ctrl-C stops it):\n")
    print(f"  {command} view demo/MNI152_T1w demo/MNI152_dseg\n")


if __name__ == "__main__":
    main()
