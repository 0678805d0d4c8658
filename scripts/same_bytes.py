"""Convert many sources with two versions of ngcore, and compare every file that they write.

    python scripts/same_bytes.py PROGRAM_BEFORE PROGRAM_AFTER [--only PART]

Each PROGRAM is a command, such as a path of `ngcore` in another environment. `provenance` is
compared by its digests of voxels alone: it may say more from one version to the next. Exits 1
where a file differs, with its name, unless `EXPECTED` says why.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

SOURCES = ("labels.nii.gz", "image.nii", "floats.mgz", "array.npy", "slices", "large.npy")
OPTIONS = {
    "plain": (),
    "files": ("--no-sharding",),
    "nested": ("--no-sharding", "--layout", "nested", "--gzip"),
    "offset": ("--voxel-offset", "3,-5,7", "--chunk-size", "16"),
    "anisotropic": ("--resolution", "8,8,40", "--chunk-size", "8"),
    "oriented": ("--orient", "LPI", "--chunk-size", "32,16,8"),
    "little memory": ("--memory", "132M", "--workers", "1", "--chunk-size", "16"),
    "strided": ("--downsampling", "stride", "--max-scales", "2"),
    "dask": ("--dask", "local", "--memory", "4G", "--chunk-size", "16"),
    "dask, offset": ("--dask", "local", "--memory", "4G", "--voxel-offset", "1,2,3"),
}
FIXED = ("--no-fsync", "--quiet")
EXPECTED = {
    "large.npy, anisotropic": "before, a scale of hundreds of shards had one chunk in each",
}
"""Cases that differ on purpose, and why."""


def make_sources(folder: Path) -> None:
    """Write every source into a folder."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 40, (20, 17, 15)), np.ones((5, 5, 5))).astype(np.uint8)
    affine = np.array([[-1, 0, 0, 50], [0, 0, 1, -40], [0, 1, 0, 3], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(labels, affine), folder / "labels.nii.gz")
    image = rng.integers(-500, 3000, (90, 70, 60, 2), np.int16)
    nibabel.save(nibabel.Nifti1Image(image, affine), folder / "image.nii")
    floats = rng.normal(0, 1, (65, 64, 63)).astype(np.float32)
    nibabel.save(nibabel.MGHImage(floats, affine), folder / "floats.mgz")
    np.save(folder / "array.npy", rng.integers(0, 255, (100, 90, 80), np.uint8))
    np.save(folder / "large.npy", rng.integers(0, 9, (700, 800, 60), np.uint8))
    (folder / "slices").mkdir()
    for number in range(40):
        Image.fromarray(rng.integers(0, 255, (70, 80), np.uint8)).save(
            folder / "slices" / f"{number}.png"
        )


def run(program: str, source: Path, out: Path, options: tuple[str, ...]) -> dict[str, bytes]:
    """Return what a program writes: every file by its name, or the status where it fails."""
    arguments = [program, *FIXED[1:], "convert", str(source), str(out), *FIXED[:1], *options]
    if source.suffix == ".npy" or source.is_dir():
        arguments += [] if "--resolution" in options else ["--resolution", "8,8,8"]
    done = subprocess.run(arguments, capture_output=True, check=False)
    if done.returncode:
        return {"status": str(done.returncode).encode()}
    return {
        path.relative_to(out).as_posix(): content_of(path)
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def content_of(path: Path) -> bytes:
    """Return the bytes of a file; of `provenance`, the digests of voxels."""
    if path.name != "provenance":
        return path.read_bytes()
    return json.dumps(json.loads(path.read_text())["processing"][-1]["method"]["digests"]).encode()


def main() -> int:
    """Compare, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--only", help="a part of the names of sources or options")
    asked = parser.parse_args()
    differences = count = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_sources(folder)
        for source in SOURCES:
            for label, options in OPTIONS.items():
                case = f"{source}, {label}"
                if asked.only and asked.only not in case:
                    continue
                before, after = (
                    run(program, folder / source, folder / f"{which} {case}", options)
                    for which, program in (("before", asked.before), ("after", asked.after))
                )
                count += 1
                reason = EXPECTED.get(case)
                wrong = sorted(
                    name
                    for name in before.keys() | after.keys()
                    if before.get(name) != after.get(name) or name == "status"
                )
                # What is expected to differ must: else the exception has had its day.
                differences += bool(wrong) != (reason is not None)
                notes = ["DIFFER:", *wrong[:5]] if wrong else []
                print(f"{case}: {len(after)} files", *notes, *([f"({reason})"] if reason else []))
    print(f"{count} conversions, {differences} differ that should not, or do not and should")
    return int(differences > 0)


if __name__ == "__main__":
    sys.exit(main())
