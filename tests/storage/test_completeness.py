"""What ngcore wrote and is gone is not taken for zeros without a word."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ngcore
from ngcore.cli import run
from ngcore.errors import FormatError

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


def test_chunk_files_that_are_gone_are_told_of_once(tmp_path, capsys):
    ngcore.convert(VOXELS, tmp_path / "v", sharding=False, **OPTIONS)
    for chunk in list((tmp_path / "v" / "8_8_8").iterdir())[:3]:
        chunk.unlink()
    assert run(["export", str(tmp_path / "v"), str(tmp_path / "back.nii")]) == 0
    err = capsys.readouterr().err
    assert err.count("is missing, but ngcore writes every chunk") == 1
