"""What every file of streamlines gives: its bundles, and its streamlines, some at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


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
