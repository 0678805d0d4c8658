"""A single file, or a few, that a command writes: refused before any work is done for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ngcore.errors import DestinationError

if TYPE_CHECKING:
    from pathlib import Path


def check_output_folder(folder: Path) -> None:
    """Check that files can be made in a folder, which need not be there yet.

    Raises
    ------
    DestinationError
        They can't; a part of its path may be a file.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise DestinationError(f"{str(existing)!r} is a file, not a folder; choose another place")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise DestinationError(f"{str(existing)!r} can't be written; choose another place")


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
