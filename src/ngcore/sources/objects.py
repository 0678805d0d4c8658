"""Python objects as sources: scales of volumes, arrays of every library, images of nibabel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.errors import InputError
from ngcore.sources.registry import check_takes

if TYPE_CHECKING:
    from ngcore.sources.base import Source
    from ngcore.sources.registry import Asked


def open_object(source: object, asked: Asked) -> Source:
    """Open what is no path.

    Raises
    ------
    InputError
        If it is nothing that voxels can be sliced from.
    """
    from ngcore.sources.volumes.array import ArrayLike, open_array
    from ngcore.volume.scale import ScaleArray

    if not isinstance(source, ArrayLike):
        raise InputError(
            f"a source is a path or an array with shape, dtype and slicing, got "
            f"{type(source).__name__}"
        )
    check_takes(frozenset(), asked)
    if isinstance(source, ScaleArray):
        from ngcore.sources.volumes.precomputed import open_scale

        return open_scale(source, asked.geometry)
    return open_array(source, asked.geometry)
