"""Open a file of streamlines by its ending, which all programs go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.errors import InputError
from ngcore.sources.files import missing_file, refuse_pipe
from ngcore.sources.tracts.mrtrix import MrtrixFile
from ngcore.sources.tracts.trackvis import TrackVisFile
from ngcore.sources.tracts.trx import TrxTracts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ngcore.sources.tracts.base import Tracts

_READERS: dict[str, Callable[[Path], Tracts]] = {
    ".trk": TrackVisFile,
    ".tck": MrtrixFile,
    ".trx": TrxTracts,
}


def open_tracts(path: Path) -> Tracts:
    """Open a ``.trk``, ``.tck`` or ``.trx`` file.

    Raises
    ------
    InputNotFoundError, InputError
        There is no such file, or it is not one of these.
    FormatError
        It is damaged.
    MissingExtraError
        TRX without trx-python.
    """
    name = str(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{name}: streamlines are .trk, .tck or .trx; pass such a file")
    if not path.exists():
        raise missing_file(path, name)
    refuse_pipe(path, name)
    return reader(path)
