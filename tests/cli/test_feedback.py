"""What commands say when they are done, of names mistyped, and to shells that complete."""

import json
import re

import click
import nibabel
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


WRITING = [
    "convert labels.npy out --resolution 1mm,1mm,1mm --type segmentation",
    "labels out t.csv",
    "export out out.nii.gz",
    "pack out out.zip",
    "repair out fixed",
    "preview out out.png",
    "link out --url https://example.org --state state.json",
    "gallery .",
    "annotations points.csv points",
    "skeletons cell.swc cells",
    "tracts lines.tck tracts",
    "volume-to-raw-chunks out.nii.gz steps --generate-info",
    "generate-scales-info steps/info_fullres.json steps",
    "volume-to-raw-chunks out.nii.gz steps",
    "compute-scales steps",
    "convert-chunks steps copy --copy-info",
    "mesh-to-precomputed s.off out",
    "link-mesh-fragments fragments.csv out --overwrite",
    "mesh-to-vtk s.off s.vtk",
]


def test_commands_that_write_end_with_what_they_made_and_what_is_next(
    labels, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(labels.parent)
    (tmp_path / "t.csv").write_text("17,Hippocampus\n")
    (tmp_path / "points.csv").write_text("x,y,z\n1,2,3\n")
    (tmp_path / "cell.swc").write_text("1 1 0 0 0 5 -1\n2 3 20 0 0 2 1\n")
    (tmp_path / "s.off").write_text("OFF 4 1 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2\n")
    (tmp_path / "fragments.csv").write_text("17,s\n")
    lines = nibabel.streamlines.Tractogram(
        [np.eye(3, dtype=np.float32)], affine_to_rasmm=np.eye(4)
    )
    nibabel.streamlines.save(lines, tmp_path / "lines.tck")
    last: dict[str, str] = {}
    for command in WRITING:
        with monkeypatch.context() as terminal:
            terminal.setattr("sys.stderr.isatty", lambda: True)
            assert run(command.split()) == 0, command
        line = capsys.readouterr().err.strip().splitlines()[-1]
        last[command] = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line)  # the bar, cleared
    for command, text in last.items():
        assert re.match(r"ngcore: made \S+, [0-9.]+ (bytes|kB|MB)(; next: ngcore \S+|$)", text), (
            command
        )
    assert last[WRITING[0]].endswith("next: ngcore view out")
    assert last["gallery ."].endswith("next: ngcore serve .")


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


def test_ctrl_c_while_arguments_are_read_is_an_interruption(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(click.Group, "parse_args", interrupted)
    assert run(["convert"]) == 130
    assert capsys.readouterr().err == "ngcore: error: interrupted\n"
