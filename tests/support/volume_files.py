"""Source files for tests of readers, and reading a source whole."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from planes import planes_box

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ngcore.sources import Source

AFFINE = np.array([[2.0, 0, 0, -10], [0, 3, 0, 5], [0, 0, 4, 7], [0, 0, 0, 1]])


def voxels(shape: tuple[int, ...], dtype: Any = "int16", seed: int = 0) -> NDArray[Any]:
    """Return random values over the whole range of an integer type, or from -1 to 1."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.uniform(-1, 1, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype.newbyteorder("="), True).astype(dtype)


def save_nifti(
    path: Path, values: NDArray[Any], affine: NDArray[Any] = AFFINE, **fields: Any
) -> Path:
    """Write a NIfTI-1 file (or pair) with header fields set as given, unchecked by nibabel."""
    kind = nibabel.Nifti1Pair if ".img" in path.name or ".hdr" in path.name else None
    image = (kind or nibabel.Nifti1Image)(values, affine, dtype=values.dtype)
    nibabel.save(image, path)
    if fields:
        set_fields(path, **fields)
    return path


def set_fields(path: Path, **fields: Any) -> None:
    """Overwrite fields of a NIfTI-1 header on disk."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        data = bytearray(file.read())
    template = nibabel.Nifti1Header.template_dtype.newbyteorder("<" if data[0] == 0x5C else ">")
    header = np.frombuffer(data, template, 1)
    for name, value in fields.items():
        header[name] = value
    with opener(path, "wb") as file:
        file.write(data)


def read_all(source: Source, step: int = 3, order: str | None = None) -> NDArray[Any]:
    """Read a source slab by slab, finish and close it."""
    out = np.empty(source.shape, source.dtype, order=order or source.memory_order)  # type: ignore[call-overload]
    planes = np.moveaxis(out, source.stream_axis, 0)
    with source:
        for start in range(0, len(planes), step):
            stop = min(start + step, len(planes))
            part = np.moveaxis(planes[start:stop], 0, source.stream_axis)
            source.read(planes_box(source, start, stop), part)
        source.finish()
    return out
