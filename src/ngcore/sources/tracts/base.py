"""What every file of streamlines gives: its bundles, and its streamlines, some at a time."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


logger = logging.getLogger(__name__)


def warn_of_count(path: Path, stated: object, found: int) -> None:
    """Say that a header states another number of streamlines; 0 is unknown."""
    try:
        number = int(str(stated))
    except ValueError:
        return
    if number > 0 and number != found:
        logger.warning(
            "%s: its header states %d streamline%s, it holds %d; copy it again if it was cut",
            *(path, number, "s" * (number > 1), found),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Some streamlines, in world millimetres (RAS).

    Attributes
    ----------
    points : ndarray of float32, shape (vertices, 3)
    offsets : ndarray of int64, shape (n + 1,)
        Streamline i is ``points[offsets[i]:offsets[i + 1]]``.
    """

    points: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1


class Tracts(Protocol):
    """A file of streamlines.

    Attributes
    ----------
    path : Path
    groups : dict of str to ndarray of int64
        Which streamlines, counted from 0, are in each named group; empty where the file has none.
    """

    path: Path
    groups: dict[str, NDArray[np.int64]]

    def lines(self) -> Iterator[Lines]:
        """Yield some streamlines at a time, in the order of the file.

        Raises
        ------
        FormatError
            The file is damaged.
        """

    def close(self) -> None:
        """Let go of what was opened."""
