"""A coarser scale that is lost is made again; what can't be fixed is told with what to do."""

import json
import shutil

import damage
import pytest

import ngcore
from ngcore.cli import run
from ngcore.repairing.repair import repair
from ngcore.validating.validate import validate

KINDS = ["sharded", "files, nested, gzip", "files of labels"]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "provenance"
    }


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("keys", [["16_16_16"], ["32_32_32"], ["16_16_16", "32_32_32"]], ids=str)
def test_lost_coarse_scales_are_made_again_with_the_same_bytes(made, tmp_path, name, keys):
    folder = damage.copy(made(name), tmp_path / "volume")
    for key in keys:
        shutil.rmtree(folder / key)
    report = repair(folder, tmp_path / "out", workers=1, fsync=False)
    assert report.changes == {"coarse scale": len(keys)}
    assert report.is_sound
    assert not report.next_steps
    assert contents(tmp_path / "out") == contents(made(name))


def test_a_damaged_coarse_scale_is_made_again_where_digests_tell(made, tmp_path):
    folder = damage.copy(made("files of labels"), tmp_path / "volume")
    chunk = next((folder / "16_16_16").iterdir())
    chunk.write_bytes(chunk.read_bytes()[:-4])
    report = repair(folder, tmp_path / "out", workers=1, fsync=False)
    assert report.is_sound
    assert report.changes == {"coarse scale": 1}
    assert contents(tmp_path / "out") == contents(made("files of labels"))


def test_a_scale_of_others_is_made_again_only_if_nothing_of_it_is_left(made, tmp_path):
    folder = damage.copy(made("files"), tmp_path / "volume")
    damage.forget_provenance(folder)
    next((folder / "16_16_16").iterdir()).unlink()
    shutil.rmtree(folder / "32_32_32")
    report = repair(folder, tmp_path / "out", workers=1, fsync=False)
    assert report.changes == {"coarse scale": 1}
    assert len(list((tmp_path / "out/16_16_16").iterdir())) == 7


def test_what_could_not_be_fixed_is_told_with_what_to_do(made, tmp_path, capsys):
    folder = damage.copy(made("files"), tmp_path / "volume")
    chunk = next((folder / "8_8_8").iterdir())
    chunk.write_bytes(b"abc")
    assert run(["repair", str(folder), str(tmp_path / "out"), "--workers=1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"error: 8_8_8/{chunk.name}: ") for line in lines)
    assert any(line.startswith("next: The chunks are damaged") for line in lines)


def test_changes_that_were_intended_can_be_accepted(made, tmp_path, capsys):
    folder = damage.copy(made("files of labels"), tmp_path / "volume")
    rows = json.loads((folder / "transform.json").read_text())
    rows[0][3] += 1e6
    (folder / "transform.json").write_text(json.dumps(rows))
    info = json.loads((folder / "info").read_text())
    del info["scales"][-1]
    (folder / "info").write_text(json.dumps(info))
    assert run(["repair", str(folder), str(tmp_path / "out"), "--workers=1"]) == 1
    assert "pass --accept-changes" in capsys.readouterr().out
    report = repair(folder, tmp_path / "again", accept_changes=True, workers=1, fsync=False)
    assert report.is_sound
    assert not [f for f in validate(tmp_path / "again").findings if f.severity == "error"]
    assert len(ngcore.open(tmp_path / "again").scales) == 2
