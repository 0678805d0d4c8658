"""How errors, warnings and notes look, and which exit status an error has."""

import contextlib
import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

import click

from ngcore.errors import FormatError, NgcoreError, StorageError

OK, FAULTS_FOUND, BAD_INPUT, IO_FAILURE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 130, 143
NOBODY_READS = 141
"""What a shell shows of a program that SIGPIPE ended, as when `head` has seen enough."""

_FULL = {errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}


class Terminated(KeyboardInterrupt):
    """SIGTERM, as batch systems send it some seconds before they kill."""


@contextlib.contextmanager
def resumable_by_hand(*, overwrite: bool) -> Iterator[None]:
    """Say after Ctrl-C and SIGTERM how to continue.

    Parameters
    ----------
    overwrite : bool
        The command was given `--overwrite`.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if "--resume continues" not in getattr(error, "__notes__", ()):
            raise  # nothing was begun: the same command again is right
        how = "pass --resume instead of --overwrite" if overwrite else "add --resume"
        raise type(error)(f"{how} to the same command to continue") from None


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: temporary files go, and one line is printed."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class LineHandler(logging.Handler):
    """Writes each record as one line on stderr: `ngcore: warning: ...`, and notes as they are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        message = one_line(record.getMessage())
        prefix = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        print_line(f"ngcore: {prefix}{message}")


def report_error(error: Exception | str) -> int:
    """Print the line for an error; return its exit status.

    Parameters
    ----------
    error : Exception or str
        What went wrong. Errors that nobody foresaw get a line too, which says how to report them.
    """
    status = BAD_INPUT
    if isinstance(error, str):
        message = error
    elif isinstance(error, click.UsageError):
        message = error.format_message().rstrip(".")
        if error.ctx is not None:
            message += f"; see {error.ctx.command_path} --help"
    elif isinstance(error, click.ClickException):
        message = error.format_message()
    elif isinstance(error, NgcoreError):
        message = str(error)
        if ";" not in message:  # where there is only one thing to do, whatever the fault
            message += _advice(error)
        if isinstance(error, StorageError) and not isinstance(error.__cause__, PermissionError):
            status = IO_FAILURE
    elif isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
        # Files are written through `LocalStore`, whose errors say where.
        message = f"can't write to the standard output: {error.strerror}; free some space there"
        status = IO_FAILURE
        sys.stdout = open_nowhere()  # what is left to be written would fail again at exit
    elif isinstance(error, PermissionError) and error.filename is not None:
        # Of a look at what lies in a folder that nobody may enter.
        message = f"{os.fspath(error.filename)}: no permission; check its access rights"
    elif isinstance(error, MemoryError):
        message = "not enough memory; pass a smaller --memory or fewer --workers"
        status = IO_FAILURE
    else:
        message = (
            f"unexpected {type(error).__name__}: {error}; "
            "run it again with --debug and report what that prints"
        )
        status = IO_FAILURE
    print_line(f"ngcore: error: {one_line(message)}")
    return status


def _advice(error: NgcoreError) -> str:
    if isinstance(error, FormatError):
        return "; fix the file, or download it again"
    if isinstance(error, StorageError):
        denied = isinstance(error.__cause__, PermissionError)
        return "; check its access rights" if denied else "; check the disk or mount"
    return ""


def print_line(line: str) -> None:
    """Print a line on stderr. Work does not stop because nobody can be told of it."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = open_nowhere()


def open_streams() -> None:
    """Open the standard streams that are closed, or a file would take the place of one.

    The next file would get its number, and then whatever a library prints there.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = open_nowhere()
    if sys.stderr is None:
        sys.stderr = open_nowhere()


def open_nowhere() -> TextIO:
    """Return a stream that takes everything and keeps nothing."""
    # `--help` need not wait for pathlib.
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123


def one_line(message: str) -> str:
    """Return a message with its line breaks folded into spaces, as a terminal may show it."""
    return printable(" ".join(message.split()))


def printable(text: str) -> str:
    """Return text with escapes for all that is not a visible character.

    Names of files may hold sequences that move the cursor, and line ends that forge a message.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def say(line: str) -> None:
    """Print a line on stdout, as a terminal may show it."""
    click.echo(printable(line))
