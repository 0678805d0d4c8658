"""Temporary files of processes that were killed, removed by whoever writes there next.

Where all who write hold the lock, whoever has it removes them all. Elsewhere several may write at
once, perhaps from other machines: the name of such a file tells its process
(`ngcore.storage.local`), and one of another machine is taken for left behind when nobody wrote to
it for a day.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from ngcore.storage.base import TEMPORARY_SUFFIX
from ngcore.storage.local import writer_of

_STALE_SECONDS = 86400


def remove_stale(folder: Path, *, is_locked: bool = False, below: bool = False) -> None:
    """Remove the temporary files of processes that are gone; what can't be removed stays.

    Parameters
    ----------
    folder : Path
        May be absent.
    is_locked : bool
        Whether nobody else writes there, so that all such files are left behind.
    below : bool
        Look into the folders below it too.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if name.endswith(TEMPORARY_SUFFIX) and (is_locked or _is_stale(path)):
                with suppress(OSError):
                    path.unlink()
        if not below:
            return


def _is_stale(path: Path) -> bool:
    writer = writer_of(path.name)
    if writer is not None:
        return not _is_alive(writer)
    try:
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return True
    if os.name == "nt":
        return True  # there is no harmless way to ask
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
