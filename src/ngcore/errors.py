"""Every exception ngcore raises on purpose.

Each is an `NgcoreError` and also the builtin that fits, so callers may catch either. The message
is one line: what is wrong, where, and what to do about it.
"""


class NgcoreError(Exception):
    """Root of every error that ngcore raises on purpose."""


class FormatError(NgcoreError, ValueError):
    """Bytes, or JSON, that break the rules of their format.

    The message names the file or key, and the byte offset or JSON path where that is known.
    """


class InputError(NgcoreError, ValueError):
    """An argument, or a sound input, with which what was asked for is impossible."""


class VolumeIndexError(InputError, IndexError):
    """An index outside of a volume, or of a kind that volumes don't take."""


class InputNotFoundError(InputError, FileNotFoundError):
    """A file, folder or volume that should be there and is not."""


class DestinationError(NgcoreError, OSError):
    """A destination that holds something already, can't be written, or is in use."""


class StorageError(NgcoreError, OSError):
    """Reading or writing failed while running: a full disk, a failing device, a lost mount."""


class MissingExtraError(NgcoreError, ImportError):
    """A feature whose optional dependency is not installed; the message says what to install."""
