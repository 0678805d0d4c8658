"""The command line: a command parses, makes one library call, and reports.

Command modules import what they need when they run, so that `ngcore --help` is quick.
"""

import gc
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from ngcore._version import __version__
from ngcore._warnings import HANDLER
from ngcore.cli._registry import COMMANDS, SECTIONS
from ngcore.cli._report import (
    INTERRUPTED,
    NOBODY_READS,
    TERMINATED,
    LineHandler,
    Terminated,
    open_nowhere,
    open_streams,
    print_line,
    printable,
    report_error,
    terminable,
)


class _InterruptedError(Exception):
    """Ctrl-C, kept from click, which would print an empty line for it."""


class _NobodyReadsError(Exception):
    """A pipe that was closed at its other end, kept from click, which would exit with status 1."""


class _Commands(click.Group):
    """Commands that are imported when they are named."""

    # The signatures are click's, whether or not every argument is of use.

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        name = cmd_name.removesuffix(".py").replace("_", "-")
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"ngcore.cli.{COMMANDS[name].module}")
        command: click.Command = next(c for c in module.commands if c.name == name)
        if not any(param.name == "debug" for param in command.params):
            for param in command.params:
                if isinstance(param, click.Option):
                    _show_default_of_flag(param)
                if isinstance(param, click.Argument) and param.callback is None:
                    param.callback = _refuse_empty
                if isinstance(param, click.Argument) and param.type is click.STRING:
                    param.type = click.Path()  # shells complete it
            command.params.extend(_common_options())
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named, or an error that says which one may be meant."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from difflib import get_close_matches

            if close := get_close_matches(args[0], COMMANDS, n=1):
                ctx.fail(f"No such command {args[0]!r}; did you mean {close[0]}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in entries.items()])

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt as error:
            raise _InterruptedError(error) from None
        except BrokenPipeError:
            raise _NobodyReadsError from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with terminable():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _InterruptedError(error) from None
        except BrokenPipeError:
            raise _NobodyReadsError from None


def _common_options() -> list[click.Option]:
    """Return the options that work before and after the name of a command."""
    return [
        click.Option(
            ["--quiet", "-q"],
            is_flag=True,
            expose_value=False,
            callback=_set_quiet,
            help="Print no warnings, notes or progress.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_set_debug,
            help="Show where in the program an error arose.",
        ),
    ]


def _show_default_of_flag(option: click.Option) -> None:
    """Add to the help of a switch that it is off, which click leaves out."""
    if option.is_flag and not option.secondary_opts and "[default:" not in (option.help or ""):
        option.help = f"{option.help or ''}  [default: off]"


def _refuse_empty(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
    """Refuse an empty path: it is a script's variable that was never set, not this folder."""
    if "" in (value if isinstance(value, tuple) else (value,)):
        raise click.BadParameter("the path is empty; pass one, such as `.` for the current folder")
    return value


def _set_quiet(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta["ngcore.quiet"] = True
        logging.getLogger("ngcore").setLevel(logging.ERROR)


def _set_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().meta["ngcore.debug"] = True


def _print_version(*, verbose: bool) -> None:
    if verbose:
        from ngcore.cli._versions import version_lines

        click.echo("\n".join(version_lines()))
    else:
        click.echo(f"ngcore {__version__}")


@click.group(
    cls=_Commands,
    params=_common_options(),
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--version", is_flag=True, help="Print the version.")
@click.option(
    "--verbose",
    is_flag=True,
    help="With --version: also print the versions of Python and of every package that ngcore "
    "uses.",
)
@click.pass_context
def cli(ctx: click.Context, version: bool, verbose: bool) -> None:
    """Put volumes, slices and meshes into Neuroglancer.

    \b
    ngcore convert brain.nii.gz brain    every scale of a volume, ready to serve
    ngcore view brain                    look at it in Neuroglancer
    """
    if version:
        _print_version(verbose=verbose)
        ctx.exit()
    if verbose:
        raise click.UsageError("--verbose goes with --version")
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def run(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; errors become one line on stderr.

    Parameters
    ----------
    args : sequence of str, optional
        The arguments after the program's name; default those of this process.
    """
    package_logger = logging.getLogger("ngcore")
    handler = LineHandler()
    level, propagate = package_logger.level, package_logger.propagate
    package_logger.addHandler(handler)
    package_logger.removeHandler(HANDLER)
    package_logger.setLevel(logging.INFO if sys.stderr.isatty() else logging.WARNING)
    package_logger.propagate = False
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        status = cli.main(arguments, prog_name="ngcore", standalone_mode=False)
    except _InterruptedError as interrupted:
        cause = interrupted.args[0]
        is_terminated = isinstance(cause, Terminated)
        report_error("; ".join(["terminated" if is_terminated else "interrupted", *cause.args]))
        return TERMINATED if is_terminated else INTERRUPTED
    except _NobodyReadsError:
        sys.stdout = open_nowhere()  # what is left to be written would fail again at exit
        return NOBODY_READS
    except Exception as error:  # whatever it is, it is told in one line
        if "--debug" in arguments:
            for line in traceback.format_exception(error):
                for part in line.rstrip("\n").split("\n"):
                    print_line(printable(part))
        return report_error(error)
    finally:
        package_logger.removeHandler(handler)
        package_logger.addHandler(HANDLER)
        package_logger.setLevel(level)
        package_logger.propagate = propagate
    return status if isinstance(status, int) else 0


def main() -> None:
    """Entry point of the `ngcore` command."""
    open_streams()
    # Imports make tens of thousands of objects and no garbage; to look for it takes time.
    gc.set_threshold(100_000)
    # No command does linear algebra worth a second thread, and NumPy starts one per core.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    status = run()
    gc.freeze()  # what is left is released with the process; there is no need to look through it
    sys.exit(status)
