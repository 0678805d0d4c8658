"""Formats that ngcore leaves to other programs, known by their content, and the way from them."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_DICOM = "is DICOM; make NIfTI of it first, with dcm2niix"

_FILES_LOOKED_AT = 20


def way_from(path: Path) -> str | None:
    """Return what a file or folder is that can't be read here, and what to do; None if unknown.

    Parameters
    ----------
    path : Path
        What no reader takes.
    """
    with suppress(OSError):
        return _of_folder(path) if path.is_dir() else _of_file(path)
    return None


def _of_folder(folder: Path) -> str | None:
    files = (path for path in folder.iterdir() if path.is_file())
    if any(_of_file(path) == _DICOM for path in islice(files, _FILES_LOOKED_AT)):
        return _DICOM
    return None


def _of_file(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM":
        return _DICOM
    return None
