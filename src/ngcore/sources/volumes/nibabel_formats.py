"""Whatever else nibabel opens: Analyze, MINC, PAR/REC, AFNI, and NIfTI compressed by bzip2.

The reader is `ngcore.sources.nibabel_images`, imported when the first one is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.sources.registry import Asked, Found, SourceFormat, register

if TYPE_CHECKING:
    from ngcore.sources.base import Source


def _open(found: Found, asked: Asked) -> Source:
    from ngcore.sources.nibabel_images import open_with_nibabel

    return open_with_nibabel(found, asked)


register(
    SourceFormat(
        name="a format of nibabel",
        open=_open,
        is_it=lambda found: not (found.is_folder or found.is_url),
        is_last_resort=True,
    )
)
