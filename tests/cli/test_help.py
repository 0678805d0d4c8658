"""What `--help` must say of every option, of every command."""

import importlib

import click
import pytest

from ngcore.cli._registry import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_with_a_value_shows_its_default(name):
    module = importlib.import_module(f"ngcore.cli.{COMMANDS[name].module}")
    command = next(command for command in module.commands if command.name == name)
    context = click.Context(command)
    for option in command.params:
        if not isinstance(option, click.Option) or option.required or option.hidden:
            continue
        record = option.get_help_record(context)
        if record is not None and (not option.is_flag or option.secondary_opts):
            assert "default: " in record[1], f"{name} {record[0]}: {record[1]}"
