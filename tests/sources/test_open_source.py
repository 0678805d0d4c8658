import os
import subprocess
import sys

import nibabel
import numpy as np
import pytest
from volume_files import save_nifti, voxels

from ngcore.errors import InputError
from ngcore.sources import open_source
from ngcore.sources.slices.folder import SlicesSource
from ngcore.sources.slices.tiff import TiffStackSource
from ngcore.sources.volumes.array import MemorySource
from ngcore.sources.volumes.raw import RawSource


def test_a_folder_without_info_holds_slices(tmp_path):
    from PIL import Image

    for number in range(3):
        Image.fromarray(voxels((4, 5), "u1", number)).save(tmp_path / f"slice{number}.png")
    for source in (tmp_path, str(tmp_path / "*.png")):
        with open_source(source, resolution=(1, 2, 3), input_orientation="RPS") as opened:
            assert type(opened) is SlicesSource
            assert opened.shape == (5, 4, 3, 1)


def test_a_tiff_is_a_stack(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "stack.tif", voxels((3, 4, 5), "u1"), photometric="minisblack")
    with open_source(tmp_path / "stack.tif", resolution=(1, 2, 3)) as opened:
        assert type(opened) is TiffStackSource
        assert opened.shape == (5, 4, 3, 1)


def test_the_ending_may_be_in_capitals(tmp_path):
    path = save_nifti(tmp_path / "volume.nii", voxels((4, 5, 6)))
    path.rename(tmp_path / "VOLUME.NII")
    with open_source(str(tmp_path / "VOLUME.NII")) as opened:
        assert type(opened) is RawSource
        assert opened.name == str(tmp_path / "VOLUME.NII")


def test_an_array_is_taken():
    with open_source(voxels((4, 5, 6))) as opened:
        assert type(opened) is MemorySource
        assert opened.name == "the ndarray"


@pytest.mark.parametrize("name", ["a.npy", "a.mgz", "a.tif", "a.png", "folder", "a*.png"])
def test_a_form_is_refused_for_what_has_none(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="--form sform is for NIfTI"):
        open_source(tmp_path / name, form="sform")


@pytest.mark.parametrize("name", ["a.npy", "a.mgz", "a.nii"])
def test_a_direction_of_slices_is_refused_for_what_has_none(tmp_path, name):
    with pytest.raises(InputError, match="--input-orientation is for slices"):
        open_source(tmp_path / name, input_orientation="LPS")


def test_importing_readers_imports_no_plugins():
    code = (
        "import sys, ngcore.sources as r; "
        "print(sorted({'PIL', 'tifffile', 'trimesh', 'rich', 'h5py', 'scipy'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_voxel_offset_is_whole_numbers():
    with pytest.raises(InputError, match="three whole numbers"):
        open_source(voxels((4, 5, 6)), voxel_offset=(0.5, 0, 0))
    with open_source(voxels((4, 5, 6)), voxel_offset=np.array([1, 2, 3])) as opened:
        assert opened.header.voxel_offset == (1, 2, 3)


def test_a_source_names_the_files_by_which_it_is_known(tmp_path):
    import ngcore

    pair = tmp_path / "p.hdr"
    nibabel.save(nibabel.Nifti1Pair(voxels((4, 5, 6)), np.eye(4)), pair)
    np.save(tmp_path / "a.npy", voxels((4, 5, 6), "u1"))
    options = {"resolution": (1, 1, 1), "fsync": False}
    ngcore.convert(tmp_path / "a.npy", tmp_path / "volume", **options)
    for name, files in {
        "p.img": ["p.hdr", "p.img"],
        "a.npy": ["a.npy"],
        "volume": ["volume/info", "volume/provenance", "volume/transform.json"],
    }.items():
        with open_source(tmp_path / name, resolution=(1, 1, 1), orient="LPS") as opened:
            assert list(opened.header.files) == [tmp_path / file for file in files]
    with open_source(voxels((4, 5, 6))) as opened:
        assert opened.header.files == ()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes")
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.npy", "a.tif", "a.mgz", "a.png", "a"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="is a pipe"):
        open_source(tmp_path / name)
