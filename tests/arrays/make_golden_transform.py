"""Make golden_transform.json: what neuroglancer-scripts 1.2 says of some affines.

Run with its command on the path, then commit the result:

    pip install neuroglancer-scripts==1.2.* && python make_golden_transform.py
"""

import json
import subprocess
import tempfile
from pathlib import Path

import nibabel
import numpy as np

SHAPE = (5, 6, 7)


def rotation(x, y, z):
    """Return a rotation by three angles."""
    cx, cy, cz = np.cos([x, y, z])
    sx, sy, sz = np.sin([x, y, z])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def affines():
    """Return the affines by name."""
    oblique = np.eye(4)
    oblique[:3, :3] = rotation(0.2, -0.3, 0.4) * [0.7, 0.8, 2.5]
    oblique[:3, 3] = [-71.5, -103.25, 40.125]
    flipped = oblique.copy()
    flipped[:3, 0] *= -1
    sheared = oblique.copy()
    sheared[:3, 1] += 0.2 * sheared[:3, 0]
    plain = np.diag([1.0, 1.0, 1.0, 1.0])
    plain[:3, 3] = [-90, -126, -72]
    return {"oblique": oblique, "flipped": flipped, "sheared": sheared, "plain": plain}


def main():
    """Write the golden file beside this script."""
    golden = {}
    for name, affine in affines().items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "volume.nii")
            nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.uint8), affine), path)
            command = ["volume-to-precomputed", "--generate-info", str(path), folder]
            subprocess.run(command, check=True)
            transform = json.loads(Path(folder, "transform.json").read_text())
            info = json.loads(Path(folder, "info_fullres.json").read_text())
            golden[name] = {
                "affine": affine.tolist(),
                "transform": transform,
                "resolution": info["scales"][0]["resolution"],
            }
    target = Path(__file__).with_name("golden_transform.json")
    target.write_text(json.dumps({"shape": SHAPE, "cases": golden}, indent=1) + "\n")


if __name__ == "__main__":
    main()
