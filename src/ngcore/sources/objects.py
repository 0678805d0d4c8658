"""Python objects as sources: scales of volumes, arrays of every library, images of nibabel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngcore.errors import InputError
from ngcore.sources.registry import Found, check_takes, open_found

if TYPE_CHECKING:
    from ngcore.sources.base import Source
    from ngcore.sources.registry import Asked


def open_object(source: object, asked: Asked) -> Source:
    """Open what is not a path.

    Raises
    ------
    InputError
        If it is nothing that voxels can be sliced from.
    """
    from ngcore.sources.volumes.array import ArrayLike, open_array
    from ngcore.volume.scale import ScaleArray

    if hasattr(source, "dataobj") and hasattr(source, "affine"):
        check_takes(frozenset({"axes"}), asked)
        return _open_image(source, asked)
    if not isinstance(source, ArrayLike):
        raise InputError(
            f"a source is a path, a nibabel image, or an array with shape, dtype and slicing, got "
            f"{type(source).__name__}"
        )
    if isinstance(source, ScaleArray):
        from ngcore.sources.volumes.precomputed import open_scale

        check_takes(frozenset(), asked)
        return open_scale(source, asked.geometry)
    check_takes(frozenset({"axes"}), asked)
    return open_array(source, asked)


def _open_image(image: Any, asked: Asked) -> Source:
    """Open an image of nibabel: voxels from its file, where it still has them there."""
    from nibabel.arrayproxy import ArrayProxy

    from ngcore.sources.volumes.array import open_array

    geometry = asked.geometry
    if geometry.affine is None and image.affine is not None:
        geometry = geometry._replace(affine=image.affine)
    asked = asked._replace(geometry=geometry)
    voxels = image.dataobj
    if type(voxels) is ArrayProxy and asked.axes is None:
        name = image.get_filename()
        is_file = isinstance(name, str | os.PathLike) and Path(name).is_file()
        if is_file and os.fspath(name).lower().endswith(_READ_IN_ORDER):
            return open_found(Found.at(os.fspath(name)), asked)
    if isinstance(voxels, ArrayProxy):
        return open_array(_FortranArray(voxels), asked)
    return open_array(voxels, asked)


_READ_IN_ORDER = (".gz", ".mgz", ".bz2", ".zst")
"""nibabel's slices of these decompress them from the start each time."""


class _FortranArray:
    """An array proxy of nibabel, which has no name for its order."""

    order = "F"

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy
        self.shape = proxy.shape
        self.dtype = proxy.dtype

    def __getitem__(self, index: Any) -> Any:
        return self._proxy[index]
