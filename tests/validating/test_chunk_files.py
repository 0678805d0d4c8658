"""Faults of chunks that lie in files of their own, each named with its place."""

import gzip
import json
import zlib

import damage
import numpy as np
import pytest
from findings import found, only

import ngcore
from ngcore.validating.validate import validate


def test_chunk_that_changed_is_found_by_the_digest(files):
    path = files / "8_8_8" / "0-16_16-32_16-32"
    voxels = np.frombuffer(path.read_bytes(), np.uint16).copy()
    voxels[100] ^= 1  # too little to change the average of a cell
    path.write_bytes(voxels.tobytes())
    line = only(found(files))
    assert line.startswith("8_8_8: voxels differ from what was written")
    assert not found(files, quick=True)


def test_truncated_chunk_is_named(files):
    path = files / "16_16_16" / "0-16_0-16_16-19"
    path.write_bytes(path.read_bytes()[:-1])
    for quick in (False, True):
        line = only(found(files, quick=quick))
        assert line.startswith("16_16_16/0-16_0-16_16-19: ")
        assert "a raw chunk of " in line


@pytest.mark.parametrize("ending", [".br", ".zst"])
def test_chunks_that_others_compressed_are_read_and_compared(files, ending):
    compress = {
        ".br": pytest.importorskip("brotli").compress,
        ".zst": pytest.importorskip("zstandard").compress,
    }[ending]
    for path in list((files / "8_8_8").iterdir()):
        path.with_name(path.name + ending).write_bytes(compress(path.read_bytes()))
        path.unlink()
    report = validate(files)
    assert not report.findings
    assert report.digests[0] == "8_8_8"
    name = f"16-32_16-32_16-32{ending}"
    (files / "8_8_8" / name).write_bytes(b"rubbish")
    assert only(found(files)).startswith(f"8_8_8/{name}: ")


def test_chunks_that_nothing_here_unpacks_are_one_finding_with_a_count(files):
    for path in list((files / "8_8_8").iterdir()):
        path.rename(path.with_name(path.name + ".xz"))
    lines = found(files, "warning")
    assert any(line.startswith("8_8_8: 36 chunk files end in .xz, which can't") for line in lines)
    assert not found(files)


def test_missing_chunk_of_our_own_volume_is_an_error(files, caplog):
    (files / "8_8_8" / "16-32_16-32_16-32").unlink()
    lines = found(files)
    assert not caplog.records  # the report says it
    assert any(line.startswith("8_8_8/16-32_16-32_16-32: is missing") for line in lines)


def test_missing_chunk_of_zeros_is_a_warning_where_a_digest_knows(tmp_path):
    voxels = damage.image(0)
    voxels[:16, :16, :16] = 0
    ngcore.convert(voxels, tmp_path, resolution=(8, 8, 8), chunk_size=16, sharding=False)
    (tmp_path / "8_8_8" / "0-16_0-16_0-16").unlink()
    report = validate(tmp_path)
    assert report.is_sound
    assert "1 of 36 chunks is absent" in str(report.findings[0])


def test_missing_chunk_where_a_coarser_scale_shows_data_is_an_error(files):
    (files / "provenance").unlink()
    (files / "8_8_8" / "16-32_16-32_16-32").unlink()
    lines = found(files)
    expected = "8_8_8/16-32_16-32_16-32: is absent, but scale 16_16_16 shows data there"
    assert expected in lines


def test_missing_chunk_where_a_finer_scale_shows_data_is_an_error(files):
    (files / "provenance").unlink()
    (files / "32_32_32" / "0-13_0-11_0-10").unlink()
    expected = "32_32_32/0-13_0-11_0-10: is absent, but scale 16_16_16 shows data there"
    assert expected in found(files)


def test_volume_without_a_single_chunk_is_a_fault(files):
    for path in (files / "8_8_8", files / "16_16_16", files / "32_32_32"):
        for file in path.iterdir():
            file.unlink()
    assert any("no chunk of any scale is there" in line for line in found(files))


def test_misnamed_and_stray_files_are_told_apart(files):
    (files / "8_8_8" / "0-16_0-16_0-15").write_bytes(b"")
    (files / "8_8_8" / "notes.txt").write_bytes(b"")
    (files / "README").write_bytes(b"")
    assert only(found(files)) == "8_8_8/0-16_0-16_0-15: is not the name of a chunk of this scale"
    assert found(files, "warning") == [
        "8_8_8/notes.txt: is not a chunk",
        "README: is not part of what info describes",
    ]


def test_second_file_for_a_chunk_is_named(files):
    path = files / "8_8_8" / "0-16_0-16_0-16"
    (files / "8_8_8" / "0-16_0-16_0-16.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert "there is another file for this chunk" in found(files)[0] + found(files)[-1]


def test_chunk_that_is_not_the_gzip_of_its_name_is_named(made, tmp_path):
    folder = damage.copy(made("files, nested, gzip"), tmp_path / "volume")
    path = folder / "8_8_8/0-16/0-16/0-16.gz"
    path.write_bytes(zlib.compress(gzip.decompress(path.read_bytes())))
    line = only(found(folder))
    assert line.startswith("8_8_8/0-16/0-16/0-16.gz: a zlib stream where gzip is expected")


def test_coarser_scale_that_shows_something_else_is_named(labels):
    damage.forget_digests(labels)
    path = labels / "16_16_16" / "0-16_0-16_0-16"
    path.write_bytes((labels / "8_8_8" / "16-32_16-32_16-32").read_bytes())
    lines = found(labels)
    assert any(line.startswith("16_16_16/0-16_0-16_0-16: ") for line in lines)
    assert any("are not the majority of those of 8_8_8" in line for line in lines)


@pytest.mark.parametrize("is_gzipped", [False, True])
def test_chunks_that_are_too_large_to_be_decoded_are_no_fault(tmp_path, is_gzipped):
    scale = {
        "key": "8_8_8",
        "size": [1024, 1024, 200],
        "resolution": [8, 8, 8],
        "chunk_sizes": [[1024, 1024, 200]],
        "encoding": "raw",
    }
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    (tmp_path / "info").write_text(json.dumps(info))
    chunk = tmp_path / "8_8_8" / ("0-1024_0-1024_0-200" + ".gz" * is_gzipped)
    chunk.parent.mkdir()
    with chunk.open("wb") as file:
        file.truncate(220_000_000 if is_gzipped else 1024 * 1024 * 200)
    assert not found(tmp_path)
    assert "209715200 bytes; those above 100663296 are not decoded" in only(
        found(tmp_path, "warning")
    )
    if not is_gzipped:
        with chunk.open("wb") as file:
            file.truncate(1024)
        assert "expected a raw chunk of 209715200 bytes" in only(found(tmp_path))
