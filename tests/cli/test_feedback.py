"""What commands say when they are done, of names mistyped, and to shells that complete."""

import json
import logging

import numpy as np
import pytest

from ngcore.cli import run


@pytest.fixture
def labels(tmp_path):
    values = np.zeros((20, 21, 22), np.uint8)
    values[5:9] = 17
    np.save(tmp_path / "labels.npy", values)
    return tmp_path / "labels.npy"


def convert(source, dest, *options):
    shared = ("--resolution", "1mm,1mm,1mm", "--no-fsync", "--type", "segmentation")
    return run(["convert", str(source), str(dest), *shared, *options])


def test_a_command_that_writes_ends_with_what_it_made_and_what_is_next(labels, tmp_path, caplog):
    package = logging.getLogger("ngcore")
    assert convert(labels, tmp_path / "out") == 0
    package.setLevel(logging.INFO)  # as on a terminal
    package.addHandler(caplog.handler)
    try:
        (tmp_path / "t.csv").write_text("17,Hippocampus\n")
        from ngcore.cli._made import say_made

        say_made(tmp_path / "out")
    finally:
        package.removeHandler(caplog.handler)
    assert f"next: ngcore view {tmp_path / 'out'}" in caplog.text
    assert " kB;" in caplog.text


def test_json_says_what_was_made(labels, tmp_path, capsys):
    assert convert(labels, tmp_path / "out", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["path"] == str(tmp_path / "out")
    assert made["bytes"] > 0
    assert made["scales"][0]["size"] == [20, 21, 22]
    (tmp_path / "t.csv").write_text("id,name\n17,Hippocampus\n")
    assert run(["labels", str(tmp_path / "out"), str(tmp_path / "t.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["segment_properties"]


@pytest.mark.parametrize(("typed", "meant"), [("vew", "view"), ("convrt", "convert")])
def test_a_mistyped_command_suggests_the_right_one(capsys, typed, meant):
    assert run([typed, "x"]) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


def test_shells_complete_paths_of_things_and_folders(monkeypatch, capsys):
    for command in ("view", "info", "convert"):
        monkeypatch.setenv("_NGCORE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", f"ngcore {command} su")
        monkeypatch.setenv("COMP_CWORD", "2")
        with pytest.raises(SystemExit):
            run([])
        assert capsys.readouterr().out == "file,su\n"
