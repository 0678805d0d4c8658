"""Tables that name labels: found out by their content, not by the name of the file.

FreeSurfer's and ITK-SNAP's text, BIDS's `_dseg.tsv`, FSL's XML, GIfTI's label tables, and CSV.
What can't be understood is refused, with its line: a name on the wrong region is worse than none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.tables.columns import is_bids_header, is_csv_line, read_bids, read_csv
from ngcore.sources.tables.lines import (
    is_freesurfer_line,
    is_itksnap_line,
    read_freesurfer,
    read_itksnap,
)
from ngcore.sources.tables.rows import Label, at_line
from ngcore.sources.tables.xml import read_xml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ngcore.sources.tables.rows import Row

_TEXT_FORMATS = (
    ("BIDS", is_bids_header, read_bids),
    ("ITK-SNAP", is_itksnap_line, read_itksnap),
    ("FreeSurfer", is_freesurfer_line, read_freesurfer),
    ("CSV", is_csv_line, read_csv),
)


class LabelTable(NamedTuple):
    """A whole table: its format, for messages, and its labels in the order of their ids."""

    format: str
    labels: tuple[Label, ...]


def read_label_table(path: str | Path) -> LabelTable:
    """Read a label table of any format that ngcore knows.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputNotFoundError, InputError
        If there is no such file, or it can't be read.
    FormatError
        If it is none of these tables, holds no label, or a line can't be understood, has an id
        that came before, or a tag that differs from another one in case only.
    """
    name = repr(str(path))
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise InputNotFoundError(f"there is no label table {name}; check the path") from error
    except OSError as error:
        raise InputError(
            f"{name} can't be read: {error.strerror or error}; pass a file that you may read"
        ) from error
    if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        kind, rows = read_xml(data, name)
    else:
        kind, rows = _read_text(_decoded(data, name), name)
    labels = _checked(rows, name)
    if not labels:
        raise FormatError(f"{name} is a {kind} table without a label")
    return LabelTable(kind, labels)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{name}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text; "
            "save the table as UTF-8"
        ) from error


def _read_text(text: str, name: str) -> tuple[str, Iterator[Row]]:
    """Choose the format by the first line that belongs to one."""
    # `str.splitlines` would also cut at form feeds, and lines would be numbered wrongly.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            for kind, belongs, read in _TEXT_FORMATS:
                if belongs(line):
                    return kind, read(lines, name)
    raise FormatError(
        f"{name} is no label table: expected FreeSurfer or ITK-SNAP text, a BIDS .tsv with the "
        "columns index and name, FSL or GIfTI XML, or CSV of id,name[,r,g,b][,tag...]"
    )


def _checked(rows: Iterable[Row], name: str) -> tuple[Label, ...]:
    """Return the labels by id, once no two of them are at odds."""
    labels: dict[int, Label] = {}
    lines: dict[int, int] = {}
    tags: dict[str, tuple[str, int]] = {}
    for line, label in rows:
        with at_line(name, line):
            if label.id in labels:
                raise FormatError(
                    f"the id {label.id} was in line {lines[label.id]} already, as "
                    f"{labels[label.id].name!r}; give each id one line"
                )
            for tag in label.tags:
                first, its_line = tags.setdefault(tag.casefold(), (tag, line))
                if first != tag:
                    raise FormatError(
                        f"the tag {tag!r} differs from {first!r} in line {its_line} in case only, "
                        "which Neuroglancer does not tell apart; spell it one way"
                    )
        labels[label.id] = label
        lines[label.id] = line
    return tuple(labels[key] for key in sorted(labels))
