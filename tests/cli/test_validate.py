"""`ngcore validate` as people and programs see it."""

import json
import re

import numpy as np
import pytest

import ngcore
from ngcore.cli import run


@pytest.fixture
def volume(tmp_path):
    voxels = np.random.default_rng(0).integers(1, 99, (40, 30, 20)).astype(np.uint8)
    folder = tmp_path / "out"
    ngcore.convert(voxels, folder, resolution=(8, 8, 8), chunk_size=16, sharding=False)
    return folder


def test_sound_volume_ends_with_status_0(volume, capfd):
    assert run(["validate", str(volume)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "valid; " in out
    assert "0 errors, 0 warnings; digests agree in 3 scales" in out


def test_fault_ends_with_status_1_and_is_named(volume, capfd):
    (volume / "8_8_8" / "0-16_0-16_0-16").write_bytes(b"abc")
    for options in ([], ["--quick"], ["--workers", "1"]):
        assert run(["validate", str(volume), *options]) == 1
        out, err = capfd.readouterr()
        assert err == ""
        assert re.match("error: 8_8_8/0-16_0-16_0-16: (expected )?a raw chunk of ", out)


def test_warnings_alone_end_with_status_0(volume, capfd):
    (volume / "notes.txt").write_text("")
    assert run(["validate", str(volume)]) == 0
    assert capfd.readouterr().out.startswith("warning: notes.txt: is not part of")


def test_json_holds_every_finding(volume, capfd):
    (volume / "8_8_8" / "0-16_0-16_0-16").write_bytes(b"abc")
    assert run(["validate", str(volume), "--json"]) == 1
    report = json.loads(capfd.readouterr().out)
    assert report["valid"] is False
    assert report["errors"] == 1
    assert report["findings"][0]["where"] == "8_8_8/0-16_0-16_0-16"
    assert report["findings"][0]["severity"] == "error"


@pytest.mark.parametrize("path", ["nowhere", "http:///volume", "."])
def test_what_is_no_volume_ends_with_status_2(tmp_path, monkeypatch, capfd, path):
    monkeypatch.chdir(tmp_path)
    assert run(["validate", path]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("ngcore: error: ")
    assert len(err.splitlines()) == 1
