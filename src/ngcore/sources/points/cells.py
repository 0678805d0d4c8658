"""The cells of one column, some rows at a time, as numbers, words, colours or ids."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MISSING = frozenset(("", "n/a", "N/A"))
"""Cells that hold nothing, as BIDS and spreadsheets write it."""
MOST_ID = (1 << 64) - 1

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_WHOLE = re.compile(r"[0-9]{1,20}")


class BadCellError(FormatError):
    """A cell that can't be used, and the number of its row among those at hand."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class Cells(ABC):
    """Cells of one column."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def numbers(self) -> NDArray[np.float64] | None:
        """Return them as numbers, NaN where there is none; None if one is not a number."""

    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Return them as texts, empty where there is nothing."""

    def words(self, known: dict[str, int]) -> NDArray[np.int32]:
        """Return the numbers of their words in `known`, to which new ones are added.

        -1 stands for nothing.
        """
        codes = {text: known.setdefault(text, len(known)) for text in set(self.texts()) if text}
        codes[""] = -1
        return np.fromiter((codes[text] for text in self.texts()), np.int32, len(self))

    def colours(self) -> NDArray[np.uint8] | None:
        """Return red, green and blue, shape (n, 3), of ``#rrggbb``; None if one is not a colour.

        Cells that hold nothing are black.
        """
        texts = self.texts()
        if not all(not text or _COLOUR.fullmatch(text) for text in texts):
            return None
        data = bytes.fromhex("".join(text[1:] or "000000" for text in texts))
        return np.frombuffer(data, np.uint8).reshape(-1, 3)

    def ids(self) -> NDArray[np.uint64]:
        """Return them as ids.

        Raises
        ------
        BadCellError
            One is not a whole number from 0 to 2^64 - 1.
        """
        numbers = self.numbers()
        if numbers is not None and np.isfinite(numbers).all():
            is_exact = (numbers >= 0) & (numbers < 2**53) & (numbers == np.floor(numbers))
            if is_exact.all():
                return numbers.astype(np.uint64)
        texts = self.texts()
        ids = np.empty(len(texts), np.uint64)
        for row, text in enumerate(texts):
            if not _WHOLE.fullmatch(text) or int(text) > MOST_ID:
                raise BadCellError(row, f"{text!r} is not a whole number from 0 to 2^64 - 1")
            ids[row] = int(text)
        return ids

    def segments(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return where the ids of each cell begin, and all ids; a cell holds any number of them.

        Raises
        ------
        BadCellError
            One is not a list of ids such as ``1;2``.
        """
        numbers = self.numbers()
        if numbers is not None:
            has_one = ~np.isnan(numbers)
            ids = numbers[has_one]
            if ((ids >= 0) & (ids < 2**53) & (ids == np.floor(ids))).all():
                return _offsets(has_one), ids.astype(np.uint64)
        counts, found = [], []
        for row, text in enumerate(self.texts()):
            parts = [part.strip() for part in text.split(";") if part.strip()]
            for part in parts:
                if not _WHOLE.fullmatch(part) or int(part) > MOST_ID:
                    raise BadCellError(
                        row, f"{text!r} is not a segment id, or several such as 1;2"
                    )
                found.append(int(part))
            counts.append(len(parts))
        return _offsets(np.array(counts, np.int64)), np.array(found, np.uint64)


class NumberCells(Cells):
    """Cells that are numbers already: of Parquet, ``.npy`` and arrays."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values.astype(np.uint8) if values.dtype.kind == "b" else values

    def __len__(self) -> int:
        return len(self._values)

    def numbers(self) -> NDArray[np.float64] | None:
        """Return them as numbers."""
        return self._values.astype(np.float64)

    def texts(self) -> Sequence[str]:
        """Return them as texts."""
        return ["" if value != value else f"{value}" for value in self._values.tolist()]

    def ids(self) -> NDArray[np.uint64]:
        """Return them as ids; see `Cells.ids`."""
        if self._values.dtype.kind == "u":
            return self._values.astype(np.uint64)
        return super().ids()


class TextCells(Cells):
    """Cells of a text file."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [text.strip() for text in texts]

    def __len__(self) -> int:
        return len(self._texts)

    def numbers(self) -> NDArray[np.float64] | None:
        """Return them as numbers; see `Cells.numbers`."""
        if any("_" in text for text in self._texts):  # Python's own habit
            return None
        try:
            return np.fromiter(map(float, self._texts), np.float64, len(self._texts))
        except ValueError:
            pass
        try:
            numbers = (float("nan" if text in MISSING else text) for text in self._texts)
            return np.fromiter(numbers, np.float64, len(self._texts))
        except ValueError:
            return None

    def texts(self) -> Sequence[str]:
        """Return them as texts, empty where there is nothing."""
        return ["" if text in MISSING else text for text in self._texts]


class ArrowCells(Cells):
    """Cells that pyarrow has read, which knows quicker ways to the same numbers and words."""

    def __init__(self, values: Any) -> None:
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    def numbers(self) -> NDArray[np.float64] | None:
        """Return them as numbers; see `Cells.numbers`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            found = pc.cast(self._values, pa.float64())
            return np.asarray(found.to_numpy(zero_copy_only=False), np.float64)
        except pa.ArrowInvalid:
            return TextCells(self._plain()).numbers()

    def _plain(self) -> list[str]:
        return [text or "" for text in self._values.to_pylist()]

    def texts(self) -> Sequence[str]:
        """Return them as texts, empty where there is nothing."""
        return TextCells(self._plain()).texts()

    def words(self, known: dict[str, int]) -> NDArray[np.int32]:
        """Return the numbers of their words; see `Cells.words`."""
        encoded = self._values.dictionary_encode()
        words = TextCells([text or "" for text in encoded.dictionary.to_pylist()]).texts()
        codes = [known.setdefault(word, len(known)) if word else -1 for word in words]
        table = np.array([*codes, -1], np.int32)
        indices = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        codes_of_rows: NDArray[np.int32] = table[indices]
        return codes_of_rows


def _offsets(counts: NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
