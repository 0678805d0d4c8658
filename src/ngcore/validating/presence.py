"""Which chunks of a scale are there, in one bit each."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.precomputed.chunks import ChunkGrid, Vec3

_MOST_CELLS = 1 << 29
_BLOCK = 1 << 16


class Presence:
    """The chunks that were found. Chunks of grids that are too large for memory are only counted.

    Attributes
    ----------
    found : int
        How many there are.
    """

    def __init__(self, grid: ChunkGrid) -> None:
        self._grid = grid
        self.is_exact = grid.count <= _MOST_CELLS
        self._bits = bytearray(-(-grid.count // 8) if self.is_exact else 0)
        self.found = 0
        self._lock = threading.Lock()

    @property
    def missing(self) -> int:
        """How many chunks are absent."""
        return max(0, self._grid.count - self.found)

    def add(self, cell: Vec3) -> bool:
        """Note that a chunk is there; return whether that is news."""
        with self._lock:
            if self.is_exact:
                x, y, z = cell
                width, height, _ = self._grid.shape
                byte, bit = divmod(x + width * (y + height * z), 8)
                if self._bits[byte] >> bit & 1:
                    return False
                self._bits[byte] |= 1 << bit
            self.found += 1
            return True

    def has(self, cell: Vec3) -> bool:
        """Whether a chunk was found; False where chunks are only counted."""
        if not self.is_exact:
            return False
        x, y, z = cell
        width, height, _ = self._grid.shape
        byte, bit = divmod(x + width * (y + height * z), 8)
        return bool(self._bits[byte] >> bit & 1)

    def absent_cells(self, most: int) -> list[Vec3]:
        """Return absent chunks, spread evenly over all of them where there are more than `most`.

        Empty where chunks are only counted.
        """
        return self._cells(max(1, -(-self.missing // most)), is_there=False)

    def present_cells(self, most: int) -> list[Vec3]:
        """Return chunks that were found, in the way of `absent_cells`."""
        step = max(1, -(-self.found // most))
        return self._cells(step | (step > 1), is_there=True)  # odd: see `_numbers`

    def _cells(self, step: int, *, is_there: bool) -> list[Vec3]:
        width, height, _ = self._grid.shape
        return [
            (number % width, number // width % height, number // (width * height))
            for number in self._numbers(step, is_there=is_there)
        ]

    def _numbers(self, step: int, *, is_there: bool) -> Iterator[int]:
        """Yield the number of every cell of a kind that comes `step` after the one before.

        Odd steps do not keep to some columns of a grid with even sides.
        """
        skipped = 0
        for start in range(0, len(self._bits), _BLOCK):
            block = np.frombuffer(self._bits, np.uint8, -1, start)[:_BLOCK]
            if is_there and not block.any():
                continue
            bits = np.unpackbits(block, bitorder="little") == is_there
            numbers = np.flatnonzero(bits) + 8 * start
            numbers = numbers[numbers < self._grid.count]
            yield from numbers[-skipped % step :: step].tolist()
            skipped += len(numbers)
