"""What `--help` must say of every option, of every command."""

import subprocess
import sys

import click
import numpy as np
import pytest

from ngcore.cli import cli, run
from ngcore.cli._registry import COMMANDS, SECTIONS

VERBS = {"Check", "Compress", "Convert", "Count", "Draw", "Export", "Fix", "Link", "Make", "Name"}
VERBS |= {"Pack", "Print", "Serve", "Show", "Write"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_with_a_value_shows_its_default(name):
    command = cli.get_command(click.Context(cli), name)
    context = click.Context(command)
    for option in command.params:
        if not isinstance(option, click.Option) or option.required or option.hidden:
            continue
        record = option.get_help_record(context)
        if record is not None and option.name not in ("quiet", "debug", "help"):
            assert "default: " in record[1], f"{name} {record[0]}: {record[1]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_command_alone_in_an_empty_folder_says_in_one_line_what_it_lacks(
    name, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run([name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("ngcore: error: ")
    assert len(line) < 200
    assert not list(tmp_path.iterdir())


def test_module_is_the_command():
    version = [sys.executable, "-m", "ngcore", "--version"]
    shown = subprocess.run(version, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("ngcore")


def test_verbose_version_names_every_package_that_ngcore_uses(capsys):
    assert run(["--verbose", "--version"]) == 0
    lines = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["numpy"] == np.__version__
    assert {"ngcore", "Python", "system", "kernels", "nibabel", "neuroglancer"} <= lines.keys()
    assert run(["--verbose"]) == 2
    assert "--verbose goes with --version" in capsys.readouterr().err


def test_a_line_of_every_command_begins_with_a_verb():
    for section in SECTIONS.values():
        for name, entry in section.items():
            first = entry.summary.split()[0]
            assert first in VERBS, f"{name}: {entry.summary}"
