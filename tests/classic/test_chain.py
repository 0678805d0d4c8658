"""The steps in a row: what `convert` gives, in the layout that was asked for, with digests."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from classic_peer import decompressed_chunks
from classic_steps import AFFINE, SPEC, chain
from peers import read_with_tensorstore
from volume_files import save_nifti, voxels

import ngcore
from ngcore.classic.chunks_from_source import volume_to_raw_chunks
from ngcore.classic.coarser_scales import compute_scales
from ngcore.classic.fullres_info import generate_fullres_info
from ngcore.classic.recode import convert_chunks
from ngcore.classic.scales_info import generate_scales_info
from ngcore.errors import InputError
from ngcore.validating.validate import validate


def test_chain_gives_the_voxels_and_scales_that_convert_gives(tmp_path, image):
    ours = chain(image, tmp_path / "chain", target_chunk_size=32)
    whole = ngcore.convert(image, tmp_path / "whole", chunk_size=32, fsync=False)
    assert len(ours.scales) == 3
    for ours_scale, whole_scale in zip(ours.scales, whole.scales, strict=False):
        assert np.array_equal(ours_scale[...], whole_scale[...])
    transforms = [(tmp_path / name / "transform.json").read_bytes() for name in ("chain", "whole")]
    assert transforms[0] == transforms[1]


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("use_gzip", [True, False])
def test_chunks_lie_as_asked_and_a_rerun_leaves_no_other_copies(tmp_path, image, flat, use_gzip):
    volume = chain(image, tmp_path, target_chunk_size=32)
    first = decompressed_chunks(tmp_path)
    volume_to_raw_chunks(image, tmp_path, flat=flat, use_gzip=use_gzip)
    compute_scales(tmp_path, flat=flat, use_gzip=use_gzip)
    for scale in volume.scales:
        names = {
            path.relative_to(tmp_path / scale.key).as_posix()
            for path in (tmp_path / scale.key).rglob("*")
            if path.is_file()
        }
        grid = scale.info.grid
        of_cell = grid.name if flat else grid.nested_name
        assert names == {of_cell(cell) + ".gz" * use_gzip for cell in grid.cells()}
    assert decompressed_chunks(tmp_path) == first


def test_sharding_in_info_is_followed_by_every_step(tmp_path, image):
    generate_fullres_info(image, tmp_path, sharding=SPEC)
    generate_scales_info(tmp_path / "info_fullres.json", tmp_path, target_chunk_size=16)
    volume_to_raw_chunks(image, tmp_path, sharding=SPEC)
    compute_scales(tmp_path)
    volume = ngcore.open(tmp_path)
    plain = chain(image, tmp_path / "plain", target_chunk_size=16)
    for index, scale in enumerate(volume.scales):
        assert scale.info.sharding == SPEC
        assert np.array_equal(scale[...], plain.scales[index][...])
        assert np.array_equal(read_with_tensorstore(tmp_path, index), scale[...])
        assert {path.suffix for path in (tmp_path / scale.key).iterdir()} == {".shard"}
    for options in ({"flat": True}, {"use_gzip": False}):
        with pytest.raises(InputError, match="the info file has sharding"):
            compute_scales(tmp_path, **options)
        with pytest.raises(InputError, match="the info file has sharding"):
            volume_to_raw_chunks(image, tmp_path, **options)


def test_sharding_that_info_does_not_say_is_refused(tmp_path, image):
    chain(image, tmp_path)
    with pytest.raises(InputError, match="info is not sharded that way"):
        volume_to_raw_chunks(image, tmp_path, sharding=SPEC)


def test_damage_after_the_steps_is_found_by_their_digests(tmp_path):
    save_nifti(tmp_path / "v.nii", voxels((40, 40, 33), "uint8"), AFFINE)
    volume = chain(tmp_path / "v.nii", tmp_path / "out", target_chunk_size=16)
    assert len(validate(tmp_path / "out").digests) == len(volume.scales)
    for index in (0, 1):
        scale = volume.scales[index]
        chunk = tmp_path / "out" / scale.key / f"{scale.info.grid.nested_name((0, 0, 0))}.gz"
        sound = chunk.read_bytes()
        changed = bytearray(gzip.decompress(sound))
        changed[100] ^= 1
        chunk.write_bytes(gzip.compress(changed))
        errors = [
            (finding.kind, finding.where)
            for finding in validate(tmp_path / "out").findings
            if finding.severity == "error"
        ]
        assert ("digest", scale.key) in errors
        chunk.write_bytes(sound)


def test_provenance_names_the_steps_and_keeps_digests_up_to_date(tmp_path, image):
    chain(image, tmp_path / "out", target_chunk_size=32)
    first = json.loads((tmp_path / "out" / "provenance").read_text())
    whole = ngcore.convert(
        image, tmp_path / "whole", chunk_size=32, sharding=False, fsync=False, max_scales=1
    )
    steps = [step["method"] for step in first["processing"]]
    assert [step["task"] for step in steps] == [
        "ngcore generate-scales-info",
        "ngcore volume-to-raw-chunks",
        "ngcore compute-scales",
    ]
    assert first["sources"] == ["t1.nii.gz"]
    assert len(steps[2]["digests"]["scales"]) == 3
    compute_scales(tmp_path / "out", downsampling="stride")
    again = json.loads((tmp_path / "out" / "provenance").read_text())["processing"]
    assert len(again) == 3
    digests, old = again[2]["method"]["digests"]["scales"], steps[2]["digests"]["scales"]
    changed = {key for key in digests if digests[key] != old[key]}
    assert changed == set(digests) - {next(iter(digests))}
    assert whole.info.scales[0].key in digests


class _KilledError(Exception):
    pass


_STEPS = {
    "volume-to-raw-chunks": lambda folder, image: volume_to_raw_chunks(image, folder),
    "compute-scales": lambda folder, _: compute_scales(folder, downsampling="max"),
    "convert-chunks": lambda folder, _: convert_chunks(folder.parent / "other", folder),
}


@pytest.mark.parametrize("step", _STEPS)
def test_a_step_killed_while_it_replaces_chunks_is_told_by_name(
    tmp_path, image, monkeypatch, step
):
    folder = tmp_path / "out"
    for name in ("out", "other"):
        volume = chain(image, tmp_path / name, target_chunk_size=32)

    def killed(*_, **__):
        for scale in volume.info.scales:  # some chunk is new
            path = next((folder / scale.key).rglob("*.gz"))
            data = bytearray(gzip.decompress(path.read_bytes()))
            data[0] ^= 1
            path.write_bytes(gzip.compress(data))
        raise _KilledError

    with monkeypatch.context() as patch:
        for module in ("chunks_from_source", "coarser_scales", "recode"):
            patch.setattr(f"ngcore.classic.{module}.record_chunks", killed)
        with pytest.raises(_KilledError):
            _STEPS[step](folder, image)
    report = validate(folder)
    assert not report.is_sound
    told = [str(finding) for finding in report.findings]
    assert any(f"some voxels are old, some new: ngcore {step} is running" in line for line in told)
    assert not any("not by ngcore" in line for line in told)
    _STEPS[step](folder, image)
    if step != "convert-chunks":
        convert_chunks(tmp_path / "other", folder)
    assert validate(folder).is_sound


def test_chunks_are_gzip_files_without_time_or_name(tmp_path, image):
    volume = chain(image, tmp_path)
    for path in Path(tmp_path / volume.scales[0].key).rglob("*.gz"):
        data = path.read_bytes()
        assert data[:4] == b"\x1f\x8b\x08\x00"
        assert data[4:8] == bytes(4)
        gzip.decompress(data)


def test_info_that_a_run_left_without_provenance_is_sealed_by_the_next(tmp_path):
    fullres = tmp_path / "info_fullres.json"
    scale = {"encoding": "raw", "size": [9, 9, 9], "resolution": [8, 8, 8], "key": "full"}
    scale |= {"voxel_offset": [0, 0, 0], "chunk_sizes": []}
    members = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    fullres.write_text(json.dumps(members))
    ngcore.classic.generate_scales_info(fullres, tmp_path / "out")
    whole = (tmp_path / "out/provenance").read_bytes()
    (tmp_path / "out/provenance").unlink()
    ngcore.classic.generate_scales_info(fullres, tmp_path / "out")
    assert (tmp_path / "out/provenance").read_bytes() == whole
