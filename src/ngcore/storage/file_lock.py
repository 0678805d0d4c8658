"""A lock on an open file that ends with the process, however that ends."""

import contextlib
import os
import sys
from pathlib import Path
from typing import BinaryIO


def is_at(file: BinaryIO, path: Path) -> bool:
    """Whether a path still names an open file, which another process may have removed."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def lock_file(file: BinaryIO) -> bool:
        """Take the lock that ends with the process; False if another process has it."""
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def lock_file(file: BinaryIO) -> bool:
        """Take the lock that ends with the process; False if another process has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_locked(path: Path) -> bool:
    """Whether another process has the lock of a file; False if there is no file.

    A process that asks for the lock in the very moment of this look is refused.
    """
    with contextlib.suppress(OSError), path.open("rb") as file:
        return not lock_file(file)
    return False
