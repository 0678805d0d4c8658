"""Export to NIfTI: convert then export gives back the voxels, their type and their place."""

import gzip
import logging

import nibabel
import numpy as np
import pytest
import volume_files
import volumes
from nibabel.affines import apply_affine, from_matvec
from nibabel.eulerangles import euler2mat

import ngcore
from ngcore.cli import run
from ngcore.errors import DestinationError, FormatError, InputError
from ngcore.exporting import export as export_module
from ngcore.exporting.export import export

OBLIQUE = from_matvec(euler2mat(0.2, -0.3, 0.4) @ np.diag([-0.9, 1.1, 2.5]), [83.7, -104.2, -61.9])
SHEARED = OBLIQUE @ np.array([[1, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


@pytest.fixture(autouse=True)
def package_logger(monkeypatch):
    """The command line sets the package's logger up for the process that it is."""
    logger = logging.getLogger("ngcore")
    monkeypatch.setattr(logger, "propagate", True)
    level = logger.level
    yield
    logger.setLevel(level)


def there_and_back(tmp_path, values, affine=OBLIQUE, *, suffix=".nii.gz", **options):
    source = volume_files.save_nifti(tmp_path / "source.nii.gz", values, affine)
    ngcore.convert(source, tmp_path / "volume", fsync=False, **options)
    out = tmp_path / f"out{suffix}"
    export(tmp_path / "volume", out)
    return nibabel.load(source), nibabel.load(out)


def assert_same(source, out):
    assert out.get_data_dtype() == source.get_data_dtype()
    assert out.shape == source.shape
    np.testing.assert_array_equal(np.asanyarray(out.dataobj), np.asanyarray(source.dataobj))
    np.testing.assert_allclose(out.affine, source.affine, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32"]
)
def test_images_come_back_voxel_by_voxel(tmp_path, dtype, suffix):
    values = volume_files.voxels((21, 17, 13), dtype)
    options = {"suffix": suffix, "type": "image", "data_type": dtype, "chunk_size": 8}
    assert_same(*there_and_back(tmp_path, values, **options))


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_labels_come_back_exactly(tmp_path, dtype):
    labels = volumes.labels((21, 17, 13), dtype)
    source, out = there_and_back(tmp_path, labels, type="segmentation", chunk_size=8)
    assert_same(source, out)
    assert out.header.get_intent()[0] == "label"


def test_labels_are_known_as_such_when_they_are_converted_again(tmp_path):
    there_and_back(tmp_path, volumes.labels((9, 9, 9), "uint32"), type="segmentation")
    again = ngcore.convert(tmp_path / "out.nii.gz", tmp_path / "again", fsync=False)
    assert again.info.type == "segmentation"
    first, second = (tmp_path / name / "transform.json" for name in ("volume", "again"))
    assert first.read_text() == second.read_text()


@pytest.mark.parametrize("offset", [(0, 0, 0), (-3, 5, 7)])
def test_the_affine_does_not_depend_on_voxel_offset(tmp_path, offset):
    values = volume_files.voxels((9, 8, 7))
    assert_same(*there_and_back(tmp_path, values, voxel_offset=offset))


def test_channels_become_the_fourth_axis(tmp_path):
    values = volume_files.voxels((12, 11, 10, 3))
    assert_same(*there_and_back(tmp_path, values, chunk_size=8))
    assert_same(nibabel.load(tmp_path / "source.nii.gz"), nibabel.load(tmp_path / "out.nii.gz"))


def test_rgb_becomes_a_fourth_axis_of_uint8(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (9, 8, 7, 3), np.uint8)
    rgb = colours.copy().view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nibabel.save(nibabel.Nifti1Image(rgb, OBLIQUE), tmp_path / "rgb.nii")
    ngcore.convert(tmp_path / "rgb.nii", tmp_path / "volume", fsync=False)
    export(tmp_path / "volume", tmp_path / "out.nii")
    out = nibabel.load(tmp_path / "out.nii")
    assert out.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(out.dataobj), colours)


@pytest.mark.parametrize("room", [1, 8 * 8 * 8 * 2, 30 * 8 * 8 * 2, 30 * 20 * 8 * 2])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_decoded_at_a_time_does_not_show(tmp_path, monkeypatch, room, channels):
    values = volume_files.voxels((30, 27, 19, channels))
    source = volume_files.save_nifti(tmp_path / "source.nii.gz", values, OBLIQUE)
    ngcore.convert(source, tmp_path / "volume", chunk_size=8, fsync=False)
    seen = []
    monkeypatch.setattr(export_module, "_BLOCK_BYTES", room)
    export(
        tmp_path / "volume", tmp_path / "out.nii", workers=2, progress=lambda *x: seen.append(x)
    )
    out = np.asanyarray(nibabel.load(tmp_path / "out.nii").dataobj)
    np.testing.assert_array_equal(out, values.squeeze())
    assert seen[-1] == (30 * 27 * 19, 30 * 27 * 19)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["out.nii", "source.nii.gz", "volume"]


def test_codes_are_those_of_the_source_and_both_forms_agree(tmp_path):
    _, out = there_and_back(tmp_path, volume_files.voxels((9, 8, 7)))
    assert (int(out.header["sform_code"]), int(out.header["qform_code"])) == (2, 0)
    np.testing.assert_allclose(out.header.get_qform(), out.header.get_sform(), atol=1e-4)
    assert out.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(out.header.get_zooms(), (0.9, 1.1, 2.5), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_sheared_affine_has_no_qform(tmp_path, channels):
    values = volume_files.voxels((9, 8, 7, channels)).squeeze()
    source, out = there_and_back(tmp_path, values, SHEARED)
    assert_same(source, out)
    assert (int(out.header["sform_code"]), int(out.header["qform_code"])) == (2, 0)


@pytest.mark.parametrize("offset", [(0, 0, 0), (-3, 5, 7)])
def test_coarser_scales_lie_where_their_voxels_are(tmp_path, offset):
    """The centre of every whole cell is the mean of the centres of its voxels."""
    values = volume_files.voxels((20, 19, 18))
    source = volume_files.save_nifti(tmp_path / "source.nii", values, OBLIQUE)
    options = {"chunk_size": 4, "voxel_offset": offset, "downsampling": "stride"}
    volume = ngcore.convert(source, tmp_path / "volume", fsync=False, **options)
    for index, scale in enumerate(volume.scales[:3]):
        factors = np.array(scale.resolution) / volume.scales[0].resolution
        export(tmp_path / "volume", tmp_path / "out.nii", scale=index, overwrite=True)
        out = nibabel.load(tmp_path / "out.nii")
        np.testing.assert_array_equal(np.asanyarray(out.dataobj), scale[..., 0])
        cell = np.array((2, 2, 1))
        first = (cell + scale.voxel_offset) * factors - offset
        last = first + factors - 1
        expected = apply_affine(nibabel.load(source).affine, (first + last) / 2)
        np.testing.assert_allclose(apply_affine(out.affine, cell), expected, atol=2e-5)


def test_long_axes_make_nifti_2(tmp_path):
    values = np.arange(40000, dtype=np.int32).reshape(40000, 1, 1)
    ngcore.convert(values, tmp_path / "volume", resolution=(1e6, 1e6, 1e6), fsync=False)
    export(tmp_path / "volume", tmp_path / "out.nii.gz")
    out = nibabel.load(tmp_path / "out.nii.gz")
    assert isinstance(out, nibabel.Nifti2Image)
    np.testing.assert_array_equal(np.asanyarray(out.dataobj), values)


def test_a_volume_without_a_world_is_exported_with_a_warning(tmp_path, caplog):
    values = volume_files.voxels((9, 8, 7))
    ngcore.convert(
        values, tmp_path / "v", resolution=(2e6, 3e6, 4e6), voxel_offset=(1, 0, 0), fsync=False
    )
    expected = [[2, 0, 0, 3], [0, 3, 0, 1.5], [0, 0, 4, 2], [0, 0, 0, 1]]
    for _ in range(2):
        caplog.clear()
        export(tmp_path / "v", tmp_path / "out.nii", overwrite=True)
        assert nibabel.load(tmp_path / "out.nii").affine.tolist() == expected
        assert "does not say where it lies in the world" in caplog.text
        (tmp_path / "v/transform.json").unlink(missing_ok=True)


def test_chunks_that_others_leave_out_are_zeros(tmp_path):
    values = volume_files.voxels((20, 8, 8))
    volume = ngcore.convert(
        values, tmp_path / "v", resolution=(1, 1, 1), chunk_size=8, sharding=False, fsync=False
    )
    (tmp_path / "v" / volume.scales[0].key / "8-16_0-8_0-8").unlink()
    (tmp_path / "v" / "provenance").unlink()
    export(tmp_path / "v", tmp_path / "out.nii")
    out = np.asanyarray(nibabel.load(tmp_path / "out.nii").dataobj)
    values[8:16] = 0
    np.testing.assert_array_equal(out, values)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nothing_is_left_of_an_export_that_failed(tmp_path, suffix, channels):
    values = volume_files.voxels((8, 8, 20, channels))
    volume = ngcore.convert(
        values, tmp_path / "v", resolution=(1, 1, 1), chunk_size=8, sharding=False, fsync=False
    )
    (tmp_path / "v" / volume.scales[0].key / "0-8_0-8_16-20").write_bytes(b"xx")
    out = tmp_path / f"out{suffix}"
    out.write_bytes(b"old")
    with pytest.raises(FormatError, match="0-8_0-8_16-20"):
        export(tmp_path / "v", out, overwrite=True)
    assert out.read_bytes() == b"old"
    assert sorted(x.name for x in tmp_path.iterdir()) == [out.name, "v"]


def test_a_damaged_transform_is_named(tmp_path):
    ngcore.convert(volume_files.voxels((4, 4, 4)), tmp_path / "v", resolution=(1, 1, 1))
    for text in ("[", "[[1, 2], [3]]", "[1, 2]", "[[0,0,0,0],[0,0,0,0],[0,0,0,0],[0,0,0,1]]"):
        (tmp_path / "v/transform.json").write_text(text)
        with pytest.raises(FormatError, match=r"transform.json is n.*remove it"):
            export(tmp_path / "v", tmp_path / "out.nii")
    assert not (tmp_path / "out.nii").exists()


def test_gzip_header_says_nothing_of_time_and_name(tmp_path):
    there_and_back(tmp_path, volume_files.voxels((9, 8, 7)))
    data = (tmp_path / "out.nii.gz").read_bytes()
    assert data[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert len(gzip.decompress(data)) == 352 + 9 * 8 * 7 * 2


def test_the_file_is_where_it_was_asked_for_or_refused(tmp_path, capsys):
    ngcore.convert(volume_files.voxels((4, 4, 4)), tmp_path / "v", resolution=(1, 1, 1))
    out = tmp_path / "new" / "folder" / "out.nii"
    assert run(["export", str(tmp_path / "v"), str(out), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["export", str(tmp_path / "v"), str(out)]) == 2
    assert "already exists; pass --overwrite" in capsys.readouterr().err
    assert run(["export", str(tmp_path / "v"), str(out), "--overwrite", "--quiet"]) == 0
    assert run(["export", str(tmp_path / "v"), str(tmp_path / "o.img"), "--quiet"]) == 2
    assert "must end in one of .nii, .nii.gz, .mgh" in capsys.readouterr().err
    assert run(["export", str(tmp_path / "v"), str(tmp_path / "o.nii"), "--scale", "5"]) == 2
    assert "has no scale 5; choose 0 to 0" in capsys.readouterr().err
    (tmp_path / "o.nii").mkdir()
    with pytest.raises(DestinationError, match="is a folder"):
        export(tmp_path / "v", tmp_path / "o.nii", overwrite=True)
    with pytest.raises(DestinationError, match="is a file, not a folder"):
        export(tmp_path / "v", out / "out.nii")
    with pytest.raises(InputError, match="not a precomputed volume"):
        export(tmp_path / "gone", tmp_path / "p.nii")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
def test_labels_get_back_the_type_they_had_before_they_were_converted(tmp_path, dtype):
    labels = np.random.default_rng(0).integers(0, 100, (20, 30, 25)).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "a_dseg.nii")
    ngcore.convert(tmp_path / "a_dseg.nii", tmp_path / "a")
    assert ngcore.open(tmp_path / "a").info.data_type == "uint32"
    export(tmp_path / "a", tmp_path / "back.nii")
    back = nibabel.load(tmp_path / "back.nii")
    assert back.get_data_dtype() == dtype
    assert np.array_equal(np.asanyarray(back.dataobj), labels)
