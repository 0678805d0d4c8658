"""Which dimension of a stored array is x, y, z and channel: by names that it has, or as told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.sources.base import Box3, Shape4

_LETTERS = {
    "x": "x",
    "y": "y",
    "z": "z",
    "c": "c",
    "ch": "c",
    "channel": "c",
    "channels": "c",
    "t": "t",
    "time": "t",
    "s": "c",
    "sample": "c",
    "c^": "c",
}
"""By the names that dimensions have in files and in xarray, in lower case."""


@dataclass(frozen=True, slots=True)
class ArrayAxes:
    """How an array's dimensions become (x, y, z, channel).

    Attributes
    ----------
    code : str
        A letter of x, y, z, c, t for each dimension, slowest first; "-" for one of length 1
        that is left out.
    lengths : tuple of int
        Of the dimensions.
    colors : int
        More than 1 where each element is so many colours.
    is_fortran : bool
        The first dimension is the fastest.
    is_assumed : bool
        Neither the file nor the user says so: it is the order of most files of the format.
    """

    code: str
    lengths: tuple[int, ...]
    colors: int = 1
    is_fortran: bool = False
    is_assumed: bool = False

    @property
    def shape(self) -> Shape4:
        """Lengths along (x, y, z, channel)."""
        x, y, z = (self._length(letter) for letter in "xyz")
        return x, y, z, self._length("c") * self._length("t") * self.colors

    @property
    def slow_to_fast(self) -> tuple[int, ...]:
        """Axes of (x, y, z) in the order of the array's dimensions, then those it lacks."""
        here = ["xyz".index(letter) for letter in self.code if letter in "xyz"]
        ordered = here[::-1] if self.is_fortran else here
        return (*(axis for axis in range(3) if axis not in here), *ordered)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: which order was assumed, where one was."""
        if not self.is_assumed:
            return ()
        return (
            f"doesn't name its axes; shape {self.lengths} is assumed to be "
            f"{', '.join(self.code)}, slowest first; pass --axes {self.code} if that is right, "
            f"else another order, such as --axes {self.code[::-1]}",
        )

    @property
    def has_time(self) -> bool:
        """Whether channels are times."""
        return self._length("t") > 1

    def along(self, values: Sequence[int], default: int = 1) -> tuple[int, int, int]:
        """Return the values that dimensions have, by (x, y, z)."""
        x, y, z = (
            int(values[self.code.index(letter)]) if letter in self.code else default
            for letter in "xyz"
        )
        return x, y, z

    def index(self, box: Box3, origin: Sequence[int] | None = None) -> tuple[slice, ...]:
        """Return the slices of a box in the array, all channels; nothing is dropped."""
        starts = origin or (0,) * len(self.lengths)
        parts = []
        for letter, length, start in zip(self.code, self.lengths, starts, strict=True):
            part = box["xyz".index(letter)] if letter in "xyz" else slice(0, length)
            parts.append(slice(int(start) + part.start, int(start) + part.stop))
        return tuple(parts)

    def arrange(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """View what slicing gave as (x, y, z, channel).

        Raises
        ------
        InputError
            If it has another number of dimensions.
        """
        if values.ndim != len(self.code):
            raise InputError(
                f"slicing gave shape {values.shape}, expected {len(self.code)} dimensions; pass "
                "an array that is sliced as NumPy's are"
            )
        if self.colors > 1:
            values = np.ascontiguousarray(values)
            values = values.view(np.uint8).reshape(*values.shape, self.colors)
        keep = [i for i, letter in enumerate(self.code) if letter in "xyzct"]
        drop = tuple(0 for _ in self.code)
        values = values[tuple(slice(None) if i in keep else drop[i] for i in range(len(drop)))]
        letters = [self.code[i] for i in keep] + (["s"] if self.colors > 1 else [])
        for letter in "xyz":
            if letter not in letters:
                values = values[np.newaxis]
                letters.insert(0, letter)
        channels = [i for i, letter in enumerate(letters) if letter not in "xyz"]
        spatial = [letters.index(letter) for letter in "xyz"]
        values = values.transpose(*spatial, *channels)
        return values.reshape(*values.shape[:3], -1) if len(channels) != 1 else values

    def _length(self, letter: str) -> int:
        return self.lengths[self.code.index(letter)] if letter in self.code else 1


def axes_of(
    lengths: Sequence[int],
    *,
    asked: str | None = None,
    names: Sequence[object] | None = None,
    default: Sequence[str] = (),
    colors: int = 1,
) -> ArrayAxes:
    """Decide what the dimensions of an array are.

    Parameters
    ----------
    lengths : sequence of int
    asked : str, optional
        What the user says, such as "tzyx"; it stands over the names.
    names : sequence, optional
        What the file, or xarray, calls them.
    default : sequence of str
        Codes for arrays without names, of which the one of the right length counts.
    colors : int
        How many colours an element has.

    Raises
    ------
    InputError
        If they are not told apart.

    Examples
    --------
    >>> axes_of((1, 5, 6, 7), names=["t", "z", "y", "x"]).shape
    (7, 6, 5, 1)
    """
    lengths = tuple(int(length) for length in lengths)
    rank = len(lengths)
    if asked is not None:
        code = asked.lower()
        if len(code) != rank or set(code) - set("xyzct"):
            raise InputError(
                f"--axes {asked} must be a letter of x, y, z, c, t for each of the {rank} "
                f"dimensions of shape {lengths}, slowest first"
            )
    elif names is not None:
        code = _code_of_names(names, lengths)
    else:
        codes = [code for code in default if len(code) == rank]
        if not codes:
            raise InputError(
                f"shape {lengths} doesn't say which dimension is which; pass --axes, such as "
                f"--axes {'tczyx'[-rank:] if rank < 6 else 'tczyx'}"
            )
        code = codes[0]
    is_assumed = asked is None and names is None
    return checked_axes(ArrayAxes(code, lengths, colors, is_assumed=is_assumed))


def checked_axes(axes: ArrayAxes) -> ArrayAxes:
    """Return axes if x and y are among them, none twice, and times are not channels too.

    Raises
    ------
    InputError
        If not.
    """
    code = axes.code
    for letter in "xyzct":
        if code.count(letter) > 1:
            raise InputError(f"axes {code!r} name {letter} twice; pass --axes")
    if "x" not in code or "y" not in code:
        raise InputError(f"axes {code!r} lack x or y; pass --axes, slowest first")
    many = [letter for letter in "ct" if letter in code and axes.lengths[code.index(letter)] > 1]
    if len(many) + (axes.colors > 1) > 1:
        raise InputError(
            f"shape {axes.lengths} with axes {code!r} has several channels at several times; save "
            "one part of it"
        )
    return axes


def _code_of_names(names: Sequence[object], lengths: tuple[int, ...]) -> str:
    code = ""
    for name, length in zip(names, lengths, strict=True):
        letter = _LETTERS.get(str(name).lower())
        if letter is None or letter in code:
            if length != 1:
                raise InputError(
                    f"dimension {name!r} (length {length}) is not one of x, y, z, channel, time; "
                    "pass --axes, slowest first"
                )
            letter = "-"
        code += letter
    return code
