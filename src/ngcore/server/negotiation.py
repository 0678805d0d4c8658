"""What a request's headers ask for: a byte range, and whether gzip may be sent.

Ranges are those of RFC 9110, section 14; content codings those of section 12.5.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_DIGITS = 20
"""No file has a size of more digits."""
_RANGE = re.compile(r"(\d*)-(\d*)", re.ASCII)


class RangeNotSatisfiableError(ValueError):
    """A range of bytes that the resource does not have: status 416."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` to `stop`, exclusive, of a resource."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of bytes in the range."""
        return self.stop - self.start


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range of a resource of `size` bytes that a ``Range`` header asks for.

    Parameters
    ----------
    header : str or None
        The value of the header; None where the request has none.
    size : int
        Bytes in the whole resource.

    Returns
    -------
    ByteRange or None
        None where the whole resource is to be sent: no header, a unit other than bytes, or
        several ranges at once, which a server is free to answer whole.

    Raises
    ------
    RangeNotSatisfiableError
        The range is malformed, runs backwards, or lies outside the resource.

    Examples
    --------
    >>> parse_range("bytes=2-5", 10)
    ByteRange(start=2, stop=6)
    >>> parse_range("bytes=-3", 10)
    ByteRange(start=7, stop=10)
    """
    if header is None:
        return None
    unit, equals, ranges = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    if "," in ranges:
        return None
    match = _RANGE.fullmatch(ranges.strip())
    if match is None or match.group() == "-":
        raise RangeNotSatisfiableError(header)
    first, last = match.groups()
    if first:
        start = _position(first)
        stop = min(_position(last) + 1, size) if last else size
    else:
        start = max(0, size - _position(last))
        stop = size
    if start >= stop:
        raise RangeNotSatisfiableError(header)
    return ByteRange(start, stop)


def is_still(if_range: str | None, etag: str, last_modified: str, date: str | None = None) -> bool:
    """Tell whether an ``If-Range`` header lets a range be sent: RFC 9110, section 13.1.5.

    A date is a strong validator only where it lies a second or more before the answer was made,
    which the client then says in ``Date``; without that, entity tags alone are.

    Examples
    --------
    >>> is_still(None, '"a"', ""), is_still('"a"', '"a"', ""), is_still('W/"a"', '"a"', "")
    (True, True, False)
    """
    if if_range is None:
        return True
    if if_range.startswith('"'):
        return if_range == etag
    return if_range == last_modified and date != last_modified


def _position(digits: str) -> int:
    """Return a number of bytes; Python refuses to read numbers of thousands of digits."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def accepts_gzip(header: str | None) -> bool:
    """Tell whether an ``Accept-Encoding`` header lets gzip be sent.

    Without the header the answer is no, although the standard would allow it: simple clients
    that send none do not decompress. A client that ranks identity above gzip gets identity.

    Examples
    --------
    >>> accepts_gzip("br, gzip;q=0.5"), accepts_gzip("gzip;q=0, *"), accepts_gzip(None)
    (True, False, False)
    """
    if header is None:
        return False
    quality: dict[str, float] = {}
    for item in header.split(","):
        coding, *parameters = (part.strip().lower() for part in item.split(";"))
        quality[coding] = _quality(parameters)
    gzip = max((quality[name] for name in ("gzip", "x-gzip") if name in quality), default=None)
    if gzip is None:
        gzip = quality.get("*", 0.0)
    return gzip > 0 and gzip >= quality.get("identity", 0.0)


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
