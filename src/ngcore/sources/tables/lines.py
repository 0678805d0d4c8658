"""Label tables of lines of words: those of FreeSurfer, ITK-SNAP, FSLeyes, MRtrix, Workbench, AAL.

https://surfer.nmr.mgh.harvard.edu/fswiki/LabelsClutsAnnotationFiles,
https://www.itksnap.org (Segmentation, Export Label Descriptions),
https://open.win.ox.ac.uk/pages/fsl/fsleyes/fsleyes/userdoc/customising.html (lookup tables),
https://mrtrix.readthedocs.io/en/latest/quantitative_structural_connectivity/labelconvert_tutorial.html
and https://www.humanconnectome.org/software/workbench-command/-volume-label-import
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.sources.tables.rows import Label, at_place, line_place, parse_colour, parse_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ngcore.sources.tables.rows import Row

_FREESURFER = re.compile(r"\s*[0-9]+\s+[^\s\"]+(\s+[0-9]+){3,5}\s*(\s#.*)?")
_ITKSNAP = re.compile(r"\s*[0-9]+(\s+[0-9.]+){6}\s+\".*\"\s*")
_FSLEYES = re.compile(r"\s*[0-9]+(\s+[01]?\.[0-9]+([eE]-[0-9]+)?|\s+[01]){3}\s+\S.*")
_MRTRIX = re.compile(r"\s*[0-9]+\s+\S+\s+\S*[^\s0-9]\S*(\s+[0-9]+){3,4}\s*")
_KEY_AND_COLOUR = re.compile(r"\s*[0-9]+(\s+[0-9]+){3,4}\s*")
_PLAIN = re.compile(r"\s*([0-9]+)\s*[:=]?\s+(\S.*?)\s*")
_AAL = re.compile(r"\s*[0-9]+\s+\S*_\S*\s+[0-9]+\s*")
_COMMENT = re.compile(r"(^|\s)#.*")


def is_freesurfer_line(line: str) -> bool:
    """Whether this line is one of FreeSurfer's: ``17  Left-Hippocampus  220 216 20 0``."""
    return _FREESURFER.fullmatch(line) is not None


def is_itksnap_line(line: str) -> bool:
    """Whether this line is one of ITK-SNAP's: ``1  255 0 0  1  1 1  "Left hippocampus"``."""
    return _ITKSNAP.fullmatch(line) is not None


def is_fsleyes_line(line: str) -> bool:
    """Whether this line is one of FSLeyes': ``1 0.5 0.07 0.5 Left hippocampus``."""
    return _FSLEYES.fullmatch(line) is not None


def is_mrtrix_line(line: str) -> bool:
    """Whether this line is one of MRtrix: ``1 L.BSTS ctx-lh-bankssts 25 5 25 255``."""
    return _MRTRIX.fullmatch(line) is not None


def is_plain_line(line: str) -> bool:
    """Whether this line is an id and a name: ``1 Left hippocampus``."""
    return _PLAIN.fullmatch(line) is not None


def are_workbench_lines(lines: Sequence[str]) -> bool:
    """Whether the lines are a name and a colour in turns, as Workbench writes them."""
    filled = [line for line in lines if line.strip()]
    return len(filled) > 1 and _KEY_AND_COLOUR.fullmatch(filled[1]) is not None


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
    return _rows(_without_comments(lines), name, _itksnap_label)


def read_fsleyes(lines: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the labels of an FSLeyes lookup table: id, three channels (0 to 1), and the name."""
    return _rows(_without_comments(lines), name, _fsleyes_label)


def read_mrtrix(lines: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the labels of an MRtrix table: id, short name, name, red, green, blue, alpha."""
    return _rows(_without_comments(lines), name, _mrtrix_label)


def read_plain(lines: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the labels of lines of an id and a name.

    The code that follows names without spaces in AAL's list (``1 Precentral_L 2001``) is a
    description.
    """
    lines = _without_comments(lines)
    is_aal = all(_AAL.fullmatch(line) for line in lines if line.strip())
    return _rows(lines, name, _aal_label if is_aal else _plain_label)


def read_workbench(lines: Sequence[str], name: str) -> Iterator[Row]:
    """Yield the labels of Workbench's lists: a line of a name, then one of key and colour."""
    title: str | None = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if title is None:
            title = line.strip()
            continue
        place = line_place(number)
        with at_place(name, place):
            if not _KEY_AND_COLOUR.fullmatch(line):
                raise FormatError(
                    f"expected key, red, green, blue and alpha of {title!r}, got {line!r}"
                )
            key, *channels = line.split()
            yield place, Label(parse_id(key), title, parse_colour(channels[:3]))
        title = None
    if title is not None:
        raise FormatError(f"{name}: ends after the name {title!r}, without its key and colour")


def _without_comments(lines: Sequence[str]) -> list[str]:
    return ["" if line.lstrip().startswith("#") else line for line in lines]


def _rows(lines: Sequence[str], name: str, parse: Callable[[str], Label]) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = line_place(number)
            with at_place(name, place):
                yield place, parse(line)


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


def _fsleyes_label(line: str) -> Label:
    words = line.split(maxsplit=4)
    if len(words) < 5:
        raise FormatError(f"expected id, red, green, blue (0 to 1) and the name, got {line!r}")
    return Label(parse_id(words[0]), words[4].strip(), parse_colour(words[1:4], unit=True))


def _mrtrix_label(line: str) -> Label:
    words = line.split()
    if not 6 <= len(words) <= 7:
        raise FormatError(
            f"expected id, short name, name, red, green, blue and perhaps alpha, got {line!r}"
        )
    return Label(parse_id(words[0]), words[2], parse_colour(words[3:6]), words[1])


def _plain_label(line: str) -> Label:
    match = _PLAIN.fullmatch(line)
    if match is None:
        raise FormatError(f"expected an id and a name, got {line!r}")
    text = " ".join(match[2].split())
    is_quoted = len(text) > 2 and text[0] == text[-1] and text[0] in "\"'"
    return Label(parse_id(match[1]), text[1:-1].strip() if is_quoted else text)


def _aal_label(line: str) -> Label:
    key, name, code = line.split()
    return Label(parse_id(key), name, None, code)


def _check_number(word: str) -> None:
    try:
        float(word)
    except ValueError as error:
        raise FormatError(f"{word!r} is not a number") from error
