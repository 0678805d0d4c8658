"""A single file that a command writes: refused before any work is done for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ngcore.errors import DestinationError

if TYPE_CHECKING:
    from pathlib import Path


def check_output_file(out: Path, *, overwrite: bool) -> None:
    """Make the folder of a file that will be written.

    Raises
    ------
    DestinationError
        The file is a folder, is there already and not to be replaced, or can't be written.
    """
    if out.is_dir():
        raise DestinationError(f"{str(out)!r} is a folder; name the file to write")
    if out.exists() and not overwrite:
        raise DestinationError(f"{str(out)!r} is there already; pass --overwrite to replace it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DestinationError(
            f"{str(out.parent)!r} can't be made: {error.strerror}; choose another place"
        ) from error
    if not os.access(out.parent, os.W_OK):
        raise DestinationError(f"{str(out.parent)!r} can't be written; choose another place")
