"""Making what was written survive a loss of power."""

import os
from pathlib import Path

from ngcore.errors import StorageError


def sync_folder(path: Path) -> None:
    """Make all that was written below `path` durable.

    One call for the whole system where there is one, since syncing file by file takes several
    times as long.

    Raises
    ------
    StorageError
        If the system reports that data was lost.
    """
    try:
        if hasattr(os, "sync"):
            os.sync()
            return
        for parent, _, names in os.walk(path):
            for name in names:
                with (Path(parent) / name).open("rb+") as file:
                    os.fsync(file.fileno())
    except OSError as error:
        raise StorageError(f"{path} could not be synced: {error.strerror}") from error
