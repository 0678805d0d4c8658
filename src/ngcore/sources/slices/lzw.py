"""LZW as TIFF has it, without imagecodecs: Pillow's libtiff decodes it.

Each strip or tile is put into a TIFF file of its own, in memory, as a plain picture of bytes. So
the type, byte order, layout and oddities of the real file don't matter to Pillow.

https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf (section 13)
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_SHORT, _LONG = 3, 4
_HEADER = struct.Struct("<2sHI")
_TAG = struct.Struct("<HHII")


def decode_lzw(encoded: Buffer, rows: int, row_bytes: int) -> bytes:
    """Return the bytes of one strip or tile.

    Raises
    ------
    OSError
        If the data is damaged or too short, as Pillow says it.
    FormatError
        If it decodes to another size.
    """
    from PIL.TiffImagePlugin import TiffImageFile

    data = bytes(encoded)
    tags = (
        (256, _LONG, row_bytes),  # width
        (257, _LONG, rows),  # length
        (258, _SHORT, 8),  # bits per sample
        (259, _SHORT, 5),  # compression: LZW
        (262, _SHORT, 1),  # 0 is black
        (273, _LONG, _HEADER.size),  # where the only strip starts
        (277, _SHORT, 1),  # samples per pixel
        (278, _LONG, rows),  # rows per strip
        (279, _LONG, len(data)),  # bytes of the strip
    )
    padding = len(data) % 2
    file = io.BytesIO()
    file.write(_HEADER.pack(b"II", 42, _HEADER.size + len(data) + padding))
    file.write(data + b"\0" * padding)
    file.write(struct.pack("<H", len(tags)))
    for code, kind, value in tags:
        file.write(_TAG.pack(code, kind, 1, value))
    file.write(struct.pack("<I", 0))
    file.seek(0)
    with TiffImageFile(file) as picture:
        decoded = picture.tobytes()
    if len(decoded) != rows * row_bytes:
        raise FormatError(f"{len(decoded)} bytes, but {rows * row_bytes} are expected")
    return decoded
