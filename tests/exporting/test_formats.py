"""Export to MGH, .npy, TIFF and OME-Zarr, read back by libraries that are not ours."""

import asyncio
import errno
import gzip
import os
import signal
import threading
import time

import nibabel
import numpy as np
import pytest
import tifffile
import volume_files
import zarr
from nibabel.affines import from_matvec
from nibabel.eulerangles import euler2mat

import ngcore
from ngcore.errors import DestinationError, FormatError, InputError, StorageError
from ngcore.exporting.export import export

OBLIQUE = from_matvec(euler2mat(0.2, -0.3, 0.4) @ np.diag([-0.9, 1.1, 2.5]), [83.7, -104.2, -61.9])
STRAIGHT = from_matvec(np.diag([0.9, 1.1, 2.5]), [83.7, -104.2, -61.9])


def convert(folder, values, affine=OBLIQUE, fields=None, **options):
    source = volume_files.save_nifti(folder / "source.nii", values, affine, **(fields or {}))
    options = {"chunk_size": 8, "fsync": False, **options}
    return ngcore.convert(source, folder / "volume", **options)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [("uint8", "uint8"), ("int8", "int16"), ("uint16", "int32"), ("float32", "float32")],
)
def test_mgh_keeps_values_and_place(tmp_path, dtype, kept):
    values = volume_files.voxels((21, 17, 13), dtype)
    convert(tmp_path, values, type="image")
    export(tmp_path / "volume", tmp_path / "out.mgz")
    export(tmp_path / "volume", tmp_path / "out.mgh")
    packed = gzip.decompress((tmp_path / "out.mgz").read_bytes())
    assert packed == (tmp_path / "out.mgh").read_bytes()
    image = nibabel.load(tmp_path / "out.mgz")
    assert image.get_data_dtype().newbyteorder("=") == np.dtype(kept)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), values)
    np.testing.assert_allclose(image.affine, OBLIQUE, rtol=1e-5, atol=1e-4)


def test_mgh_refuses_labels_that_it_has_no_room_for_and_keeps_frames(tmp_path):
    values = np.full((5, 6, 7), 2**31, np.uint32)
    convert(tmp_path, values, type="segmentation")
    with pytest.raises(FormatError, match="values that do not fit in int32"):
        export(tmp_path / "volume", tmp_path / "out.mgz")
    assert not (tmp_path / "out.mgz").exists()
    (tmp_path / "b").mkdir()
    values = volume_files.voxels((5, 6, 7, 3))
    convert(tmp_path / "b", values, fields={"xyzt_units": 10, "pixdim": [1, 1, 1, 1, 2, 1, 1, 1]})
    export(tmp_path / "b/volume", tmp_path / "frames.mgz")
    image = nibabel.load(tmp_path / "frames.mgz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), values)
    assert image.header["tr"] == 2000


@pytest.mark.parametrize("shape", [(21, 17, 13), (21, 17, 13, 2)])
def test_npy_is_the_array(tmp_path, shape):
    values = volume_files.voxels(shape, "uint16")
    convert(tmp_path, values)
    export(tmp_path / "volume", tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("shape", [(21, 17, 13), (21, 17, 13, 2)])
def test_tiff_has_a_page_for_each_z_and_sizes(tmp_path, shape):
    values = volume_files.voxels(shape, "int16")
    convert(tmp_path, values)
    export(tmp_path / "volume", tmp_path / "out.tif")
    found = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_array_equal(found, values.transpose(*range(values.ndim)[::-1]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tif", "source.nii", "volume"]
    back = ngcore.convert(tmp_path / "out.tif", tmp_path / "back", fsync=False)
    np.testing.assert_array_equal(back.scales[0][...].reshape(shape), values)
    assert back.scales[0].resolution == pytest.approx((0.9e6, 1.1e6, 2.5e6), rel=1e-4)


def read_level(group, number):
    image = group.attrs["ome"]["multiscales"][0]
    steps = image["datasets"][number]["coordinateTransformations"]
    return group[str(number)][...], steps[0]["scale"], steps[1]["translation"]


def test_ome_zarr_holds_every_scale_in_its_place(tmp_path):
    values = volume_files.voxels((21, 17, 13), "uint16")
    volume = convert(tmp_path, values, STRAIGHT, type="image")
    export(tmp_path / "volume", tmp_path / "out.ome.zarr")
    group = zarr.open_group(tmp_path / "out.ome.zarr", mode="r")
    for number, scale in enumerate(volume.scales):
        voxels, _, translation = read_level(group, number)
        np.testing.assert_array_equal(voxels, scale[...][..., 0].transpose(2, 1, 0))
        steps = np.array(scale.resolution) / volume.scales[0].resolution
        moved = STRAIGHT @ [*(steps - 1) / 2, 1]
        np.testing.assert_allclose(translation, moved[2::-1], rtol=1e-6)
    assert read_level(group, 0)[1] == pytest.approx([2.5, 1.1, 0.9])
    back = ngcore.convert(tmp_path / "out.ome.zarr", tmp_path / "back", fsync=False)
    np.testing.assert_array_equal(back.scales[0][...], volume.scales[0][...])
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)


def test_ome_zarr_is_valid_with_channels_times_and_labels(tmp_path):
    models = pytest.importorskip("ome_zarr_models")
    for name, shape, fields, options in [
        ("channels", (9, 8, 7, 2), {}, {}),
        ("times", (9, 8, 7, 3), {"xyzt_units": 10, "pixdim": [1, 1, 1, 1, 2.5, 1, 1, 1]}, {}),
        ("labels", (9, 8, 7), {}, {"type": "segmentation"}),
    ]:
        (tmp_path / name).mkdir()
        values = volume_files.voxels(shape, "uint8")
        convert(tmp_path / name, values, STRAIGHT, fields, **options)
        export(tmp_path / name / "volume", tmp_path / f"{name}.zarr")
        group = zarr.open_group(tmp_path / f"{name}.zarr", mode="r")
        assert models.open_ome_zarr(group).ome_zarr_version == "0.5"
        source = ngcore.convert(tmp_path / f"{name}.zarr", tmp_path / f"{name}-back", fsync=False)
        np.testing.assert_array_equal(source.scales[0][...].reshape(shape), values)
    axes = zarr.open_group(tmp_path / "times.zarr", mode="r").attrs["ome"]["multiscales"][0][
        "axes"
    ]
    assert axes[0] == {"name": "t", "type": "time", "unit": "second"}
    assert ngcore.open(tmp_path / "labels-back").info.type == "segmentation"


def interrupt():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def fill_the_disk():
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("happens", "error"),
    [
        pytest.param(
            interrupt,
            pytest.raises(KeyboardInterrupt),
            marks=pytest.mark.skipif(os.name == "nt", reason="a thread can't be sent Ctrl-C"),
        ),
        (fill_the_disk, pytest.raises(StorageError, match="No space left")),
    ],
)
def test_an_ome_zarr_that_is_cut_off_leaves_nothing(tmp_path, monkeypatch, happens, error):
    """Zarr's threads went on writing, and made the folder anew that had been removed."""
    convert(tmp_path, volume_files.voxels((21, 17, 13)), STRAIGHT)
    write, has_happened = zarr.storage.LocalStore.set, threading.Event()

    async def write_late(self, key, value):
        if "/c/" in key:
            if not has_happened.is_set():
                has_happened.set()
                happens()
            await asyncio.sleep(0.05)
        await write(self, key, value)

    monkeypatch.setattr(zarr.storage.LocalStore, "set", write_late)
    with error:
        export(tmp_path / "volume", tmp_path / "out" / "a.zarr")
    time.sleep(0.3)
    assert has_happened.is_set()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_zarr_is_replaced_only_where_that_is_asked_and_nothing_else_is(tmp_path, caplog):
    convert(tmp_path, volume_files.voxels((9, 8, 7), "uint8"))
    out = tmp_path / "out.zarr"
    export(tmp_path / "volume", out)
    assert "keeps no directions" in caplog.text
    with pytest.raises(DestinationError, match="already exists; pass --overwrite"):
        export(tmp_path / "volume", out)
    export(tmp_path / "volume", out, overwrite=True)
    notes = tmp_path / "notes.zarr"
    notes.mkdir()
    (notes / "notes.txt").write_text("mine")
    with pytest.raises(DestinationError, match="is not a Zarr"):
        export(tmp_path / "volume", notes, overwrite=True)
    assert (notes / "notes.txt").exists()
    with pytest.raises(InputError, match=r"must end in one of \.nii, .*\.ome\.zarr"):
        export(tmp_path / "volume", tmp_path / "out.what")


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (4, 0), (0, 1), (2, 3)])
def test_codes_and_the_time_step_come_back_as_they_were(tmp_path, sform, qform):
    values = volume_files.voxels((9, 8, 7, 2), "int16")
    image = nibabel.Nifti1Image(values, OBLIQUE)
    image.set_sform(OBLIQUE, sform)
    image.set_qform(OBLIQUE, qform)
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 720
    nibabel.save(image, tmp_path / "a.nii.gz")
    ngcore.convert(tmp_path / "a.nii.gz", tmp_path / "volume", fsync=False)
    export(tmp_path / "volume", tmp_path / "out.nii.gz")
    found = nibabel.load(tmp_path / "out.nii.gz")
    assert (int(found.header["sform_code"]), int(found.header["qform_code"])) == (sform, qform)
    assert found.header.get_zooms()[3] == pytest.approx(0.72)
    assert found.header.get_xyzt_units() == ("mm", "sec")
    np.testing.assert_allclose(found.affine, OBLIQUE, atol=1e-5)


def test_a_file_without_codes_comes_back_without(tmp_path):
    image = nibabel.Nifti1Image(volume_files.voxels((9, 8, 7), "int16"), np.diag([2.0, 3, 4, 1]))
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    ngcore.convert(tmp_path / "a.nii.gz", tmp_path / "volume", chunk_size=4, fsync=False)
    for scale, codes in ((0, 0), (1, 2)):
        out = tmp_path / f"out{scale}.nii.gz"
        export(tmp_path / "volume", out, scale=scale)
        found = nibabel.load(out)
        assert int(found.header["sform_code"]) == int(found.header["qform_code"]) == codes
    source = nibabel.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(nibabel.load(tmp_path / "out0.nii.gz").affine, source.affine)
