"""Lengths that people write, in nanometres."""

from __future__ import annotations

import re

NM_PER_UNIT = {
    "nm": 1.0,
    "um": 1e3,
    "\N{MICRO SIGN}m": 1e3,
    "\N{GREEK SMALL LETTER MU}m": 1e3,
    "mm": 1e6,
    "cm": 1e7,
    "m": 1e9,
}

_LENGTH = re.compile(
    r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([^\d\s.]*)\s*", re.IGNORECASE
)


def parse_lengths_nm(text: str) -> tuple[float, float, float]:
    """Return the lengths of three axes in nanometres.

    Parameters
    ----------
    text : str
        Three lengths, comma-separated, or one for all axes: numbers of nanometres, or with a unit.

    Raises
    ------
    ValueError
        If it is something else.

    Examples
    --------
    >>> parse_lengths_nm("8nm,8nm,0.04um")
    (8.0, 8.0, 40.0)
    >>> parse_lengths_nm("1mm")
    (1000000.0, 1000000.0, 1000000.0)
    """
    lengths = [_length_nm(part) for part in text.split(",")]
    if len(lengths) == 1:
        lengths *= 3
    x, y, z = lengths
    return x, y, z


def _length_nm(text: str) -> float:
    match = _LENGTH.fullmatch(text)
    unit = match[2].lower() if match is not None else ""
    if match is None or (unit and unit not in NM_PER_UNIT):
        raise ValueError(f"{text!r} is not a length such as 8, 8nm, 0.5um or 1mm")
    # Through the shortest decimal, so that 0.1um is 100 nm and not a little beside it.
    return float(f"{float(match[1]) * NM_PER_UNIT[unit or 'nm']:.15g}")
