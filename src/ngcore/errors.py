"""Every exception ngcore raises on purpose, and its warning.

Each is an `NgcoreError` and also the builtin that fits, so callers may catch either. The message
is one line: what is wrong, where, and what to do about it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class NgcoreWarning(UserWarning):
    """What a caller from Python should know: values that were clipped, a guess, something odd.

    On the command line it is a line on stderr. The logger ``ngcore`` says the same.
    """


class NgcoreError(Exception):
    """Root of every error that ngcore raises on purpose."""


class FormatError(NgcoreError, ValueError):
    """Bytes, or JSON, that break the rules of their format.

    The message names the file or key, and the byte offset or JSON path where that is known.
    """


class InputError(NgcoreError, ValueError):
    """An argument, or a valid input, with which what was asked for is impossible."""


class KeywordError(InputError, TypeError):
    """A keyword that a function does not have, or one that it lacks."""


class VolumeIndexError(InputError, IndexError):
    """An index outside of a volume, or of a kind that volumes don't take."""


class NoVoxelSizeError(InputError):
    """A source without a voxel size, where one must be known."""


class InputNotFoundError(InputError, FileNotFoundError):
    """A file, folder or volume that should be there and is not."""


class DestinationError(NgcoreError, OSError):
    """A destination that holds something already, can't be written, or is in use."""


class StorageError(NgcoreError, OSError):
    """Reading or writing failed while running: a full disk, a failing device, a lost mount."""


class MissingExtraError(NgcoreError, ImportError):
    """A feature whose optional dependency is not installed; the message says what to install."""


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the name of an input before the message of an error that doesn't hold it.

    A source or volume does so at its boundary, so that no reader below needs its name.

    Examples
    --------
    >>> with naming("a.nrrd"):
    ...     raise FormatError("truncated at byte 7; download it again")
    Traceback (most recent call last):
    ngcore.errors.FormatError: a.nrrd: truncated at byte 7; download it again
    """
    try:
        yield
    except NgcoreError as error:
        message = str(error)
        if name not in message:
            error.args = (f"{name}: {message}",)
            if isinstance(error, ImportError):
                error.msg = error.args[0]
        raise
