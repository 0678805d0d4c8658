"""Pictures that make up a volume: folders and glob patterns of slices, and TIFF stacks.

Both lie in `ngcore.sources.slices`, which is imported when the first one is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.slices.names import is_slice_pattern

if TYPE_CHECKING:
    from ngcore.sources.base import Source

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")
TIFF_ENDINGS = (".tif", ".tiff")
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_TAKES = frozenset({"input_orientation"})


def _open_slices(found: Found, asked: Asked) -> Source:
    from ngcore.sources.slices.folder import SlicesSource

    return SlicesSource([found.location], **_keywords(asked))


def _open_tiff(found: Found, asked: Asked) -> Source:
    from ngcore.sources.slices.tiff import TiffStackSource

    return TiffStackSource(found.path, found.name, **_keywords(asked))


def _keywords(asked: Asked) -> dict[str, Any]:
    return {
        "input_orientation": asked.input_orientation,
        "resolution": asked.geometry.resolution,
        "voxel_offset": asked.geometry.voxel_offset or (0, 0, 0),
        "workers": asked.workers,
    }


register(
    SourceFormat(
        name="slices",
        open=_open_slices,
        is_it=lambda found: not found.is_url and is_slice_pattern(found.location),
        endings=PICTURE_ENDINGS,
        takes=_TAKES,
    )
)
register(
    SourceFormat(
        name="TIFF",
        open=_open_tiff,
        is_it=lambda found: found.head.startswith(TIFF_MAGICS),
        endings=TIFF_ENDINGS,
        takes=_TAKES,
    )
)
register(
    SourceFormat(
        name="a folder of slices",
        open=_open_slices,
        is_it=lambda found: found.is_folder,
        takes=_TAKES,
        is_last_resort=True,
    )
)
