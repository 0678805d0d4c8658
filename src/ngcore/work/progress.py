"""How far work has come, told to whom a caller of the library names."""

import sys
from collections.abc import Callable

from ngcore.errors import InputError

Progress = Callable[[int, int], None]
"""Called with (what is done, what is to be done in all)."""

_BAR_WIDTH = 40


def told(progress: bool | Progress | None) -> Progress | None:
    """Return the function that the `progress` of a public verb stands for.

    Parameters
    ----------
    progress : bool, callable or None
        True stands for a bar on stderr; False and None for nothing.

    Raises
    ------
    InputError
        If it is something else.
    """
    if progress is None or progress is False:
        return None
    if progress is True:
        return _Bar()
    if not callable(progress):
        raise InputError(
            f"progress must be True for a bar, or a function of (done, total), got {progress!r}"
        )
    return progress


class _Bar:
    """One line of stderr, written again when a further hundredth is done."""

    def __init__(self) -> None:
        self._drawn = -1

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // total if total else 100
        if percent == self._drawn:
            return
        self._drawn = percent
        filled = "#" * (_BAR_WIDTH * percent // 100)
        sys.stderr.write(f"\r[{filled:<{_BAR_WIDTH}}] {percent:3d} %" + "\n" * (done >= total))
        sys.stderr.flush()
