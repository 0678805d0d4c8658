"""Warnings of the library as Python's own: what is logged as a warning is warned of, too.

The command line takes this off: it draws warnings itself.
"""

import logging
import sys
import warnings

from ngcore.errors import NgcoreWarning


class WarningHandler(logging.Handler):
    """Turns records of the logger ``ngcore`` into `NgcoreWarning`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Warn, in the name of the line outside ngcore that called it."""
        from ngcore._words import in_python

        message = in_python(record.getMessage())
        warnings.warn(message, NgcoreWarning, stacklevel=_levels_to_caller())


def _levels_to_caller() -> int:
    """Return how many frames there are up to the first that is neither ngcore's nor logging's."""
    level, frame = 1, sys._getframe(1)  # noqa: SLF001 - what warnings does itself
    while frame.f_back is not None:
        module = frame.f_globals.get("__name__", "").partition(".")[0]
        if module not in ("ngcore", "logging"):
            return level
        level, frame = level + 1, frame.f_back
    return level


HANDLER = WarningHandler()
