import json

import numpy as np
import pytest
from classic_peer import decompressed_chunks
from classic_steps import AFFINE, SPEC, chain, make_info
from volume_files import save_nifti, voxels

import ngcore
from ngcore.classic.chunks_from_source import volume_to_raw_chunks
from ngcore.classic.coarser_scales import compute_scales
from ngcore.classic.fullres_info import generate_fullres_info
from ngcore.classic.recode import convert_chunks
from ngcore.classic.scales_info import generate_scales_info
from ngcore.errors import FormatError, InputError


@pytest.mark.parametrize("encoding", ["jpeg", "png", "compressed_segmentation", "raw"])
def test_chunks_are_recoded_in_every_scale(tmp_path, encoding):
    source = np.clip(voxels((70, 40, 33), "uint8"), 0, 9)
    is_label = encoding == "compressed_segmentation"
    save_nifti(tmp_path / "v.nii", source, AFFINE)
    raw = chain(tmp_path / "v.nii", tmp_path / "raw", target_chunk_size=16)
    fullres = tmp_path / "raw" / "info_fullres.json"
    generate_scales_info(fullres, tmp_path / "out", target_chunk_size=16, encoding=encoding)
    convert_chunks(tmp_path / "raw", tmp_path / "out", encoding=encoding, flat=True)
    place = (tmp_path / "raw" / "transform.json").read_bytes()
    assert (tmp_path / "out" / "transform.json").read_bytes() == place
    out = ngcore.open(tmp_path / "out")
    assert out.info.data_type == ("uint32" if is_label else "uint8")
    for before, after in zip(raw.scales, out.scales, strict=True):
        assert after.info.encoding == encoding
        difference = before[...].astype(int) - after[...].astype(int)
        assert abs(difference).max() <= (8 if encoding == "jpeg" else 0)


def test_chunks_of_another_size_and_sharding_are_recoded(tmp_path, image):
    raw = chain(image, tmp_path / "raw", target_chunk_size=16)
    fullres = json.loads((tmp_path / "raw" / "info_fullres.json").read_text())
    fullres["scales"][0]["sharding"] = SPEC.to_json()
    (tmp_path / "full.json").write_text(json.dumps(fullres))
    generate_scales_info(tmp_path / "full.json", tmp_path / "out", target_chunk_size=32)
    convert_chunks(tmp_path / "raw", tmp_path / "out", workers=3)
    out = ngcore.open(tmp_path / "out")
    for before, after in zip(raw.scales, out.scales, strict=False):
        assert np.array_equal(before[...], after[...])


def test_copied_info_copies_jpeg_bytes(tmp_path):
    save_nifti(tmp_path / "v.nii", voxels((40, 40, 33), "uint8"), AFFINE)
    generate_fullres_info(tmp_path / "v.nii", tmp_path / "a")
    generate_scales_info(tmp_path / "a" / "info_fullres.json", tmp_path / "a", encoding="jpeg")
    volume_to_raw_chunks(tmp_path / "v.nii", tmp_path / "a")
    compute_scales(tmp_path / "a")
    convert_chunks(tmp_path / "a", tmp_path / "b", copy_info=True, use_gzip=False)
    assert decompressed_chunks(tmp_path / "a") == decompressed_chunks(tmp_path / "b")


def test_copied_info_that_names_what_is_not_copied_is_told_of(tmp_path, caplog):
    labels = np.zeros((20, 20, 20), np.uint32)
    ngcore.convert(labels, tmp_path / "a", type="segmentation", resolution=(8, 8, 8))
    info = json.loads((tmp_path / "a" / "info").read_text())
    (tmp_path / "a" / "info").write_text(json.dumps({**info, "mesh": "surfaces"}))
    convert_chunks(tmp_path / "a", tmp_path / "b", copy_info=True)
    (record,) = caplog.records
    assert "names mesh 'surfaces'" in record.getMessage()
    (tmp_path / "b" / "surfaces").mkdir()
    convert_chunks(tmp_path / "a", tmp_path / "b", copy_info=True)
    assert len(caplog.records) == 1


def test_copied_info_goes_with_the_chunks_where_one_is_damaged(tmp_path):
    labels = np.arange(8000, dtype=np.uint32).reshape(20, 20, 20)
    options = {"type": "segmentation", "resolution": (8, 8, 8), "sharding": False}
    ngcore.convert(labels, tmp_path / "a", **options)
    (chunk,) = (tmp_path / "a" / "8_8_8").iterdir()
    chunk.write_bytes(chunk.read_bytes()[:-100])
    info = json.loads((tmp_path / "a" / "info").read_text())
    with pytest.raises(FormatError):
        convert_chunks(tmp_path / "a", tmp_path / "b", copy_info=True)
    assert not (tmp_path / "b" / "info").exists()
    (tmp_path / "b" / "info").write_text(json.dumps(info))
    with pytest.raises(FormatError):
        convert_chunks(tmp_path / "a", tmp_path / "b", copy_info=True)
    assert (tmp_path / "b" / "info").exists()


def test_recoding_between_volumes_that_differ_is_refused(tmp_path, image):
    chain(image, tmp_path / "raw", target_chunk_size=32)
    with pytest.raises(InputError, match="same folder"):
        convert_chunks(tmp_path / "raw", tmp_path / "raw")
    generate_scales_info(tmp_path / "raw" / "info_fullres.json", tmp_path / "out")
    with pytest.raises(InputError, match="encoding is raw"):
        convert_chunks(tmp_path / "raw", tmp_path / "out", encoding="jpeg")
    other = make_info(tmp_path / "other", scales=[((9, 9, 9), (7, 7, 7), (0, 0, 0))])
    with pytest.raises(InputError, match="has no scale s0"):
        convert_chunks(tmp_path / "raw", other)
    empty = make_info(tmp_path / "empty", scales=[((9, 9, 9), (7, 7, 7), (0, 0, 0))])
    with pytest.raises(InputError, match="holds no chunks"):
        convert_chunks(empty, other)
