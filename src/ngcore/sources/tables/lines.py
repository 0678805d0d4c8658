"""Label tables of lines of words: FreeSurfer's colour tables and ITK-SNAP's label descriptions.

https://surfer.nmr.mgh.harvard.edu/fswiki/LabelsClutsAnnotationFiles and
https://www.itksnap.org (Segmentation, Export Label Descriptions)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.sources.tables.rows import Label, at_line, parse_colour, parse_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ngcore.sources.tables.rows import Row

_FREESURFER = re.compile(r"\s*[0-9]+\s+[^\s\"]+(\s+[0-9]+){3,5}\s*(\s#.*)?")
_ITKSNAP = re.compile(r"\s*[0-9]+(\s+[0-9.]+){6}\s+\".*\"\s*")
_COMMENT = re.compile(r"(^|\s)#.*")


def is_freesurfer_line(line: str) -> bool:
    """Whether this line is one of FreeSurfer's: ``17  Left-Hippocampus  220 216 20 0``."""
    return _FREESURFER.fullmatch(line) is not None


def is_itksnap_line(line: str) -> bool:
    """Whether this line is one of ITK-SNAP's: ``1  255 0 0  1  1 1  "Left hippocampus"``."""
    return _ITKSNAP.fullmatch(line) is not None


def read_freesurfer(lines: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the labels of a FreeSurfer colour table.

    A line is id, name without spaces, red, green, blue, and perhaps transparency and the number of
    a tissue type, apart by spaces or tabs; ``#`` begins a comment.
    """
    return _rows([_COMMENT.sub("", line) for line in lines], name, _freesurfer_label)


def read_itksnap(lines: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the labels of an ITK-SNAP label description.

    A line is id, red, green, blue, opacity, whether the label and whether its mesh are shown, and
    the name in quotes. Lines that start with ``#`` are comments.
    """
    return _rows(
        ["" if line.lstrip().startswith("#") else line for line in lines], name, _itksnap_label
    )


def _rows(lines: Sequence[str], name: str, parse: Callable[[str], Label]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            with at_line(name, number):
                yield number, parse(line)


def _freesurfer_label(line: str) -> Label:
    words = line.split()
    if not 5 <= len(words) <= 7:
        raise FormatError(
            f"expected id, name (without spaces), red, green, blue and perhaps alpha, got {line!r}"
        )
    for word in words[5:]:
        parse_id(word, "alpha or tissue type")
    return Label(parse_id(words[0]), words[1], parse_colour(words[2:5]))


def _itksnap_label(line: str) -> Label:
    words = line.split(maxsplit=7)
    text = words[-1].strip()
    if len(words) != 8 or len(text) < 2 or (text[0], text[-1]) != ('"', '"'):
        raise FormatError(
            'expected id, red, green, blue, alpha, two flags and the name in "quotes", '
            f"got {line!r}"
        )
    for word in words[4:7]:
        _check_number(word)
    return Label(parse_id(words[0]), text[1:-1].strip(), parse_colour(words[1:4]))


def _check_number(word: str) -> None:
    try:
        float(word)
    except ValueError as error:
        raise FormatError(f"{word!r} is not a number") from error
