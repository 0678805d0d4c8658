"""A scale as an OME-TIFF stack: a page for each z, channels one after the other.

https://ome-model.readthedocs.io/en/stable/ome-tiff/
"""

from __future__ import annotations

import logging
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.volume.scale import ScaleArray

logger = logging.getLogger(__name__)

_COPY_BYTES = 1 << 23


def tiff_parts(
    scale: ScaleArray,
    dtype: np.dtype[Any],
    voxels: Iterator[memoryview],
    folder: Path,
    facts: Mapping[str, Any],
    *,
    has_world: bool,
) -> Iterator[bytes]:
    """Yield the bytes of a TIFF file; they pass through a temporary one in `folder`.

    Parameters
    ----------
    scale : ScaleArray
    dtype : dtype
    voxels : iterator of memoryview
        The bytes of all voxels, x fastest, channels slowest, little-endian.
    folder : Path
    facts : mapping
        Of the source; "time_step" makes channels times.
    has_world : bool
        It has an affine, which TIFF can't hold: a warning says so.
    """
    import tifffile

    if has_world:
        logger.warning(
            "TIFF keeps the size of voxels, but not where they lie; export it as .nii.gz to "
            "keep that"
        )
    x, y, z, channels = scale.shape
    step = facts.get("time_step")
    lead = "T" if step else "C"
    sizes = dict(zip("XYZ", (size / 1000 for size in scale.resolution), strict=True))
    metadata: dict[str, Any] = {"axes": f"{lead}ZYX"}
    for letter, size in sizes.items():
        metadata |= {f"PhysicalSize{letter}": size, f"PhysicalSize{letter}Unit": "\u00b5m"}
    if step:
        metadata |= {"TimeIncrement": step, "TimeIncrementUnit": "s"}
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".ngcore-") as file:
        with tifffile.TiffWriter(
            file, ome=True, bigtiff=scale.dtype.itemsize * x * y * z * channels > 1 << 31
        ) as writer:
            writer.write(
                _pages(voxels, (y, x), dtype),
                shape=(channels, z, y, x),
                dtype=dtype.newbyteorder("<"),
                photometric="minisblack",
                metadata=metadata,
                software=f"ngcore {__version__}",
            )
        file.seek(0)
        while part := file.read(_COPY_BYTES):
            yield part


def _pages(
    voxels: Iterator[memoryview], shape: tuple[int, int], dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """Cut the bytes of all voxels into pages."""
    size = shape[0] * shape[1] * dtype.itemsize
    page, filled = bytearray(size), 0
    for part in voxels:
        start = 0
        while start < len(part):
            count = min(size - filled, len(part) - start)
            page[filled : filled + count] = part[start : start + count]
            filled, start = filled + count, start + count
            if filled == size:
                yield np.frombuffer(bytes(page), dtype.newbyteorder("<")).reshape(shape)
                filled = 0
