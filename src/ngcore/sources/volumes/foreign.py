"""Formats that ngcore leaves to other programs, known by their content, and the way from them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BIO_FORMATS = "is {}; convert it to OME-Zarr or OME-TIFF first, with bioformats2raw or Fiji"
_MAGICS = {
    b"ZISRAWFILE": "CZI (Zeiss)",
    b"\xda\xce\xbe\n": "ND2 (Nikon)",
    b"\x00\x00\x00\x0cjP  \r\n\x87\n": "JPEG 2000 or an older ND2 (Nikon)",
    b"p\x00\x00\x00": "LIF (Leica)",
    b"\x00\x00\x00\x03\x00": "DM3 (Gatan)",
    b"\x00\x00\x00\x04\x00": "DM4 (Gatan)",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "OIB, ZVI or another microscope's file",
}


def way_from(path: Path) -> str | None:
    """Return what a file is that can't be read here, and what to do; None if unknown.

    Parameters
    ----------
    path : Path
        What no reader takes.
    """
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(16)
            for magic, name in _MAGICS.items():
                if head.startswith(magic):
                    return _BIO_FORMATS.format(name)
    return None
