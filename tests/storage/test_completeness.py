"""What ngcore wrote and is gone is not taken for zeros without a word."""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading

import numpy as np
import pytest

import ngcore
from ngcore.cli import run
from ngcore.errors import FormatError, StorageError

VOXELS = np.ones((20, 20, 20), np.uint8)
OPTIONS = {"resolution": (8, 8, 8), "chunk_size": 16, "fsync": False}


def test_a_shard_that_is_gone_is_an_error_and_no_copy_is_made_of_it(tmp_path, capsys):
    ngcore.convert(VOXELS, tmp_path / "v", **OPTIONS)
    (shard,) = (tmp_path / "v" / "8_8_8").iterdir()
    shard.unlink()
    with pytest.raises(FormatError, match=r"8_8_8/0.shard .*missing.* it was lost"):
        ngcore.open(tmp_path / "v").scales[0][...]
    assert run(["convert", str(tmp_path / "v"), str(tmp_path / "copy")]) == 2
    assert "it was lost" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_shards_that_others_leave_out_are_zeros(tmp_path):
    ngcore.convert(VOXELS, tmp_path / "v", **OPTIONS)
    (shard,) = (tmp_path / "v" / "8_8_8").iterdir()
    shard.unlink()
    (tmp_path / "v" / "provenance").write_text(json.dumps({"processing": [{"method": "igneous"}]}))
    assert not ngcore.open(tmp_path / "v").scales[0][...].any()


def test_chunk_files_that_are_gone_are_told_of_once(tmp_path, caplog):
    ngcore.convert(VOXELS, tmp_path / "v", sharding=False, **OPTIONS)
    for chunk in list((tmp_path / "v" / "8_8_8").iterdir())[:3]:
        chunk.unlink()
    ngcore.open(tmp_path / "v").scales[0][...]
    assert caplog.text.count("ngcore writes every chunk: if it was lost, copy it again") == 1


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sharding", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        ["export", "v", "back.nii.gz"],
        ["export", "v", "back.zarr"],
        ["compute-scales", "v"],
        ["mesh", "v", "--labels", "1"],
        ["labels", "v", "names.tsv"],
        ["skeletons", "--labels", "v", "bones"],
    ],
)
def test_nothing_is_made_of_a_volume_that_lost_a_chunk(
    tmp_path, capsys, monkeypatch, words, sharding
):
    monkeypatch.chdir(tmp_path)
    labels = np.zeros((40, 40, 40), np.uint32)
    labels[2:38, 2:38, 2:38] = 1
    ngcore.convert(labels, "v", sharding=sharding, type="segmentation", **OPTIONS)
    file = min((tmp_path / "v" / "8_8_8").iterdir())
    file.unlink()
    (tmp_path / "names.tsv").write_text("index\tname\n1\tone\n")
    before = content(tmp_path)
    assert run([*words, "--quiet"]) == 2
    line = capsys.readouterr().err
    assert f"8_8_8/{file.name} in" in line
    assert "if it was lost, copy it again" in line
    assert content(tmp_path) == before


@pytest.mark.parametrize("sharding", [False, True])
def test_the_advice_on_chunks_that_another_program_left_out_helps(tmp_path, capsys, sharding):
    ngcore.convert(VOXELS, tmp_path / "v", sharding=sharding, max_scales=1, **OPTIONS)
    file = min((tmp_path / "v" / "8_8_8").iterdir())
    file.unlink()
    expected = VOXELS.copy()
    expected[:16, :16, :16] = 0
    if sharding:
        expected[...] = 0
    volume, repaired, copy = (str(tmp_path / name) for name in ("v", "repaired", "copy"))
    assert run(["convert", volume, copy]) == 2
    assert "ngcore repair --accept-changes" in capsys.readouterr().err
    run(["repair", volume, repaired, "--accept-changes", "--no-fsync"])
    assert run(["convert", repaired, copy, "--no-fsync"]) == 0
    np.testing.assert_array_equal(ngcore.open(copy).scales[0][..., 0], expected)


@pytest.mark.parametrize("words", [["convert"], ["convert-chunks", "--copy-info"]])
def test_no_volume_that_validates_is_made_of_one_that_lost_a_chunk(tmp_path, capsys, words):
    ngcore.convert(VOXELS, tmp_path / "v", sharding=False, max_scales=1, **OPTIONS)
    (tmp_path / "v" / "8_8_8" / "0-16_0-16_0-16").unlink()
    assert run([words[0], str(tmp_path / "v"), str(tmp_path / "copy"), *words[1:]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "8_8_8/0-16_0-16_0-16" in line
    assert "it was lost" in line
    assert not (tmp_path / "copy" / "info").exists()


def lose_provenance(folder):
    (folder / "provenance").unlink()


def rename_scale(folder):
    (folder / "8_8_8").rename(folder / "8_8_8 copy")


def rename_all(folder):
    for path in (folder / "8_8_8").iterdir():
        path.rename(path.with_name(f"{path.name}.GZ"))


def rename_one(folder):
    path = min((folder / "8_8_8").iterdir())
    path.rename(path.with_name(f"{path.name}.part"))


@pytest.mark.parametrize("sharding", [False, True])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (rename_scale, "8_8_8 in .*: it has no (chunk|shard)s: all of its voxels read as zeros"),
        (
            rename_all,
            r"no file is named like a (chunk|shard), .* such as '.*\.GZ', which are not read",
        ),
        (
            rename_one,
            r"the file '.*\.part' is not named like a chunk|no file is named like a shard",
        ),
    ],
)
def test_files_of_others_by_names_that_nobody_reads_are_warned_of(
    tmp_path, caplog, sharding, change, expected
):
    folder = tmp_path / "v"
    ngcore.convert(VOXELS, folder, sharding=sharding, max_scales=1, **OPTIONS)
    lose_provenance(folder)
    ngcore.convert(folder, tmp_path / "before", fsync=False)
    assert not caplog.text
    change(folder)
    ngcore.open(folder).scales[0][...]
    assert re.search(expected, caplog.text)
    caplog.clear()
    ngcore.convert(folder, tmp_path / "after", fsync=False)
    assert re.search(expected, caplog.text)


@pytest.mark.parametrize("sharding", [False, True])
@pytest.mark.parametrize("damaged", [b"", b'{"processing": [', b"[]"])
def test_where_a_damaged_provenance_cannot_tell_of_what_is_lost_no_copy_is_made(
    tmp_path, capsys, caplog, damaged, sharding
):
    volume, copy = tmp_path / "v", tmp_path / "copy"
    ngcore.convert(VOXELS, volume, sharding=sharding, max_scales=1, **OPTIONS)
    (volume / "provenance").write_bytes(damaged)
    assert run(["convert", str(volume), str(tmp_path / "whole"), "--no-fsync"]) == 0
    for file in list((volume / "8_8_8").iterdir())[:2]:
        file.unlink()
    capsys.readouterr()
    caplog.clear()
    assert run(["convert", str(volume), str(copy)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"provenance in {volume}: " in line
    assert "copy it again, or remove it to take them for zeros" in line
    assert not (copy / "info").exists()
    opened = ngcore.open(volume)
    assert (opened.scales[0][...] == 0).any()
    assert caplog.text.count("files are missing, but it can't tell whether they were lost") == 1
    opened.store.lost_chunks = "refuse"
    for _ in range(2):  # what was told of once, or refused, is refused again
        with pytest.raises(FormatError, match="it can't tell whether they were lost"):
            opened.scales[0][...]
    (volume / "provenance").unlink()
    assert run(["convert", str(volume), str(copy), "--no-fsync"]) == 0


class _Files(http.server.SimpleHTTPRequestHandler):
    """Files as they lie; `provenance` as long as the server is well."""

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        if self.path.endswith("/provenance") and not self.server.is_well:
            self.send_error(503)
        else:
            super().do_GET()


@pytest.mark.parametrize("sharding", [False, True])
def test_a_provenance_that_cannot_be_read_for_a_moment_hides_no_loss(
    tmp_path, monkeypatch, sharding
):
    ngcore.convert(VOXELS, tmp_path / "v", sharding=sharding, max_scales=1, **OPTIONS)
    min((tmp_path / "v" / "8_8_8").iterdir()).unlink()
    monkeypatch.setattr("ngcore.storage.http._WAITS", (0, 0))
    files = functools.partial(_Files, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            server.is_well = True
            opened = ngcore.open(f"http://127.0.0.1:{server.server_port}/v")
            opened.store.lost_chunks = "refuse"
            server.is_well = False
            with pytest.raises(StorageError, match="v/provenance: HTTP 503"):
                opened.scales[0][...]
            server.is_well = True
            for _ in range(2):
                with pytest.raises(FormatError, match="is missing, but ngcore writes every"):
                    opened.scales[0][...]
        finally:
            server.shutdown()
            thread.join()
