"""Use an installed ngcore without any extra: convert, check, look, and read back.

`python scripts/smoke.py FOLDER` writes into a folder that is not there yet.
"""

import sys
from pathlib import Path

import nibabel
import numpy as np
import tifffile

import ngcore


def main() -> None:
    """Convert every kind of source that needs no extra, and compare what is read back."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    voxels = np.random.default_rng(0).integers(0, 200, (70, 60, 50)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1, 1, 1])), folder / "image.nii.gz")
    np.save(folder / "image.npy", voxels)
    tifffile.imwrite(folder / "image.tif", voxels.T)
    resolution = {".nii.gz": None, ".npy": (8, 8, 40), ".tif": (8, 8, 40)}
    for ending, size in resolution.items():
        for encoding in ("raw", "png", "jpeg"):
            dest = folder / f"{encoding}{ending}-volume"
            volume = ngcore.convert(
                folder / f"image{ending}", dest, type="image", encoding=encoding, resolution=size
            )
            assert encoding == "jpeg" or np.array_equal(volume.scales[0][:, :, :, 0], voxels), dest
            assert ngcore.validate(dest).is_sound, dest
    labels = folder / "labels"
    ngcore.convert(folder / "image.nii.gz", labels, type="segmentation")
    names = "".join(f"{label},label {label}\n" for label in range(1, 200))
    (folder / "names.csv").write_text(names, encoding="utf-8")
    ngcore.labels(labels, folder / "names.csv")
    ngcore.preview([str(labels)], folder / "labels.png", size=128)
    ngcore.export(labels, folder / "labels.nii.gz")
    assert ngcore.validate(labels).is_sound
    ngcore.pack(labels, folder / "labels.zip")
    print(f"{len(resolution) * 3 + 1} volumes are valid")


if __name__ == "__main__":
    main()
