import json

import numpy as np
import pytest
import tifffile
from classic_steps import make_info
from slice_stacks import slices_of, write_png_slices
from volume_files import save_nifti, voxels

import ngcore
from ngcore.classic.chunks_from_source import slices_to_raw_chunks, volume_to_raw_chunks
from ngcore.errors import InputError


def test_values_become_the_data_type_of_info_and_changes_are_counted(tmp_path, caplog):
    source = save_nifti(tmp_path / "v.nii", np.array([[[-3.0, 1.6, 300.0]]], np.float32))
    dest = make_info(tmp_path / "out", scales=[((1, 1, 3), (2e6, 3e6, 4e6), (0, 0, 0))])
    volume_to_raw_chunks(source, dest)
    assert ngcore.open(dest).scales[0][0, 0, :, 0].tolist() == [0, 2, 255]
    assert "2 voxels were clipped" in caplog.text
    volume_to_raw_chunks(source, dest, input_min=-3, input_max=300)
    assert ngcore.open(dest).scales[0][0, 0, :, 0].tolist() == [0, 4, 255]


def test_a_volume_of_another_size_or_resolution_is_refused_or_told(tmp_path, caplog):
    source = save_nifti(tmp_path / "v.nii", voxels((5, 6, 7), "uint8"))
    dest = make_info(tmp_path / "out", scales=[((5, 6, 8), (1, 1, 1), (0, 0, 0))])
    with pytest.raises(InputError, match="5 x 6 x 7 x 1, but the info file says 5 x 6 x 8 x 1"):
        volume_to_raw_chunks(source, dest)
    dest = make_info(tmp_path / "out", scales=[((5, 6, 7), (1, 1, 1), (0, 0, 0))])
    volume_to_raw_chunks(source, dest)
    assert "2000000 x 3000000 x 4000000 nm, but the info file says 1 x 1 x 1 nm" in caplog.text


def test_bad_labels_found_midway_leave_no_chunks(tmp_path):
    labels = np.zeros((20, 20, 200), np.int16)
    labels[0, 0, -1] = -1
    source = save_nifti(tmp_path / "v.nii", labels)
    levels = [((20, 20, 200), (2e6, 3e6, 4e6), (0, 0, 0))]
    dest = make_info(
        tmp_path / "out", scales=levels, volume_type="segmentation", data_type="uint32"
    )
    with pytest.raises(InputError, match="negative"):
        volume_to_raw_chunks(source, dest)
    assert {path.name for path in dest.iterdir()} == {"info"}


def test_slices_in_folders_are_channels_in_ras_order(tmp_path):
    channels = voxels((20, 15, 12, 2), "uint8")
    for index in range(2):
        slices = slices_of(channels[..., index], "RIA")
        write_png_slices(tmp_path / f"channel{index}", slices)
    dest = make_info(tmp_path / "out", scales=[((20, 15, 12), (1, 1, 1), (3, -4, 5))])
    info = json.loads((dest / "info").read_text())
    info["num_channels"] = 2
    (dest / "info").write_text(json.dumps(info))
    folders = [tmp_path / "channel0", tmp_path / "channel1"]
    slices_to_raw_chunks(folders, dest, input_orientation="ria")
    assert np.array_equal(ngcore.open(dest).scales[0][...], channels)
    with pytest.raises(InputError, match="x, y, z and channels"):
        slices_to_raw_chunks(folders[:1], dest, input_orientation="RIA")


def test_a_slice_that_is_missing_is_named(tmp_path):
    write_png_slices(tmp_path / "slices", slices_of(voxels((8, 7, 6), "uint8"), "RAS"))
    missing = sorted((tmp_path / "slices").iterdir())[3]
    missing.unlink()
    dest = make_info(tmp_path / "out", scales=[((8, 7, 6), (8, 8, 8), (0, 0, 0))])
    with pytest.raises(InputError, match=r"8 x 7 x 5 x 1.*numbers jump from 2 to 4"):
        slices_to_raw_chunks([tmp_path / "slices"], dest)


def test_a_tiff_stack_stands_for_its_slices(tmp_path):
    image = voxels((20, 15, 12), "uint16")
    tifffile.imwrite(tmp_path / "stack.tif", slices_of(image, "LPS"))
    dest = make_info(
        tmp_path / "out", scales=[((20, 15, 12), (1, 1, 1), (3, -4, 5))], data_type="uint16"
    )
    slices_to_raw_chunks([tmp_path / "stack.tif"], dest, input_orientation="LPS")
    assert np.array_equal(ngcore.open(dest).scales[0][..., 0], image)
    np.save(tmp_path / "v.npy", image)
    with pytest.raises(InputError, match="neither a folder of slices nor a TIFF stack"):
        slices_to_raw_chunks([tmp_path / "v.npy"], dest)
