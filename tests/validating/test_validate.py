"""What `validate` says of a whole volume: valid, no volume, not checked, how far it is."""

import json

import damage
import numpy as np
import pytest
from findings import edit_json, found

import ngcore
from ngcore.validating.validate import validate


@pytest.mark.parametrize("name", damage.VOLUMES)
def test_every_kind_of_volume_that_convert_writes_is_sound(made, name):
    report = validate(made(name))
    assert report.is_sound
    assert not report.findings
    assert report.digests == ("8_8_8", "16_16_16", "32_32_32")
    assert not validate(made(name), quick=True).findings


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "compressed_segmentation"])
@pytest.mark.parametrize("sharding", [True, False])
def test_offset_channels_and_lossy_encodings_are_sound(tmp_path, encoding, sharding):
    rng = np.random.default_rng(0)
    options = {"encoding": encoding, "sharding": sharding, "chunk_size": 16}
    if encoding == "compressed_segmentation":
        voxels = damage.labels(0).astype(np.uint64) << 40
        options["type"] = "segmentation"
    else:
        voxels = rng.integers(0, 256, (50, 33, 20, 3)).astype(np.uint8)
        options |= {"outside_value": 9, "jpeg_quality": 10}
    ngcore.convert(
        voxels, tmp_path / "out", resolution=(8, 8, 8), voxel_offset=(-5, 3, 7), **options
    )
    report = validate(tmp_path / "out")
    assert not report.findings
    assert len(report.digests) == len(ngcore.open(tmp_path / "out").scales)


def test_digest_does_not_depend_on_layout_threads_memory_or_gzip(tmp_path):
    digests = set()
    for number, options in enumerate(
        [
            {},
            {"gzip": False, "workers": 1},
            {"sharding": False, "memory": "300M"},
            {"sharding": False, "layout": "nested", "gzip": True},
        ]
    ):
        out = tmp_path / str(number)
        ngcore.convert(damage.image(0), out, resolution=(8, 8, 8), chunk_size=16, **options)
        method = json.loads((out / "provenance").read_text())["processing"][-1]["method"]
        digests.add(json.dumps(method["digests"]))
    assert len(digests) == 1


@pytest.mark.parametrize("kind", ["image", "segmentation"])
def test_volume_of_zeros_has_shards_without_a_chunk_and_is_sound(tmp_path, kind):
    zeros = np.zeros((20, 20, 20), np.uint32)
    ngcore.convert(zeros, tmp_path, type=kind, resolution=(8, 8, 8), chunk_size=8)
    report = validate(tmp_path)
    assert (report.is_sound, report.findings, report.chunks) == (True, (), 0)
    (tmp_path / "provenance").unlink()
    assert validate(tmp_path).is_sound
    for shard in tmp_path.glob("*/*.shard"):
        shard.unlink()
    assert not validate(tmp_path).is_sound


def test_encoding_that_ngcore_does_not_know_is_not_decoded_but_counted(files):
    def foreign(info):
        for item in info["scales"]:
            item["encoding"] = "crackle"

    damage.forget_provenance(files)
    edit_json(files / "info", foreign)
    report = validate(files)
    assert report.is_sound
    assert report.chunks == 36 + 8 + 1
    assert {finding.kind for finding in report.findings} == {"unchecked", "info"}
    (files / "8_8_8" / "16-32_16-32_16-32").unlink()
    assert not found(files)
    assert any("1 of 36 chunks is absent" in line for line in found(files, "warning"))


def test_folder_without_info_is_no_volume(tmp_path):
    with pytest.raises(ngcore.InputNotFoundError, match="has no info file"):
        validate(tmp_path)
    with pytest.raises(ngcore.InputNotFoundError, match="is not a folder"):
        validate(tmp_path / "nowhere")
    (tmp_path / ".ngcore").mkdir()
    (tmp_path / ".ngcore" / "plan.json").write_text("{}")
    with pytest.raises(ngcore.InputNotFoundError, match="is unfinished; continue"):
        validate(tmp_path)


def test_folders_of_other_kinds_are_told_by_name(tmp_path):
    (tmp_path / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    assert validate(tmp_path).what == "meshes"
    (tmp_path / "info").write_text('{"@type": "of_nobody"}')
    with pytest.raises(ngcore.InputError, match='something of type "of_nobody"'):
        validate(tmp_path)


def test_progress_ends_at_every_voxel(files):
    told = []
    validate(files, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert told == sorted(told)
