"""Arguments that every command takes alike."""

import click
import pytest

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
