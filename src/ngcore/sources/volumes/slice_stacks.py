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
TIFF_ENDINGS = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_SLICES_TAKE = frozenset({"input_orientation", "gaps"})
_TIFF_TAKES = frozenset({"input_orientation", "axes"})


def _open_slices(found: Found, asked: Asked) -> Source:
    from ngcore.sources.slices.folder import SlicesSource

    is_label = None if asked.type == "auto" else asked.type == "segmentation"
    return SlicesSource([found.location], gaps=asked.gaps, is_label=is_label, **_keywords(asked))


def _open_tiff(found: Found, asked: Asked) -> Source:
    from ngcore.sources.slices.tiff import open_tiff_stack

    return open_tiff_stack(found.path, found.name, axes=asked.axes, **_keywords(asked))


def _keywords(asked: Asked) -> dict[str, Any]:
    return {
        "input_orientation": asked.input_orientation,
        "asked": asked.geometry,
        "workers": asked.workers,
    }


def _is_tiff(found: Found) -> bool:
    # The preamble of a DICOM file may hold the head of a TIFF, for programs that know TIFF alone.
    return found.head.startswith(TIFF_MAGICS) and found.head[128:132] != b"DICM"


register(
    SourceFormat(
        name="slices",
        open=_open_slices,
        is_it=lambda found: not found.is_url and is_slice_pattern(found.location),
        endings=PICTURE_ENDINGS,
        takes=_SLICES_TAKE,
    )
)
register(
    SourceFormat(
        name="TIFF",
        open=_open_tiff,
        is_it=_is_tiff,
        endings=TIFF_ENDINGS,
        takes=_TIFF_TAKES,
    )
)
register(
    SourceFormat(
        name="a folder of slices",
        open=_open_slices,
        is_it=lambda found: found.is_folder,
        takes=_SLICES_TAKE,
        is_last_resort=True,
    )
)
