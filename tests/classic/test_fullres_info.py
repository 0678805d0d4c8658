import json

import numpy as np
import pytest
from classic_steps import AFFINE
from volume_files import save_nifti, voxels

from ngcore.classic.fullres_info import generate_fullres_info
from ngcore.errors import InputError


def test_fullres_info_says_what_the_header_says(tmp_path):
    header = {"scl_slope": 1, "scl_inter": 5}
    scaled = save_nifti(tmp_path / "s.nii", voxels((5, 6, 7, 2), "int16"), AFFINE, **header)
    full = json.loads(generate_fullres_info(scaled, tmp_path / "s").read_text())
    assert (full["type"], full["data_type"], full["num_channels"]) == ("image", "int32", 2)
    assert full["scales"][0]["size"] == [5, 6, 7]
    assert full["scales"][0]["resolution"] == [500000, 500000, 1250000]
    stored = generate_fullres_info(scaled, tmp_path / "stored", ignore_scaling=True)
    assert json.loads(stored.read_text())["data_type"] == "int16"
    labels = save_nifti(tmp_path / "x_dseg.nii", voxels((5, 6, 7), "uint8"), AFFINE)
    full = json.loads(generate_fullres_info(labels, tmp_path / "labels").read_text())
    assert (full["type"], full["data_type"]) == ("segmentation", "uint32")
    np.save(tmp_path / "v.npy", np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(InputError, match="pass --resolution"):
        generate_fullres_info(tmp_path / "v.npy", tmp_path / "v")
    assert generate_fullres_info(tmp_path / "v.npy", tmp_path / "v", resolution=(8, 8, 8)).exists()
