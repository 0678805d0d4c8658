"""SWC: one traced neuron, a node a line: id, type, x, y, z, radius, parent.

Ids may begin anywhere and come in any order; a node may come before its parent. A root's parent is
-1, in some programs 0.

http://www.neuronland.org/NLMorphologyConverter/MorphologyFormats/SWC/Spec.html
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError
from ngcore.sources.files import missing_file, refuse_pipe

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_BOM = b"\xef\xbb\xbf"
_FIELDS = 7
_DECIMAL_COMMA = re.compile(rb"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_PLACED = re.compile(rb"#[ \t]*(SCALE|OFFSET)((?:[ \t]+\S+){3})", re.IGNORECASE)
_NAMES = ("id", "type", "x", "y", "z", "radius", "parent")
_MOST_ID = 2**53


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """A traced neuron, in the units of its file.

    Attributes
    ----------
    points : ndarray of float64, shape (n, 3)
    radii : ndarray of float64, shape (n,)
    types : ndarray of int64, shape (n,)
        1 soma, 2 axon, 3 dendrite, 4 apical dendrite, others as the program has them.
    edges : ndarray of int64, shape (m, 2)
        Places of a node and its parent among the points.
    """

    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    types: NDArray[np.int64]
    edges: NDArray[np.int64]


def read_swc(path: Path) -> Neuron:
    """Read an SWC file.

    Raises
    ------
    InputNotFoundError, InputError
        There is no such file, or it can't be read.
    FormatError
        A line is not a node, an id occurs twice, a parent is missing, or nodes form a ring; the
        message names the line.
    """
    name = str(path)
    refuse_pipe(path, name)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise missing_file(path, name) from None
    except OSError as error:
        raise InputError(f"{name}: can't be read: {error.strerror}; pass an SWC file") from error
    table, lines = _table(data, name)
    ids, parents = _whole(table, 0, lines, name), _whole(table, 6, lines, name)
    types = _whole(table, 1, lines, name)
    if (ids < 0).any():
        row = int(np.argmax(ids < 0))
        raise FormatError(
            f"{name}, line {lines[row]}: the id is {ids[row]}; ids are 0 or more, as the "
            "parent of a root is negative"
        )
    wrong = np.argwhere(~np.isfinite(table[:, 2:6]))
    if wrong.size:
        row, column = wrong[0].tolist()
        what = f"{_NAMES[column + 2]} is {table[row, column + 2]}"
        raise FormatError(f"{name}, line {lines[row]}: {what}; nodes must have finite numbers")
    if count := int((table[:, 5] < 0).sum()):
        nodes = "1 node has" if count == 1 else f"{count} nodes have"
        logger.warning("%s: %s a negative radius, kept as it is", name, nodes)
    _warn_of_placing(data, name)
    return Neuron(table[:, 2:5], table[:, 5], types, _edges(ids, parents, lines, name))


def _warn_of_placing(data: bytes, name: str) -> None:
    """Say what the header asks for that programs do not agree on."""
    for line in data.removeprefix(_BOM).splitlines():
        found = _PLACED.fullmatch(line.strip())
        if found is None:
            continue
        word, numbers = found.groups()
        neutral = 1.0 if word.upper() == b"SCALE" else 0.0
        try:
            is_neutral = all(float(number) == neutral for number in numbers.split())
        except ValueError:
            continue  # a comment in words
        if not is_neutral:
            logger.warning(
                "%s: its comment %s %s is not applied; coordinates are used as they are",
                *(name, word.decode(), b" ".join(numbers.split()).decode()),
            )


def _table(data: bytes, name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the numbers of all nodes, shape (n, 7), and the line of each."""
    rows, lines = [], []
    for number, line in enumerate(data.removeprefix(_BOM).splitlines(), start=1):
        text = line.partition(b"#")[0]
        words = text.replace(b",", b" ").split()
        if not words:
            continue
        columns = text.split()[:_FIELDS]
        if len(columns) == _FIELDS and any(map(_DECIMAL_COMMA.fullmatch, columns)):
            shown = line.decode("utf-8", "replace").strip()[:60]
            raise FormatError(
                f"{name}, line {number}: {shown!r} has decimal commas; write numbers with a "
                "decimal point"
            )
        try:
            if len(words) < _FIELDS:
                raise ValueError
            rows.append([float(word) for word in words[:_FIELDS]])
        except ValueError:
            shown = line.decode("utf-8", "replace").strip()[:60]
            raise FormatError(
                f"{name}, line {number}: {shown!r} is not a node; a node is "
                f"{', '.join(_NAMES)}, seven numbers"
            ) from None
        lines.append(number)
    if not rows:
        raise FormatError(f"{name} holds no nodes; an SWC file has one node per line")
    return np.array(rows, np.float64), np.array(lines, np.int64)


def _whole(
    table: NDArray[np.float64], column: int, lines: NDArray[np.int64], name: str
) -> NDArray[np.int64]:
    values = table[:, column]
    with np.errstate(invalid="ignore"):
        is_wrong = ~(np.abs(values) < _MOST_ID) | (values != np.floor(values))
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise FormatError(
            f"{name}, line {lines[row]}: the {_NAMES[column]} is {values[row]:g}; it must be a "
            "whole number"
        )
    whole: NDArray[np.int64] = values.astype(np.int64)
    return whole


def _edges(
    ids: NDArray[np.int64], parents: NDArray[np.int64], lines: NDArray[np.int64], name: str
) -> NDArray[np.int64]:
    order = np.argsort(ids, kind="stable")
    known = ids[order]
    twice = np.flatnonzero(known[1:] == known[:-1])
    if twice.size:
        first, second = order[int(twice[0])], order[int(twice[0]) + 1]
        raise FormatError(
            f"{name}, line {lines[second]}: the id {ids[second]} occurs twice, first in line "
            f"{lines[first]}; give each node its own id"
        )
    is_root = parents < 0
    if not (ids == 0).any():
        is_root |= parents == 0
    children = np.flatnonzero(~is_root)
    place = np.searchsorted(known, parents[children])
    place[place == len(known)] = 0
    orphans = np.flatnonzero(known[place] != parents[children])
    if orphans.size:
        row = int(children[orphans[0]])
        raise FormatError(
            f"{name}, line {lines[row]}: the parent {parents[row]} is not in the file; the root's "
            "parent is -1"
        )
    found = order[place]
    _refuse_rings(len(ids), children, found, lines, name)
    return np.stack([children, found], axis=1)


def _refuse_rings(
    count: int,
    children: NDArray[np.int64],
    parents: NDArray[np.int64],
    lines: NDArray[np.int64],
    name: str,
) -> None:
    """Go from every node to its parent, twice as far each time, until all are at a root."""
    up: NDArray[Any] = np.arange(count)
    up[children] = parents
    is_root = np.ones(count, np.bool_)
    is_root[children] = False
    for _ in range(count.bit_length() + 1):
        up = up[up]
    stuck = np.flatnonzero(~is_root[up])
    if stuck.size:
        row = int(stuck[0])
        raise FormatError(
            f"{name}, line {lines[row]}: the parents of this node form a ring; make one of them "
            "a root, whose parent is -1"
        )
