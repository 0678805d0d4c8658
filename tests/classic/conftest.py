import pytest
from classic_steps import AFFINE
from volume_files import save_nifti, voxels


@pytest.fixture
def image(tmp_path):
    return save_nifti(tmp_path / "t1.nii.gz", voxels((75, 50, 31), "uint16"), AFFINE)
