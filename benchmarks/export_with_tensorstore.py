"""The same export with tensorstore and nibabel, as a whole process: the peer of `ngcore export`.

Arguments: volume, destination (.nii.gz). Scale 0 alone is read.
"""

import sys

import nibabel
import numpy as np
import tensorstore as ts


def main(volume: str, dest: str) -> None:
    """Read everything, and save it at level 1 of zlib, which is nibabel's own choice."""
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": volume},
        "scale_index": 0,
    }
    voxels = ts.open(spec, read=True).result()[..., 0].read(order="F").result()
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([8e-6, 8e-6, 8e-6, 1])), dest)


if __name__ == "__main__":
    main(*sys.argv[1:])
