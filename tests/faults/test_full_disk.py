"""A disk that is really full: a small file system in memory, where the test may mount one."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from thorough import IS_THOROUGH

import ngcore
from faults.conversions import CONVERSIONS, all_bytes, make_sources
from ngcore.cli import run


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", CONVERSIONS if IS_THOROUGH else ["sharded", "flat"])
def test_full_disk_is_one_line_and_is_resumed_when_there_is_room(
    name, tmp_path, small_disk, capsys
):
    make_sources(tmp_path, (70, 80, 90))
    command = CONVERSIONS[name].command(tmp_path)
    assert run([*command, str(tmp_path / "whole")]) == 0
    capsys.readouterr()
    out = small_disk / "out"
    assert run([*command, str(out)]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "No space left on device" in lines[0]
    assert "--resume" in lines[0] or "--tmp" in lines[0]
    assert not (out / "info").exists()
    assert run([*command, "--resume", str(out)]) == 3  # it is still full
    capsys.readouterr()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert run([*command, "--resume", str(out)]) == 0
    assert all_bytes(out) == all_bytes(tmp_path / "whole")
    assert ngcore.open(out).scales[0].shape[:3] == (70, 80, 90)


@pytest.mark.parametrize("sharding", ["--sharding", "--no-sharding"][: 1 + IS_THOROUGH])
def test_meshes_on_a_full_disk_are_one_line_and_are_resumed_too(
    sharding, tmp_path, small_disk, capsys
):
    pytest.importorskip("zmesh", reason="the extra mesh is not installed")
    labels = np.random.default_rng(0).integers(0, 4, (20, 20, 20)).astype(np.uint32)
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "max_scales": 1}
    for folder in (tmp_path / "whole", small_disk / "out"):
        ngcore.convert(labels, folder, type="segmentation", **options)
    words = ["mesh", "--workers", "1", sharding]
    assert run([*words, str(tmp_path / "whole")]) == 0
    out = small_disk / "out"
    for resume in ([], ["--resume"]):
        assert run([*words, *resume, str(out)]) == 3
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert "No space left on device" in lines[0]
        assert "--resume" in lines[0]
        assert "mesh" not in json.loads((out / "info").read_text())
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert run([*words, "--resume", str(out)]) == 0
    assert all_bytes(out) == all_bytes(tmp_path / "whole")
