"""Arguments that every command takes alike."""

import shutil

import click
import numpy as np
import pytest

import ngcore
from ngcore.cli import cli, run
from ngcore.cli._registry import COMMANDS


def positions():
    """Yield each command with one of its arguments empty, and all others of some name."""
    for name in COMMANDS:
        params = cli.get_command(click.Context(cli), name).params
        arguments = [param for param in params if isinstance(param, click.Argument)]
        words = [
            param.type.choices[0] if isinstance(param.type, click.Choice) else "absent"
            for param in arguments
        ]
        for index, param in enumerate(arguments):
            if not isinstance(param.type, click.Choice):
                given = [*words[:index], "", *words[index + 1 :]]
                yield pytest.param(name, given, id=f"{name} {param.name}")


@pytest.mark.parametrize(("command", "arguments"), list(positions()))
def test_empty_path_is_a_usage_error_and_not_this_folder(
    command, arguments, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run([command, *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "the path is empty; pass one, such as `.` for the current folder" in err
    assert len(err.splitlines()) == 1
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    ["convert volume URL/x", "convert --dry-run volume URL/x", "repair volume URL/x",
     "export volume URL/o.nii", "preview volume URL/o.png", "mesh-to-vtk box.stl URL/o.vtk",
     "convert-chunks volume URL/x --copy-info", "stl-to-precomputed box.stl URL/x",
     "link-mesh-fragments t.csv URL/x", "generate-scales-info info_fullres.json URL/x",
     "volume-to-raw-chunks volume URL/x --generate-info"],
)  # fmt: skip
def test_web_address_where_something_is_written_is_refused_and_makes_no_folder(
    command, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    ngcore.convert(np.ones((4, 4, 4), np.uint8), "volume", resolution=(1, 1, 1), fsync=False)
    shutil.copy("volume/info", "info_fullres.json")
    before = sorted(tmp_path.iterdir())
    assert run(command.replace("URL", "http://[::1]:9").split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "http://[::1]:9" in line
    assert "can't be written: choose a folder, or a URL that begins with s3://" in line
    assert sorted(tmp_path.iterdir()) == before
