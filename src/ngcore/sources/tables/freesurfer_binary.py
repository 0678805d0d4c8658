"""FreeSurfer's colour table where it lies within a file: `.annot`, and the end of an `.mgz`.

https://surfer.nmr.mgh.harvard.edu/fswiki/LabelsClutsAnnotationFiles and
https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.sources.tables.rows import Label, at_place, parse_colour

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.sources.tables.rows import Row

_MGH_HEADER_BYTES = 284
_MGH_BYTES_PER_VOXEL = {0: 1, 1: 4, 3: 4, 4: 2, 10: 2}
_MGH_SCANNER_BYTES = 20  # TR, flip angle, TE, TI and field of view follow the voxels
_TAG_OLD_TABLE, _TAG_TABLE = 1, 5
_TAGS_WITHOUT_LENGTH = (_TAG_OLD_TABLE, 2, 20)
_TAGS_OF_SHORT_LENGTH = (30,)


class _Bytes:
    """Big-endian numbers and texts, one after the other."""

    def __init__(self, data: bytes, at: int, name: str) -> None:
        self.data, self.at, self.name = data, at, name

    def integer(self, kind: str = ">i") -> int:
        size = struct.calcsize(kind)
        return int(struct.unpack(kind, self.take(size))[0])

    def text(self) -> str:
        return self.take(self.integer()).split(b"\0", 1)[0].decode("utf-8", "replace")

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.at:
            raise FormatError(
                f"{self.name}: expected {count} bytes at byte {self.at} of {len(self.data)}; the "
                "file is truncated or damaged"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    @property
    def is_at_end(self) -> bool:
        return self.at + 4 > len(self.data)


def is_annot(data: bytes) -> bool:
    """Whether a file is an annotation: a count of vertices, each with its number and value."""
    count = int.from_bytes(data[:4], "big", signed=True)
    return len(data) >= 12 and 0 < count <= (len(data) - 4) // 8 and b"\0" in data[:8]


def is_mgh(data: bytes) -> bool:
    """Whether a file is an (unpacked) volume of FreeSurfer."""
    return len(data) > _MGH_HEADER_BYTES and data[:4] == b"\0\0\0\1" and data[4:6] == b"\0\0"


def read_annot(data: bytes, name: str) -> Iterator[Row]:
    """Yield the labels of an annotation: the numbers of its structures, names and colours."""
    part = _Bytes(data, 4 + 8 * int.from_bytes(data[:4], "big"), name)
    if part.is_at_end or part.integer() == 0:
        raise FormatError(
            f"{name}: the annotation has no colour table, so its labels have no names"
        )
    return _table(part)


def read_mgh(data: bytes, name: str) -> Iterator[Row]:
    """Yield the labels of the colour table that follows the voxels of a volume."""
    *shape, kind = struct.unpack(">5i", data[4:24])
    voxels = _MGH_BYTES_PER_VOXEL.get(kind, 0)
    for length in shape:
        voxels *= max(0, length)
    part = _Bytes(data, _MGH_HEADER_BYTES, name)
    part.take(voxels)
    part.take(min(_MGH_SCANNER_BYTES, len(data) - part.at))
    while not part.is_at_end:
        tag = part.integer()
        if tag in (_TAG_OLD_TABLE, _TAG_TABLE):
            if tag == _TAG_TABLE:
                part.take(8)
            return _table(part)
        if tag == 0:
            break
        if tag in _TAGS_OF_SHORT_LENGTH:
            part.take(max(0, part.integer()))
        elif tag not in _TAGS_WITHOUT_LENGTH:
            part.take(part.integer(">q"))
    raise FormatError(
        f"{name}: no colour table follows its voxels; pass $FREESURFER_HOME/FreeSurferColorLUT.txt"
    )


def _table(part: _Bytes) -> Iterator[Row]:
    """Yield the labels of a table: of version 2, which numbers them, or of the older one."""
    count = part.integer()
    is_numbered = count < 0
    if is_numbered:
        if count != -2:
            raise FormatError(
                f"{part.name}: its colour table has version {-count}, but ngcore reads version 2"
            )
        part.integer()  # one more than the largest number
        part.text()  # the name of the file it was made from
        count = part.integer()
    else:
        part.text()
    for number in range(count):
        place = f"entry {number}"
        key = part.integer() if is_numbered else number
        text = part.text()
        channels = [part.integer() for _ in range(4)]
        if text:
            with at_place(part.name, place):
                yield place, Label(key, text, parse_colour([*map(str, channels[:3])]))
