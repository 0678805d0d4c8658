"""Tables that name labels: found out by their content, not by the name of the file.

Text of FreeSurfer, ITK-SNAP, FSLeyes, MRtrix, Workbench, BIDS's `_dseg.tsv`, CSV, XML of FSL, SPM,
CAT and GIfTI, JSON of atlases and networks, and FreeSurfer's `.annot` and `.mgz`.
What can't be understood is refused, with its line: a name on the wrong region is worse than none.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources.tables.columns import Choice
from ngcore.sources.tables.delimited import is_bids_header, is_delimited, read_delimited
from ngcore.sources.tables.freesurfer_binary import is_annot, is_mgh, read_annot, read_mgh
from ngcore.sources.tables.json_tables import read_json
from ngcore.sources.tables.lines import (
    are_workbench_lines,
    is_freesurfer_line,
    is_fsleyes_line,
    is_itksnap_line,
    is_mrtrix_line,
    is_plain_line,
    read_freesurfer,
    read_fsleyes,
    read_itksnap,
    read_mrtrix,
    read_plain,
    read_workbench,
)
from ngcore.sources.tables.rows import Label, at_place
from ngcore.sources.tables.xml import read_xml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ngcore.sources.tables.rows import Row

_MAX_UNPACKED_BYTES = 1 << 31

_LINE_FORMATS = (
    ("ITK-SNAP", is_itksnap_line, read_itksnap),
    ("FreeSurfer", is_freesurfer_line, read_freesurfer),
    ("FSLeyes", is_fsleyes_line, read_fsleyes),
    ("MRtrix", is_mrtrix_line, read_mrtrix),
)


class LabelTable(NamedTuple):
    """A whole table: its format, for messages, and its labels in the order of their ids."""

    format: str
    labels: tuple[Label, ...]


def read_label_table(path: str | Path, choice: Choice = Choice()) -> LabelTable:  # noqa: B008
    """Read a label table of any format that ngcore knows.

    Parameters
    ----------
    path : str or Path
    choice : Choice
        Columns that hold the ids, names and colours; default those that their titles and cells
        speak for.

    Raises
    ------
    InputNotFoundError, InputError
        If there is no such file, it can't be read, or it has no column that was chosen.
    FormatError
        If it is not one of these tables, holds no label, or a line can't be understood, has an id
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
    kind, rows = _read(_unpacked(data, name), name, choice)
    if choice != Choice() and kind not in ("BIDS", "CSV", "JSON", "segment"):
        raise InputError(
            f"{name} is a {kind} table, whose columns are known; leave out --id-column, "
            "--name-column and --color-column"
        )
    labels = _checked(rows, name)
    if not labels:
        raise FormatError(f"{name} is a {kind} table without a label")
    return LabelTable(kind, labels)


def _unpacked(data: bytes, name: str) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        return gzip.decompress(data, max_size=_MAX_UNPACKED_BYTES)
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error


def _read(data: bytes, name: str, choice: Choice) -> tuple[str, Iterator[Row]]:
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if is_mgh(data):
        return "FreeSurfer", read_mgh(data, name)
    if is_annot(data):
        return "FreeSurfer", read_annot(data, name)
    if start == b"<":
        return read_xml(data, name)
    if start in (b"{", b"["):
        return read_json(data, name, choice)
    return _read_text(_decoded(data, name), name, choice)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(
            f"{name}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text; "
            "save the table as UTF-8"
        ) from error


def _read_text(text: str, name: str, choice: Choice) -> tuple[str, Iterator[Row]]:
    """Choose the format by the first line that is not a comment."""
    # `str.splitlines` would also cut at form feeds, and lines would be numbered wrongly.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    filled = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for line in filled[:1]:
        for kind, belongs, read in _LINE_FORMATS:
            if belongs(line):
                return kind, read(lines, name)
        if is_delimited(filled, choice):
            kind = "BIDS" if is_bids_header(line) else "CSV"
            return kind, read_delimited(lines, name, choice)
        if is_plain_line(line):
            return "text", read_plain(lines, name)
        if are_workbench_lines(filled):
            return "Workbench", read_workbench(lines, name)
    raise FormatError(
        f"{name} is not a label table: expected text of FreeSurfer, ITK-SNAP, FSLeyes, MRtrix or "
        "Workbench, lines of an id and a name, a table with titled columns id (or index, root_id, "
        "label, ...) and name, an XML or JSON atlas, or an .annot or .mgz with a colour table"
    )


def _checked(rows: Iterable[Row], name: str) -> tuple[Label, ...]:
    """Return the labels by id, once no two of them are at odds."""
    labels: dict[int, Label] = {}
    places: dict[int, str] = {}
    tags: dict[str, tuple[str, str]] = {}
    for place, label in rows:
        with at_place(name, place):
            if label.id in labels:
                raise FormatError(
                    f"the id {label.id} was already in {places[label.id]}, as "
                    f"{labels[label.id].name!r}; give each id one line"
                )
            for tag in label.tags:
                first, its_place = tags.setdefault(tag.casefold(), (tag, place))
                if first != tag:
                    raise FormatError(
                        f"the tag {tag!r} differs from {first!r} in {its_place} in case only, "
                        "which Neuroglancer does not tell apart; spell it one way"
                    )
        labels[label.id] = label
        places[label.id] = place
    return tuple(labels[key] for key in sorted(labels))
